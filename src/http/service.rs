//! What every handler shares. Knows: the ledger, and the configuration. Must not
//! know: forms, replies, or who asks.

use std::fmt;
use std::sync::Arc;

use grantbook_events::{OperatorKeyId, Role, SecretDigest};

use super::audit::export::Exports;
use super::oauth::assertion::MAX_REMEMBERED;
use super::oauth::rate_limits::{Approvals, Registrations, UnmatchedReports, Warnings};
use crate::audit::{History, Past};
use crate::config::Config;
use crate::ledger::Ledger;
use crate::outbound::Outbound;
use crate::pages::{Prefix, ScopeLine};
use crate::replay::Rebuilds;
use crate::secrets::RefreshKey;
use crate::single_use::SingleUse;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;

/// What every handler shares.
#[derive(Debug)]
pub struct Service {
    pub config: Config,
    pub ledger: Arc<Ledger>,
    pub history: Arc<History>,
    pub exports: Arc<Exports>,
    pub rebuilds: Arc<Rebuilds>,
    /// Where our own paths begin for a browser: the path of the issuer.
    pub prefix: Prefix,
    /// Keys that live only as long as this process, for its own command line and sample app.
    pub process_keys: Vec<ProcessKey>,
    /// Makes the tokens that a refresh token is exchanged for.
    pub refresh_key: RefreshKey,
    /// Apps that were warned about because they asked about tokens of others.
    pub asked_about_others: Warnings,
    /// How often each person approved within the last minute.
    pub approvals: Approvals,
    /// How many reports of leaks matched no token within the last minute.
    pub unmatched_reports: UnmatchedReports,
    /// How many apps registered themselves within the last minute.
    pub registrations: Registrations,
    pub metrics: Arc<Metrics>,
    /// The way to what apps name by URL.
    pub outbound: Outbound,
    /// The assertions by which apps authenticated.
    pub assertions: SingleUse,
    /// Tasks beside those of the ledger, its store and the history.
    pub upkeep: Arc<Tasks>,
}

/// An operator key that is in no ledger: minted at the start, gone with the process.
#[derive(Debug, Clone)]
pub struct ProcessKey {
    /// The actor of its events.
    pub name: &'static str,
    pub role: Role,
    /// SHA-256 of the key.
    pub digest: SecretDigest,
}

/// Which key an operator came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyName {
    /// One of the ledger.
    Recorded(OperatorKeyId),
    /// One of this process.
    Process(&'static str),
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded(id) => id.fmt(f),
            Self::Process(name) => f.write_str(name),
        }
    }
}

impl Service {
    pub fn new(
        config: Config,
        ledger: &Arc<Ledger>,
        history: &Arc<History>,
        process_keys: Vec<ProcessKey>,
        refresh_key: RefreshKey,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            rebuilds: Arc::new(Rebuilds::new(Arc::clone(ledger), Arc::clone(history))),
            history: Arc::clone(history),
            exports: Arc::default(),
            ledger: Arc::clone(ledger),
            prefix: Prefix::new(config.issuer.path()),
            outbound: Outbound::new(config.outbound.clone()),
            assertions: SingleUse::new(MAX_REMEMBERED),
            config,
            process_keys,
            refresh_key,
            asked_about_others: Warnings::default(),
            approvals: Approvals::default(),
            unmatched_reports: UnmatchedReports::default(),
            registrations: Registrations::default(),
            metrics,
            upkeep: Arc::default(),
        }
    }

    /// Whether the ledger ends before what this node has seen of it. Then nothing that is known here is an answer.
    pub fn ends_early(&self) -> bool {
        self.ledger.progress().ends_early() || self.history.progress().ends_early()
    }

    /// The threads and tasks that the server needs, and whether each runs.
    pub fn tasks(&self) -> Vec<(&'static str, bool)> {
        let of_the_store = self.ledger.store().tasks().into_iter().flat_map(Tasks::all);
        let of_the_rest = [self.ledger.tasks(), self.history.tasks(), &self.upkeep].map(Tasks::all);
        of_the_store.chain(of_the_rest.into_iter().flatten()).collect()
    }

    /// Without a trailing slash. From the configuration, never from a Host header (K6).
    pub fn issuer(&self) -> &str {
        self.config.issuer.as_str()
    }

    /// A scope in words.
    pub fn scope_line(&self, name: &str) -> ScopeLine {
        let sentence = self.config.scopes.sentence(name).unwrap_or(name).to_owned();
        ScopeLine { name: name.to_owned(), sentence }
    }

    pub fn past(&self) -> Past<'_> {
        Past::new(&self.ledger, &self.history)
    }

    /// The absolute URL of one of our own paths.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer())
    }
}
