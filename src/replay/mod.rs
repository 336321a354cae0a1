//! Folds the ledger again, from its first event. Knows: stores, events, folds. Must not know: how to append
//! anything, HTTP, or who asks.
//!
//! What is folded here is folded by the same `apply` that serves requests, into a state of its own: a
//! replay beside a server changes nothing of it.

mod compare;
mod dump;
mod events;
mod findings;
mod ids;
mod plan;
mod projection;
mod reading;
mod rebuild;
mod records;
mod rows;
mod run;
#[cfg(test)]
mod tests;
mod verify;
mod what_if;

use grantbook_events::Position;

pub use compare::{Against, ReportedState};
pub use dump::dump;
pub use findings::{Compared, Finding, Skipped, Verified};
pub use plan::{Plan, TypeCount, UsableSnapshot, plan};
pub use projection::Projection;
pub use reading::Reading;
pub use rebuild::{NotStarted, Rebuild, Rebuilds};
pub use run::{Replayed, run, run_history};
pub use verify::{difference_from, verify};
pub use what_if::{Consequence, Without, what_if};

pub use crate::ledger::{NotYet, Until};
use crate::store::StoreError;

/// How far a replay is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Step {
    /// How many events were read.
    pub events: u64,
    /// The last position read.
    pub position: Position,
    /// The last position in the ledger when it began.
    pub head: Position,
}

/// Why a replay ends early.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store cannot be read, or is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The ledger ends before the point up to which it was to be read.
    #[error(transparent)]
    NotYet(#[from] NotYet),
    #[error("the snapshots cannot be listed: {0}")]
    Snapshots(std::io::Error),
    #[error("the temporary file of the replay cannot be used: {0}")]
    Temporary(#[from] rusqlite::Error),
    #[error("a part of the replay panicked")]
    Panicked,
}
