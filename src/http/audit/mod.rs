//! `/audit`: questions about history, for auditors. Every question is itself logged: who asked, through which
//! request, and what.

pub mod events;
pub mod export;
mod known;
pub mod past;
pub(super) mod questions;
mod rows;
#[cfg(test)]
mod tests;

use actix_web::http::StatusCode;

use super::problem::Problem;
use crate::audit::{AuditError, HistoryError};

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        if let HistoryError::Damaged(_) = error {
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "history_damaged", error.to_string());
        }
        // The command line may have asked a server of its own, whose log nobody has.
        let detail = format!("history cannot be asked: {error}");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "history_unavailable", detail)
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::History(error) => error.into(),
            AuditError::Ledger(error) => error.into(),
            AuditError::NotYet(_) | AuditError::Backwards { .. } => Self::bad_request(error.to_string()),
        }
    }
}
