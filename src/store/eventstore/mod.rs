//! The store for many nodes: a cluster of EventStoreDB or KurrentDB. Knows: the cluster's streams, and what it
//! promises. Must not know: what an event means.
//!
//! | in the cluster | what it is |
//! |---|---|
//! | `app-…`, `installation-…`, `key-…` | the ledger's streams, under their own names |
//! | `grantbook-ledger` | one event: which ledger this is |
//! | `grantbook-heartbeat` | an event each second, of which the last few are kept |
//!
//! Positions are those of `$all`. Appends of records ([`batches`]) and all reads go over connections of our own
//! ([`nodes`] says why); what no request waits for goes through the client crate ([`client`]).

mod appending;
mod batches;
mod client;
mod failure;
mod following;
mod heartbeat;
mod identity;
mod nodes;
mod reads;
mod record;
mod shared;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod unreachable;
mod wire;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, RwLock, watch};
use uuid::Uuid;

use self::batches::Batches;
use self::client::Client;
use self::nodes::Nodes;
use self::shared::{MAX_HEADS, Shared};
pub use self::target::Target;
use self::tls::Tls;
use super::{
    Append, Evidence, Expected, Found, Head, NewRecord, Record, Run, SeenRecord, Store, StoreCounts,
    StoreError, Subscription, check_limits,
};
use crate::clock::Clock;
use crate::tasks::Tasks;

/// How long a subscription may be silent before it is taken up again. Heartbeats come every second while any node serves.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// The ledger in a cluster.
pub struct EventStore(Arc<Shared>);

impl EventStore {
    /// Prepares to use a cluster: to serve, with the identity that a ledger which has none is given, or only to read.
    /// Nothing is asked yet, so a cluster that cannot be reached is noticed later. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` if a file that the target names cannot be used.
    pub fn open(
        target: Arc<Target>,
        serve: Option<Uuid>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_checked(target, serve, clock, Evidence::default())
    }

    /// The same, with what files of this node have seen of the ledger. Once the cluster can be reached, and before anything
    /// else is asked of this store, [`Store::head`] fails if that is not there.
    ///
    /// # Errors
    /// As above.
    pub fn open_checked(
        target: Arc<Target>,
        serve: Option<Uuid>,
        clock: Arc<dyn Clock>,
        evidence: Evidence,
    ) -> Result<Arc<Self>, StoreError> {
        Self::open_with(target, serve, clock, evidence, SILENT_FOR)
    }

    fn open_with(
        target: Arc<Target>,
        minted: Option<Uuid>,
        clock: Arc<dyn Clock>,
        evidence: Evidence,
        silent_for: Duration,
    ) -> Result<Arc<Self>, StoreError> {
        let tls = Tls::load(target.tls.as_ref())?;
        let shared = Arc::new(Shared {
            nodes: Nodes::new(Arc::clone(&target), tls.config),
            batches: Batches::default(),
            client: Client::new(target, tls.bundle),
            heads: Mutex::new(LruCache::new(MAX_HEADS)),
            heartbeat_seen: watch::Sender::new(None),
            clock,
            minted,
            identity: OnceCell::new(),
            evidence,
            is_open: RwLock::new(true),
            closing: watch::Sender::new(false),
            tasks: Arc::default(),
            silent_for,
            resubscribed: AtomicU64::new(0),
        });
        if minted.is_some() {
            let (running, shared) = (shared.tasks.begin("store-heartbeat"), Arc::clone(&shared));
            tokio::spawn(async move {
                let _running = running;
                let mut closing = shared.closing.subscribe();
                tokio::select! {
                    () = heartbeat::beat(&shared) => {}
                    _ = closing.wait_for(|is_closing| *is_closing) => {}
                }
            });
        }
        Ok(Arc::new(Self(shared)))
    }
}

/// Shows nothing of the login.
impl fmt::Debug for EventStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStore").finish_non_exhaustive()
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[async_trait]
impl Store for EventStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        check_limits(&records)?;
        let is_open = self.0.is_open.read().await;
        match *is_open {
            true => self.0.append(stream, expected, records).await,
            false => Err(StoreError::Closed),
        }
    }

    async fn has(&self, seen: &SeenRecord) -> Result<Found, StoreError> {
        self.0.nodes.has(seen).await
    }

    async fn copy_in(&self, runs: Vec<Run>) -> Result<(), StoreError> {
        self.0.copy_in(runs).await
    }

    fn tasks(&self) -> Option<&Tasks> {
        Some(&self.0.tasks)
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.0.read_records(stream, from, u64::MAX).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.0.nodes.after(after, limit).await
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        following::follow(Arc::clone(&self.0), after).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        let shared = &self.0;
        let position = shared.nodes.last().await?;
        let identity = shared.identity.get_or_try_init(|| identity::find_or_make(shared)).await?;
        Ok(Head { position, identity: *identity })
    }

    async fn close(&self) -> Result<(), StoreError> {
        // Waits for the appends under way.
        *self.0.is_open.write().await = false;
        self.0.stop();
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn counts(&self) -> StoreCounts {
        StoreCounts {
            reconnected: self.0.batches.begun_again(),
            resubscribed: self.0.resubscribed.load(Ordering::Relaxed),
        }
    }
}
