//! Errors of the JSON APIs, as `application/problem+json` (RFC 9457).

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use super::fault::Fault;
use super::reason::Reason;
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
    /// What only the log is told.
    #[serde(skip)]
    cause: Option<String>,
}

impl Problem {
    /// A problem of a kind.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("Error");
        Self { code, title, status: status.as_u16(), detail: detail.into(), cause: None }
    }

    /// The same, with what only the log is told.
    #[must_use]
    pub fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// 400: the request is wrong.
    pub fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
    }

    /// 409: not as things are now.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", detail)
    }

    /// 500: grantbook is broken.
    pub fn broken(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", detail)
    }

    /// 404: there is no such thing.
    pub fn not_found(what: &'static str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("no such {what}"))
    }
}

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
        let mut response = HttpResponse::build(self.status_code());
        response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")));
        response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
        match self.status {
            401 => {
                response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            503 => {
                response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
            }
            _ => {}
        }
        let mut response = response.body(serde_json::to_string(self).unwrap_or_default());
        Reason::new(self).because(self.cause.as_deref()).put_on(&mut response);
        response
    }
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        let is_quarantined = matches!(error.cause(), LedgerError::Quarantined(_));
        let detail = error.to_string();
        let fault = Fault::of(&error);
        match fault {
            // Who is told in this form is an operator or an auditor, who can do something about it, and may have no
            // log to look into.
            Fault::Broken => {
                let code = if is_quarantined { "quarantined" } else { fault.code() };
                Self::new(fault.status(), code, detail)
            }
            Fault::Unavailable | Fault::OutcomeUnknown => {
                Self::new(fault.status(), fault.code(), fault.hint()).because(error)
            }
        }
    }
}

const NOT_FOUND: (StatusCode, &str) = (StatusCode::NOT_FOUND, "not_found");
const INVALID: (StatusCode, &str) = (StatusCode::BAD_REQUEST, "invalid_request");
const CONFLICT: (StatusCode, &str) = (StatusCode::CONFLICT, "conflict");

impl From<AppRefusal> for Problem {
    fn from(refusal: AppRefusal) -> Self {
        let (status, code) = match refusal {
            AppRefusal::Unknown | AppRefusal::SecretUnknown(_) => NOT_FOUND,
            AppRefusal::Profile(_) | AppRefusal::Text(_) => INVALID,
            AppRefusal::Exists
            | AppRefusal::Suspended
            | AppRefusal::NotSuspended
            | AppRefusal::PublicClient
            | AppRefusal::TooManySecrets { .. }
            | AppRefusal::LastSecret => CONFLICT,
        };
        Self::new(status, code, refusal.to_string())
    }
}

impl From<InstallationRefusal> for Problem {
    fn from(refusal: InstallationRefusal) -> Self {
        let (status, code) = match refusal {
            InstallationRefusal::Unknown | InstallationRefusal::TokenUnknown => NOT_FOUND,
            InstallationRefusal::Text(_) => INVALID,
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
            | InstallationRefusal::VerifierUnexpected => CONFLICT,
        };
        Self::new(status, code, refusal.to_string())
    }
}

impl From<KeyRefusal> for Problem {
    fn from(refusal: KeyRefusal) -> Self {
        let (status, code) = match refusal {
            KeyRefusal::Unknown => NOT_FOUND,
            KeyRefusal::Text(_) => INVALID,
            KeyRefusal::Exists => CONFLICT,
        };
        Self::new(status, code, refusal.to_string())
    }
}
