//! Errors of the OAuth endpoints, as RFC 6749 section 5.2 says.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::decisions::InstallationRefusal;
use crate::http::fault::Fault;
use crate::http::reason::Reason;
use crate::ledger::LedgerError;

/// An error of an OAuth endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    /// The registered error code.
    pub code: &'static str,
    /// For the developer of the client. Never a secret.
    pub description: String,
    status: StatusCode,
    /// How to authenticate; there with every 401 (RFC 9110 section 15.5.2).
    challenge: Option<&'static str>,
    /// What only the log is told.
    cause: Option<String>,
}

/// The body of an error reply (RFC 6749 section 5.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthErrorBody {
    /// The registered error code.
    pub error: &'static str,
    /// For the developer of the client.
    pub error_description: String,
}

impl OAuthError {
    fn new(status: StatusCode, code: &'static str, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), status, challenge: None, cause: None }
    }

    /// The same, with what only the log is told.
    #[must_use]
    fn because(self, cause: impl fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..self }
    }

    /// `invalid_request`: a parameter is missing, repeated or malformed.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// `invalid_request`, with another status than 400.
    pub fn with_status(status: StatusCode, description: impl Into<String>) -> Self {
        Self::new(status, "invalid_request", description)
    }

    /// `invalid_client`: the client is not the one it says it is, or there is none.
    pub fn invalid_client() -> Self {
        Self::unauthenticated("client authentication failed")
    }

    /// `invalid_client`: nothing says who the client is.
    pub fn no_client() -> Self {
        Self::unauthenticated(
            "no client authentication: send client_id and client_secret in the body, or by Basic",
        )
    }

    fn unauthenticated(description: &str) -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description);
        Self { challenge: Some("Basic realm=\"grantbook\", charset=\"UTF-8\""), ..error }
    }

    /// `unauthorized_client`: it is the client, and it may not.
    pub fn unauthorized_client(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "unauthorized_client", description)
    }

    /// `invalid_grant`: the code is not good.
    pub fn invalid_grant(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    /// `unsupported_grant_type`.
    pub fn unsupported_grant_type() -> Self {
        let description = "grant_type must be authorization_code";
        Self::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", description)
    }

    /// grantbook is broken.
    pub fn broken(cause: impl fmt::Display) -> Self {
        let fault = Fault::Broken;
        Self::new(fault.status(), fault.code(), fault.hint()).because(cause)
    }

    /// The operator key at the introspection endpoint is missing or not accepted (RFC 6750 section 3).
    pub fn invalid_key(description: impl Into<String>) -> Self {
        let error = Self::new(StatusCode::UNAUTHORIZED, "invalid_client", description);
        Self { challenge: Some("Bearer"), ..error }
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.description)
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        no_store(&mut response);
        if let Some(challenge) = self.challenge {
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge)));
        }
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((header::RETRY_AFTER, HeaderValue::from_static("1")));
        }
        let body = OAuthErrorBody { error: self.code, error_description: self.description.clone() };
        let mut response = response.json(body);
        Reason::new(self).because(self.cause.as_deref()).put_on(&mut response);
        response
    }
}

/// The headers that keep a reply out of every cache.
pub fn no_store(response: &mut HttpResponseBuilder) {
    response.insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")));
    response.insert_header((header::PRAGMA, HeaderValue::from_static("no-cache")));
}

impl From<LedgerError> for OAuthError {
    fn from(error: LedgerError) -> Self {
        let fault = Fault::of(&error);
        Self::new(fault.status(), fault.code(), fault.hint()).because(error)
    }
}

impl From<InstallationRefusal> for OAuthError {
    fn from(refusal: InstallationRefusal) -> Self {
        let description = refusal.to_string();
        match refusal {
            // Which of these it was would tell a thief what to try next; the log has it.
            InstallationRefusal::CodeUnknown
            | InstallationRefusal::CodeExpired
            | InstallationRefusal::CodeEnded => {
                Self::invalid_grant("the code is unknown, expired, used or ended").because(refusal)
            }
            // Who is told has the code, the secret and the verifier, and has to look for who else has.
            InstallationRefusal::CodeSpent
            | InstallationRefusal::CodeReplayed { .. }
            | InstallationRefusal::RedirectUriMissing
            | InstallationRefusal::RedirectUriMismatch
            | InstallationRefusal::VerifierMissing
            | InstallationRefusal::VerifierMismatch => Self::invalid_grant(description),
            InstallationRefusal::VerifierUnexpected
            | InstallationRefusal::Unknown
            | InstallationRefusal::TokenUnknown
            | InstallationRefusal::FormUsed
            | InstallationRefusal::Text(_) => Self::invalid_request(description),
        }
    }
}
