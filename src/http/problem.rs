//! Errors of the JSON APIs, as `application/problem+json` (RFC 9457), and what callers hear of what broke: a hint; the
//! log line of the request has the detail. Knows: refusals and faults. Must not know: which request it was.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::reason::Reason;
use crate::audit::{AuditError, HistoryError};
use crate::decisions::{AppRefusal, InstallationRefusal, KeyRefusal};
use crate::ledger::LedgerError;

/// An error of the JSON APIs (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Problem {
    /// A name for the kind of problem that programs can compare; never changes.
    pub code: &'static str,
    /// The kind of problem in words.
    pub title: &'static str,
    /// The HTTP status, again.
    pub status: u16,
    /// What was wrong with this request, and what would be right.
    pub detail: String,
    /// For the log only.
    #[serde(skip)]
    pub(super) cause: Option<String>,
    /// How many seconds to wait, if trying again is right.
    #[serde(skip)]
    pub(super) retry_after: u8,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { code, title, status: status.as_u16(), detail: detail.into(), cause: None, retry_after: 1 }
    }

    /// The same, with a cause for the log only.
    #[must_use]
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// It was asked too often, and may be asked again after so many seconds.
    pub fn too_often(seconds: u8, detail: impl Into<String>) -> Self {
        let problem = Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail);
        Self { retry_after: seconds, ..problem }
    }

    pub fn not_found(what: &'static str) -> Self {
        not_found(format!("no such {what}"))
    }

    pub fn broken(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", detail)
    }

    /// It may have been done, and nobody knows yet.
    pub fn outcome_unknown() -> Self {
        let hint = "it is not known whether this happened; look before trying again";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "outcome_unknown", hint)
    }

    /// It was not done.
    pub fn temporarily_unavailable() -> Self {
        let hint = "nothing was changed; try again shortly";
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "temporarily_unavailable", hint)
    }

    /// What broke, as any caller may hear it: the detail is for the log.
    pub fn fault(error: &LedgerError) -> Self {
        let problem = match error {
            LedgerError::Shared(error) => return Self::fault(error),
            LedgerError::OutcomeUnknown(_) | LedgerError::NotVisible(_) => Self::outcome_unknown(),
            LedgerError::Store(_) if error.ends_early() => Self::temporarily_unavailable(),
            LedgerError::Store(_) if !error.may_pass() => Self::broken(BROKEN),
            LedgerError::Unreadable(_)
            | LedgerError::Fold(_)
            | LedgerError::Encode(_)
            | LedgerError::Quarantined(_) => Self::broken(BROKEN),
            LedgerError::Store(_)
            | LedgerError::Contended(_)
            | LedgerError::Stale { .. }
            | LedgerError::TooManyReads => Self::temporarily_unavailable(),
        };
        problem.because(error)
    }

    /// An answer with this body, and with the headers and the reason for the log that every error has.
    pub(super) fn answer(
        &self,
        media_type: &'static str,
        challenge: &'static str,
        body: &impl Serialize,
    ) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(media_type)));
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        match self.status {
            401 => {
                response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
            }
            429 | 503 => {
                response.insert_header((header::RETRY_AFTER, HeaderValue::from(u16::from(self.retry_after))));
            }
            _ => {}
        }
        let mut response = response.body(serde_json::to_string(body).unwrap_or_default());
        Reason::new(self).because(self.cause.as_deref()).put_on(&mut response);
        response
    }
}

/// What a caller hears of what broke.
pub const BROKEN: &str = "grantbook cannot answer; its log says why";

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.answer("application/problem+json", "Bearer", self)
    }
}

/// For operators and auditors, who can do something about it, and may have no log to look into.
impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let problem = Self::fault(&error);
        if problem.status != 500 {
            return problem;
        }
        let is_quarantined = matches!(error.cause(), LedgerError::Quarantined(_));
        let code = if is_quarantined { "quarantined" } else { problem.code };
        Self { code, detail: error.to_string(), cause: None, ..problem }
    }
}

impl From<HistoryError> for Problem {
    fn from(error: HistoryError) -> Self {
        if let HistoryError::Damaged(_) = error {
            return Self::new(StatusCode::INTERNAL_SERVER_ERROR, "history_damaged", error.to_string());
        }
        // The command line may have asked a server of its own, whose log is lost.
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

impl From<AppRefusal> for Problem {
    fn from(refusal: AppRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            AppRefusal::Unknown | AppRefusal::SecretUnknown(_) => not_found(detail),
            AppRefusal::Profile(_) | AppRefusal::Text(_) => Self::bad_request(detail),
            AppRefusal::Exists
            | AppRefusal::Suspended
            | AppRefusal::NotSuspended
            | AppRefusal::PublicClient
            | AppRefusal::TooManySecrets { .. }
            | AppRefusal::LastSecret => Self::conflict(detail),
        }
    }
}

impl From<InstallationRefusal> for Problem {
    fn from(refusal: InstallationRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            InstallationRefusal::Unknown | InstallationRefusal::TokenUnknown => not_found(detail),
            InstallationRefusal::Text(_) => Self::bad_request(detail),
            InstallationRefusal::FormUsed
            | InstallationRefusal::CodeUnknown
            | InstallationRefusal::CodeExpired
            | InstallationRefusal::CodeSpent
            | InstallationRefusal::CodeReplayed { .. }
            | InstallationRefusal::CodeEnded
            | InstallationRefusal::RedirectUriMissing
            | InstallationRefusal::RedirectUriMismatch
            | InstallationRefusal::VerifierMissing
            | InstallationRefusal::VerifierMismatch
            | InstallationRefusal::VerifierUnexpected
            | InstallationRefusal::RefreshUnknown
            | InstallationRefusal::RefreshExpired
            | InstallationRefusal::RefreshSpent
            | InstallationRefusal::RefreshedOtherwise
            | InstallationRefusal::RefreshReplayed { .. }
            | InstallationRefusal::ScopeNotGranted { .. }
            | InstallationRefusal::ResourceNotGranted => Self::conflict(detail),
        }
    }
}

impl From<KeyRefusal> for Problem {
    fn from(refusal: KeyRefusal) -> Self {
        let detail = refusal.to_string();
        match refusal {
            KeyRefusal::Unknown => not_found(detail),
            KeyRefusal::Text(_) => Self::bad_request(detail),
            KeyRefusal::Exists => Self::conflict(detail),
        }
    }
}

fn not_found(detail: String) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}
