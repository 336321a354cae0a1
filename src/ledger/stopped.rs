//! Why a subscriber does not go on: for now, or for good. Knows: the errors of stores. Must not know: how a subscriber is run.

use crate::store::StoreError;

/// Why a subscriber does not go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The subscriber failed and is to be tried again.
    #[error("{0}")]
    Failed(String),
    /// Trying again would not help.
    #[error("{0}")]
    Stopped(String),
}

impl FollowError {
    /// Why the subscriber stops, if trying again would say the same.
    pub(super) fn stops(&self) -> Option<Stopped> {
        match self {
            Self::Store(StoreError::EndsEarly(why)) => Some(Stopped::EndsEarly(why.clone())),
            Self::Stopped(_) | Self::Store(StoreError::Damaged { .. } | StoreError::NewerFormat(_)) => {
                Some(Stopped::Broken(self.to_string()))
            }
            Self::Failed(_) | Self::Store(_) => None,
        }
    }
}

/// Why a subscriber stopped for good, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The ledger ends before what this node has seen of it, or has another record there.
    #[error("{0}")]
    EndsEarly(String),
    /// Anything else.
    #[error("{0}")]
    Broken(String),
}
