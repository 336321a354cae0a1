//! `/audit`: questions about history, for auditors. Every answer is itself logged: who asked, through which
//! request, and about what.

pub mod events;
pub mod export;
pub mod past;
mod rows;
#[cfg(test)]
mod tests;
pub mod timeline;

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use grantbook_events::Actor;

use super::context::Context;
use super::operator::Operator;
use super::problem::Problem;
use crate::audit::{AuditError, HistoryError};

/// Who looked at what. The path and what it is about are ids, which are no secrets; free text is left out.
fn log(reader: &Operator, request: &HttpRequest, context: &Context, about: &str) {
    let Actor { id, .. } = reader.origin(context).actor;
    tracing::info!(
        target: "grantbook::audit",
        operator = id,
        path = request.path(),
        about,
        request_id = context.request_id.as_str(),
        "history was read"
    );
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        tracing::error!(%error, "history cannot be asked");
        let detail = "the history is not up to date or cannot be read; the log says why";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "history_unavailable", detail)
    }
}

impl From<AuditError> for Problem {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::History(error) => error.into(),
            AuditError::Ledger(error) => error.into(),
            AuditError::Beyond { .. } => Self::bad_request(error.to_string()),
        }
    }
}
