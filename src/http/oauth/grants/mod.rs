//! What an app may exchange for a token: one file for each grant type. Knows: the form of the token endpoint. Must not
//! know: how a client authenticates.

mod authorization_code;

use serde::Deserialize;
use utoipa::ToSchema;

use self::authorization_code::AuthorizationCode;
use super::error::OAuthError;
use super::exchange::{Exchange, TokenReply};

/// A code, to be exchanged (RFC 6749 section 4.1.3).
#[derive(Deserialize, ToSchema)]
pub struct TokenForm {
    /// May be absent.
    #[schema(nullable = false, pattern = "^authorization_code$")]
    grant_type: Option<String>,
    /// The code that came with the user's browser.
    #[schema(required = true, nullable = false, min_length = 1)]
    code: Option<String>,
    /// As it was in the authorization request; required if it was there, and refused if it is another.
    #[schema(nullable = false)]
    redirect_uri: Option<String>,
    /// Required if the authorization request had a `code_challenge` (RFC 7636).
    #[schema(nullable = false)]
    code_verifier: Option<String>,
    /// The app, unless it authenticates by Basic.
    #[schema(nullable = false, pattern = "^[0-9a-f]{32}$")]
    pub client_id: Option<String>,
    /// The app's secret, unless it authenticates by Basic or has none.
    #[schema(nullable = false, format = Password)]
    pub client_secret: Option<String>,
}

/// What is to be exchanged.
pub enum Grant {
    AuthorizationCode(AuthorizationCode),
}

impl Grant {
    /// The grant that a form asks for. What it lacks is said once the client is known.
    pub fn of(form: TokenForm) -> Result<Self, OAuthError> {
        match form.grant_type.as_deref() {
            None | Some("authorization_code") => Ok(Self::AuthorizationCode(AuthorizationCode {
                code: form.code,
                redirect_uri: form.redirect_uri,
                code_verifier: form.code_verifier,
            })),
            Some(_) => Err(OAuthError::unsupported_grant_type()),
        }
    }

    pub async fn exchange(self, exchange: Exchange<'_>) -> Result<TokenReply, OAuthError> {
        match self {
            Self::AuthorizationCode(grant) => grant.exchange(exchange).await,
        }
    }
}
