//! Requests that leave the server, for documents that an app names by URL (X1). Knows: where such a request may go, and what was
//! answered lately. Must not know: who asks, or what is in a document.
//!
//! Anyone may name a URL, so nothing about it is trusted: one host, one look-up, one connection, one answer, all of it bounded.

mod addresses;
mod error;
mod fetch;
mod freshness;
mod resolver;
mod rules;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use grantbook_events::Timestamp;
use lru::LruCache;
use parking_lot::Mutex;
use rustls::crypto::aws_lc_rs;
use rustls::{ClientConfig, RootCertStore};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use url::Host;

pub use error::FetchError;
pub use resolver::Resolver;
pub use rules::{Allowed, Rules};

use self::resolver::SystemResolver;
use self::rules::Target;
use crate::certificates;

/// How long a fetch takes at most, from waiting for its turn to the last byte.
const WITHIN: Duration = Duration::from_secs(5);
/// How many fetches there may be at once.
const MAX_AT_ONCE: usize = 16;
/// How many answers are kept: 16 MiB at most.
const MAX_KEPT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// How long a failure is kept.
const FAILURE_KEPT: Duration = Duration::from_secs(30);

/// Fetches documents and keeps them.
#[derive(Debug)]
pub struct Outbound {
    rules: Rules,
    resolver: Arc<dyn Resolver>,
    within: Duration,
    tls: OnceCell<Arc<ClientConfig>>,
    turns: Arc<Semaphore>,
    kept: Mutex<LruCache<String, Arc<Entry>>>,
}

/// A URL that was asked, or is being asked; all who want it meanwhile wait for the one answer.
#[derive(Debug)]
struct Entry {
    asked: Timestamp,
    /// What counts if this fetch fails: the document that was known and may still be used.
    known: Option<Answer>,
    answer: OnceCell<Answer>,
}

#[derive(Debug, Clone)]
struct Answer {
    result: Result<Bytes, FetchError>,
    until: Timestamp,
}

impl Outbound {
    pub fn new(rules: Rules) -> Self {
        Self::with(rules, Arc::new(SystemResolver), WITHIN)
    }

    fn with(rules: Rules, resolver: Arc<dyn Resolver>, within: Duration) -> Self {
        Self {
            rules,
            resolver,
            within,
            tls: OnceCell::new(),
            turns: Arc::new(Semaphore::new(MAX_AT_ONCE)),
            kept: Mutex::new(LruCache::new(MAX_KEPT)),
        }
    }

    /// A JSON document, as it was when it was last fetched: at most as long ago as its headers allow, 10 minutes to 24 hours.
    ///
    /// # Errors
    /// Why it cannot be had. It is not tried again for half a minute.
    pub async fn document(&self, url: &str, now: Timestamp) -> Result<Bytes, FetchError> {
        self.document_no_older(url, Duration::MAX, now).await
    }

    /// The same, but fetched again if it was last asked for so long ago. If that fails, the document that is known counts for as
    /// long as it is kept.
    ///
    /// # Errors
    /// As [`Self::document`].
    pub async fn document_no_older(
        &self,
        url: &str,
        age: Duration,
        now: Timestamp,
    ) -> Result<Bytes, FetchError> {
        let target = Target::parse(url)?;
        let entry = self.entry(&target, age, now);
        let answer = entry.answer.get_or_init(|| async {
            let fetched = timeout(self.within, self.fetch(&target)).await.unwrap_or(Err(FetchError::TooSlow));
            match (fetched, &entry.known) {
                (Ok((document, kept_for)), _) => Answer { result: Ok(document), until: now.plus(kept_for) },
                (Err(_), Some(known)) => known.clone(),
                (Err(FetchError::Busy), None) => Answer { result: Err(FetchError::Busy), until: now },
                (Err(error), None) => Answer { result: Err(error), until: now.plus(FAILURE_KEPT) },
            }
        });
        answer.await.result.clone()
    }

    fn entry(&self, target: &Target, age: Duration, now: Timestamp) -> Arc<Entry> {
        let mut kept = self.kept.lock();
        let known = kept.get(target.url.as_str());
        let answer = known.and_then(|entry| entry.answer.get());
        if let Some(entry) = known
            && answer.is_none_or(|answer| now < answer.until && now < entry.asked.plus(age))
        {
            return Arc::clone(entry);
        }
        let known = answer.filter(|answer| answer.result.is_ok() && now < answer.until).cloned();
        let entry = Arc::new(Entry { asked: now, known, answer: OnceCell::new() });
        kept.put(target.url.as_str().to_owned(), Arc::clone(&entry));
        entry
    }

    async fn fetch(&self, target: &Target) -> Result<(Bytes, Duration), FetchError> {
        let turn = timeout(self.within / 2, Arc::clone(&self.turns).acquire_owned()).await;
        let Ok(Ok(turn)) = turn else { return Err(FetchError::Busy) };
        let turn = Arc::new(turn);
        let mut addresses = self.addresses(&target.host, &turn).await;
        addresses.retain(|address| self.rules.admit(target, *address));
        if addresses.is_empty() {
            return Err(FetchError::Refused);
        }
        let tls = if target.is_https { Some(self.tls().await?) } else { None };
        fetch::fetch(target, &addresses, tls).await
    }

    /// All addresses of a host; none if it has none. A look-up that hangs keeps its turn, so that there are never more of them.
    async fn addresses(&self, host: &Host<String>, turn: &Arc<OwnedSemaphorePermit>) -> Vec<IpAddr> {
        let name = match host {
            Host::Domain(name) => name.clone(),
            Host::Ipv4(address) => return vec![IpAddr::V4(*address)],
            Host::Ipv6(address) => return vec![IpAddr::V6(*address)],
        };
        let (resolver, turn) = (Arc::clone(&self.resolver), Arc::clone(turn));
        let found = tokio::spawn(async move {
            let found = resolver.addresses(&name).await;
            drop(turn);
            found
        });
        match found.await {
            Ok(Ok(addresses)) => addresses,
            Ok(Err(error)) => {
                tracing::info!(%host, %error, "a host that an app names does not resolve");
                Vec::new()
            }
            Err(_) => Vec::new(),
        }
    }

    /// Read once, at the first fetch by https: a server that fetches nothing needs no certificates.
    async fn tls(&self) -> Result<Arc<ClientConfig>, FetchError> {
        let made = self.tls.get_or_try_init(|| async {
            let authorities = self.rules.authorities.clone();
            let made = tokio::task::spawn_blocking(move || tls_config(authorities)).await;
            made.map_err(|error| error.to_string())?.map(Arc::new)
        });
        made.await.cloned().map_err(|error: String| {
            tracing::error!(error, "documents of apps cannot be fetched by https");
            FetchError::Unreachable
        })
    }
}

fn tls_config(authorities: Vec<rustls::pki_types::CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(certificates::of_system().into_iter().chain(authorities));
    if roots.is_empty() {
        return Err(
            "this system has no certificates to trust: install some, or set outbound.ca_file".to_owned()
        );
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
