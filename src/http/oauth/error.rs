//! Errors of the OAuth endpoints, as RFC 6749 section 5.2 says. Knows: the registered codes. Must not know: which
//! endpoint answers.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, PRAGMA};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;
use utoipa::ToSchema;

use crate::decisions::InstallationRefusal;
use crate::http::problem::Problem;
use crate::ledger::LedgerError;

/// How an app authenticates, and how an operator key is sent (RFC 9110 section 15.5.2, RFC 6750 section 3).
const BASIC: &str = "Basic realm=\"grantbook\", charset=\"UTF-8\"";
const BEARER: &str = "Bearer";
const INVALID_TOKEN: &str = "Bearer realm=\"grantbook\", error=\"invalid_token\"";
/// Which of these it was would tell a thief what to try next; the log has it.
pub(super) const CODE_NOT_VALID: &str = "the code is unknown, expired, used or ended";

pub(super) const REFRESH_NOT_VALID: &str = "the refresh token is unknown, expired, used or ended";

/// An error of an OAuth endpoint: a problem with a registered code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OAuthError {
    problem: Problem,
    challenge: &'static str,
}

/// The body of an error reply (RFC 6749 section 5.2).
#[derive(Debug, Serialize, ToSchema)]
pub struct OAuthErrorBody<'a> {
    /// The registered error code.
    pub error: &'static str,
    /// For the developer of the client.
    pub error_description: &'a str,
}

impl OAuthError {
    pub fn new(code: &'static str, description: impl Into<String>) -> Self {
        let status = match code {
            "invalid_client" | "invalid_token" => StatusCode::UNAUTHORIZED,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { problem: Problem::new(status, code, description), challenge: BASIC }
    }

    /// A parameter is missing, repeated or malformed.
    pub fn invalid_request(description: impl Into<String>) -> Self {
        Self::new("invalid_request", description)
    }

    /// The client is not the one it says it is.
    pub fn invalid_client() -> Self {
        Self::new("invalid_client", "client authentication failed")
    }

    /// The access token does not do (RFC 6750 section 3.1).
    pub fn invalid_token() -> Self {
        Self::new("invalid_token", "the access token is unknown, expired or ended")
    }

    /// The token for registering an app, or for managing its registration, is missing or not the right one (RFC 7592 section 2).
    pub(super) fn not_registrar(description: &'static str) -> Self {
        Self { challenge: INVALID_TOKEN, ..Self::new("invalid_token", description) }
    }

    /// It is not allowed here.
    pub(super) fn denied(description: &'static str) -> Self {
        Problem::new(StatusCode::FORBIDDEN, "access_denied", description).into()
    }

    /// 405, and the methods that are right.
    pub fn not_allowed(allowed: &str) -> Self {
        let detail = format!("this path takes {allowed}");
        Problem::new(StatusCode::METHOD_NOT_ALLOWED, "invalid_request", detail).into()
    }

    /// What a challenge says of an error that is the bearer's (RFC 6750 section 3).
    pub(super) fn attributes(&self) -> Option<String> {
        let Problem { code, status, detail, .. } = &self.problem;
        let is_said = matches!(status, 400 | 401) && !detail.contains(['"', '\\']);
        is_said.then(|| format!("error=\"{code}\", error_description=\"{detail}\""))
    }
}

impl fmt::Display for OAuthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.problem.fmt(f)
    }
}

impl ResponseError for OAuthError {
    fn status_code(&self) -> StatusCode {
        self.problem.status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let body = OAuthErrorBody { error: self.problem.code, error_description: &self.problem.detail };
        let mut response = self.problem.answer("application/json", self.challenge, &body);
        response.headers_mut().insert(PRAGMA, HeaderValue::from_static("no-cache"));
        response
    }
}

impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        let (code, challenge) = match problem.code {
            "invalid_key" => ("invalid_client", BEARER),
            "too_large" | "unsupported_media_type" => ("invalid_request", BASIC),
            "not_ready" => ("temporarily_unavailable", BASIC),
            code => (code, BASIC),
        };
        Self { problem: Problem { code, ..problem }, challenge }
    }
}

impl From<LedgerError> for OAuthError {
    fn from(error: LedgerError) -> Self {
        Problem::fault(&error).into()
    }
}

impl From<InstallationRefusal> for OAuthError {
    fn from(refusal: InstallationRefusal) -> Self {
        match refusal {
            InstallationRefusal::CodeUnknown
            | InstallationRefusal::CodeExpired
            | InstallationRefusal::CodeEnded => {
                let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_grant", CODE_NOT_VALID);
                problem.because(refusal).into()
            }
            InstallationRefusal::RefreshUnknown
            | InstallationRefusal::RefreshExpired
            | InstallationRefusal::RefreshSpent => {
                let problem = Problem::new(StatusCode::BAD_REQUEST, "invalid_grant", REFRESH_NOT_VALID);
                problem.because(refusal).into()
            }
            InstallationRefusal::ScopeNotGranted { .. } => Self::new("invalid_scope", refusal.to_string()),
            InstallationRefusal::ResourceNotGranted => Self::new("invalid_target", refusal.to_string()),
            // The caller has the code, the secret and the verifier, and has to look for who else has.
            InstallationRefusal::CodeSpent
            | InstallationRefusal::CodeReplayed { .. }
            | InstallationRefusal::RefreshedOtherwise
            | InstallationRefusal::RefreshReplayed { .. }
            | InstallationRefusal::RedirectUriMissing
            | InstallationRefusal::RedirectUriMismatch
            | InstallationRefusal::VerifierMissing
            | InstallationRefusal::VerifierMismatch => Self::new("invalid_grant", refusal.to_string()),
            InstallationRefusal::VerifierUnexpected
            | InstallationRefusal::Unknown
            | InstallationRefusal::TokenUnknown
            | InstallationRefusal::FormUsed
            | InstallationRefusal::Text(_) => Self::invalid_request(refusal.to_string()),
        }
    }
}
