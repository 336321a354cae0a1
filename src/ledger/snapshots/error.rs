//! Why a snapshot cannot be used, or written. Knows: words. Must not know: what is done about it.

use std::io;

use grantbook_events::Position;
use uuid::Uuid;

use crate::store::StoreError;

/// Why a snapshot cannot be used, or written.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file cannot be read or written.
    #[error("it cannot be used: {0}")]
    Io(#[from] io::Error),
    /// The file does not begin as snapshots do.
    #[error("it is not a snapshot")]
    NotASnapshot,
    /// Written in another way than this grantbook writes.
    #[error("it has format {found}, and this grantbook reads format {expected}")]
    OtherFormat {
        /// Its format.
        found: u32,
        /// The format known here.
        expected: u32,
    },
    /// Written by a grantbook that folds otherwise.
    #[error("it is of version {found} of the projection, and this grantbook folds version {expected}")]
    OtherVersion {
        /// Its version.
        found: u32,
        /// The version folded here.
        expected: u32,
    },
    /// Not what was written.
    #[error("it is damaged: its digest differs")]
    Damaged,
    /// Its bytes are in order, but they are no state.
    #[error("it is no state: {0}")]
    NoState(#[from] grantbook_projections::live::SnapshotBodyError),
    /// Taken of another ledger.
    #[error("it is of ledger {found}, and this is ledger {expected}")]
    Foreign {
        /// The ledger it was taken of.
        found: Uuid,
        /// This ledger.
        expected: Uuid,
    },
    /// Taken while something could not be folded, which this grantbook may be able to.
    #[error("it has {streams} streams in quarantine, and a start looks at them again")]
    Quarantined {
        /// How many.
        streams: usize,
    },
    /// The ledger has something else where the snapshot ends.
    #[error("it ends with event {event_id} at position {position}, and the ledger does not have that there")]
    NotInLedger {
        /// Where it ends.
        position: Position,
        /// The event it ends with.
        event_id: grantbook_events::EventId,
    },
    /// The ledger cannot be asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It cannot be written as JSON.
    #[error("it cannot be written: {0}")]
    Json(#[from] serde_json::Error),
}
