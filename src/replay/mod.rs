//! Folds the ledger again, from its first event. Knows: stores, events, folds. Must not know: how to append
//! anything, HTTP, or who wants to know.
//!
//! What is folded here is folded by the same `apply` that serves requests, into a state of its own: a
//! replay beside a server changes nothing of it.

mod chains;
mod codes;
mod compare;
mod findings;
mod history;
mod plan;
mod projection;
mod rebuild;
mod run;
mod shown;
mod sorted;
#[cfg(test)]
mod tests;
mod verify;
mod what_if;

use grantbook_events::Position;

pub use compare::{Against, Claim, Compared, PassedOver};
pub use findings::{Finding, Verified};
pub use history::run_history;
pub use plan::{Plan, plan};
pub use projection::{Projection, ProjectionError};
pub use rebuild::{NotStarted, Outcome, Rebuild, Rebuilds};
pub use run::{Replayed, run};
pub use shown::ShownState;
pub use verify::{difference_from, verify};
pub use what_if::{Consequence, Without, what_if};

use crate::audit::HistoryError;
pub use crate::ledger::{NotYet, Until};
use crate::store::{Store, StoreError};

/// How far a replay has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How many events were read.
    pub events: u64,
    /// The last position read.
    pub position: Position,
    /// The last position there was at the beginning.
    pub head: Position,
}

/// Why a replay ends early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be read, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It was to go on beyond the end.
    #[error(transparent)]
    NotYet(#[from] NotYet),
    /// The snapshots cannot be listed.
    #[error("the snapshots cannot be listed: {0}")]
    Snapshots(std::io::Error),
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
    /// There is no room for what must be remembered on the way.
    #[error("the temporary file of the replay cannot be used: {0}")]
    Temporary(#[from] std::io::Error),
    /// A part of it panicked, or the process ends.
    #[error("a part of the replay broke off: {0}")]
    Broke(#[from] tokio::task::JoinError),
}

/// A ledger that ends before a position is not the ledger as of that position.
async fn check_end(store: &dyn Store, until: Until) -> Result<(), ReplayError> {
    Ok(until.within(store.head().await?.position)?)
}
