//! What every handler shares. Knows: the ledger, and the settings that commands are made with. Must not
//! know: forms, replies, or who asks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use grantbook_events::{OperatorKeyId, Role, SecretDigest};

use super::audit::export::Exports;
use super::oauth::approvals::Approvals;
use super::oauth::seldom::Seldom;
use crate::audit::History;
use crate::decisions::Command;
use crate::decisions::scopes::ScopeCatalogue;
use crate::identity::session::AccountRole;
use crate::ledger::{Ledger, LedgerError, Origin};
use crate::replay::Rebuilds;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;

/// What every handler shares.
#[derive(Debug)]
pub struct Service {
    /// The ledger.
    pub ledger: Arc<Ledger>,
    /// The history of the ledger.
    pub history: Arc<History>,
    /// Answers without end that are under way.
    pub exports: Arc<Exports>,
    /// Projections that are built again.
    pub rebuilds: Arc<Rebuilds>,
    /// The issuer, without a trailing slash. From the configuration, never from a Host header (K6).
    pub issuer: String,
    /// The scopes that apps may ask for.
    pub scopes: ScopeCatalogue,
    /// How long a code lives.
    pub code_lifetime: Duration,
    /// The most live tokens of one user on one installation.
    pub max_live_tokens_per_user: usize,
    /// How long an old client secret goes on after a rotation.
    pub rotation_overlap: Duration,
    /// Who may uninstall an app for everybody on an account.
    pub uninstall_by: AccountRole,
    /// How long a person stays signed in.
    pub session_lifetime: Duration,
    /// Keys that live only as long as this process, for its own command line and sample app.
    pub process_keys: Vec<ProcessKey>,
    /// Apps that were warned about because they asked about tokens of others.
    pub asked_about_others: Seldom,
    /// How often each person approved within the last minute.
    pub approvals: Approvals,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// An operator key that is in no ledger: minted at the start, gone with the process.
#[derive(Debug, Clone)]
pub struct ProcessKey {
    /// What acts with it; the actor of its events.
    pub name: &'static str,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the key.
    pub digest: SecretDigest,
}

/// Which key an operator came with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyName {
    /// One that the ledger knows.
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
    /// Settles a command and counts how it went.
    ///
    /// # Errors
    /// As [`Ledger::settle`].
    pub async fn settle<C: Command>(
        &self,
        origin: &Origin,
        command: &C,
    ) -> Result<Result<C::Answer, C::Refusal>, LedgerError> {
        let settled = self.ledger.settle(origin, command).await;
        let outcome = match &settled {
            Ok(Ok(_)) => "granted",
            Ok(Err(_)) => "refused",
            Err(_) => "failed",
        };
        self.metrics.decision(C::NAME, outcome);
        settled
    }

    /// The threads and tasks that the server needs, and whether each runs.
    pub fn tasks(&self) -> Vec<(&'static str, bool)> {
        let of_the_store = self.ledger.store().tasks().into_iter().flat_map(Tasks::all);
        of_the_store.chain(self.ledger.tasks().all()).chain(self.history.tasks().all()).collect()
    }

    /// The absolute URL of one of our own paths.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }
}
