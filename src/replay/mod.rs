//! Folds the ledger again, from its first event. Knows: stores, events, folds. Must not know: how to append
//! anything, HTTP, or who wants to know.
//!
//! What is folded here is folded by the same `apply` that serves requests, into a state of its own: a
//! replay beside a server changes nothing of it.

mod compare;
mod plan;
mod rebuild;
mod run;
mod shown;
#[cfg(test)]
mod tests;
mod twins;
mod verify;
mod what_if;

use grantbook_events::{Position, Timestamp, TimestampError};

pub use compare::{Against, Claim, Compared};
pub use plan::{Plan, plan};
pub use rebuild::{NotStarted, Outcome, Projection, ProjectionError, Rebuild, Rebuilds};
pub use run::{Replayed, run};
pub use shown::ShownState;
pub use verify::{Finding, Verified, difference_from, verify};
pub use what_if::{Consequence, Without, what_if};

use crate::store::StoreError;

/// How far a replay goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// To the last event there is when it begins.
    #[default]
    Head,
    /// To this position, or the last one below it.
    Position(Position),
    /// Up to the first event that was recorded after this time: the ledger as it stood then.
    Time(Timestamp),
}

/// Neither a position nor a time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is neither a position, such as 1200, nor a time, such as 2026-01-31T12:00:00Z")]
pub struct UntilError(String);

impl std::str::FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, UntilError> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position::new(position)));
        }
        let time = text.parse().map_err(|_: TimestampError| UntilError(text.to_owned()))?;
        Ok(Self::Time(time))
    }
}

impl Until {
    /// Whether an event still belongs to it.
    fn takes(self, position: Position, recorded_at: Timestamp) -> bool {
        match self {
            Self::Head => true,
            Self::Position(last) => position <= last,
            Self::Time(time) => recorded_at <= time,
        }
    }
}

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
    /// The snapshots cannot be listed.
    #[error("the snapshots cannot be listed: {0}")]
    Snapshots(std::io::Error),
    /// There is no room for what must be remembered on the way.
    #[error("the temporary file of the replay cannot be used: {0}")]
    Temporary(#[from] std::io::Error),
}
