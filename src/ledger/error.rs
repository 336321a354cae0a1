//! What breaks while a command is settled. Knows: the errors of the store and of the fold. Must not know: how callers see
//! them.

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::codec::EncodeError;
use grantbook_events::{Position, StreamName};
use grantbook_projections::FoldError;
use grantbook_projections::live::Poison;

use super::UnreadableError;
use crate::store::StoreError;

/// None of these is an answer to the command.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store could not do its part. Nothing was answered, nothing was lost.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be found out whether the events are in the ledger.
    #[error("it is not known whether the events were recorded: {0}")]
    OutcomeUnknown(String),
    /// The stream moved on each time.
    #[error("stream {0} is too busy")]
    Contended(StreamName),
    /// A record of the stream is not an event, or does not follow from those before it.
    #[error(transparent)]
    Unreadable(#[from] UnreadableError),
    /// An event does not follow from those before it.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// An event cannot be written down.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An event of the stream cannot be read or folded, so nothing is known of the stream since.
    #[error("{}", quarantined(.0))]
    Quarantined(Arc<Poison>),
    /// The events are durable, but the live projection does not get to them.
    #[error("the live projection has not reached position {0}")]
    NotVisible(Position),
    /// Others append, too, and what is folded here is too old to allow anything from it.
    #[error("this node is {} s behind the ledger", behind.as_secs())]
    Stale {
        /// How long ago what is folded here was all there was.
        behind: Duration,
    },
    /// Too many streams are being read at once.
    #[error("too many streams are being read at once")]
    TooManyReads,
    /// What broke while others waited for the same.
    #[error(transparent)]
    Shared(Arc<LedgerError>),
}

fn quarantined(poison: &Poison) -> String {
    let Poison { position, stream, reason, .. } = poison;
    format!("stream {stream} is in quarantine since position {position}: {reason}")
}

impl LedgerError {
    /// What broke, also if it broke for several callers at once.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Shared(error) => error.cause(),
            error => error,
        }
    }

    /// Whether the ledger ends before what this node has seen of it.
    pub fn ends_early(&self) -> bool {
        matches!(self.cause(), Self::Store(StoreError::EndsEarly(_)))
    }

    /// Whether the same request may succeed later although nobody has repaired anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => match error {
                StoreError::InUse(_)
                | StoreError::CannotWrite(_)
                | StoreError::Unavailable(_)
                | StoreError::Closed => true,
                StoreError::TooLarge { .. }
                | StoreError::EmptyAppend
                | StoreError::Target(_)
                | StoreError::NewerFormat { .. }
                | StoreError::EndsEarly(_)
                | StoreError::Damaged { .. } => false,
            },
            Self::OutcomeUnknown(_)
            | Self::Contended(_)
            | Self::NotVisible(_)
            | Self::Stale { .. }
            | Self::TooManyReads => true,
            Self::Shared(error) => error.may_pass(),
            Self::Unreadable(_) | Self::Fold(_) | Self::Encode(_) | Self::Quarantined(_) => false,
        }
    }
}
