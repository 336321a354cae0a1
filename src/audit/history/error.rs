//! Why the history does not answer. Knows: what SQLite and the disk report. Must not know: what was asked.

use grantbook_events::Position;

use crate::store::StoreError;

/// Why history does not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HistoryError {
    /// SQLite or the disk failed.
    #[error("the history file cannot be used: {0}")]
    File(String),
    /// The file is not what was written. It is built again.
    #[error(
        "the history file is damaged: {0}; it is being built again from the ledger, so ask again in a while (if this goes \
         on, the disk is broken)"
    )]
    Damaged(String),
    /// For longer than a question may wait.
    #[error("the history is at position {at} and has not reached {wanted} yet")]
    Behind { at: Position, wanted: Position },
    /// The ledger cannot be followed any more.
    #[error("the history does not follow the ledger: {0}")]
    Stopped(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::File(error.to_string()),
        }
    }
}

impl From<std::io::Error> for HistoryError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}
