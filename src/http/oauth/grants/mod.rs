//! What an app may exchange for a token: one file for each grant type. Knows: the form of the token endpoint, and what
//! every grant is exchanged with, and for. Must not know: how a client authenticates, or what a grant type asks for.

pub mod authorization_code;

use grantbook_events::{AccountId, InstallationId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::Client;
use crate::decisions::Exchanged;
use crate::http::{Context, Service, ShownOnce};
use crate::secrets::PlainSecret;

/// A code, to be exchanged (RFC 6749 section 4.1.3).
#[derive(Deserialize, ToSchema)]
pub struct TokenForm {
    /// May be absent.
    #[schema(nullable = false, pattern = "^authorization_code$")]
    pub grant_type: Option<String>,
    /// The code that came with the user's browser.
    #[schema(required = true, nullable = false, min_length = 1)]
    pub code: Option<String>,
    /// As it was in the authorization request; required if it was there, and refused if it is another.
    #[schema(nullable = false)]
    pub redirect_uri: Option<String>,
    /// Required if the authorization request had a `code_challenge` (RFC 7636).
    #[schema(nullable = false)]
    pub code_verifier: Option<String>,
    /// The app, unless it authenticates by Basic.
    #[schema(nullable = false, pattern = "^[0-9a-f]{32}$")]
    pub client_id: Option<String>,
    /// The app's secret, unless it authenticates by Basic or has none.
    #[schema(nullable = false, format = Password)]
    pub client_secret: Option<String>,
}

/// A token, handed over once.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenReply {
    /// The access token: send it as `Authorization: Bearer …`.
    access_token: ShownOnce,
    /// Always `Bearer` (RFC 6750).
    token_type: &'static str,
    /// Canonical names of the token's scopes, separated by spaces.
    scope: String,
    /// Seconds until it expires; absent, the default, for a token that does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_in: Option<i64>,
    /// The account that the app is installed on.
    account_id: AccountId,
    /// The installation: this app on that account.
    installation_id: InstallationId,
}

impl TokenReply {
    pub fn new(
        token: PlainSecret,
        installation_id: InstallationId,
        exchanged: Exchanged,
        now: Timestamp,
    ) -> Self {
        let seconds_left = |end: Timestamp| end.as_secs().saturating_sub(now.as_secs()).max(0);
        Self {
            access_token: ShownOnce(token),
            token_type: "Bearer",
            scope: exchanged.scopes.join(" "),
            expires_in: exchanged.expires_at.map(seconds_left),
            account_id: exchanged.account_id,
            installation_id,
        }
    }
}

/// What a grant is exchanged with.
pub struct Exchange<'a> {
    pub service: &'a Service,
    pub context: &'a Context,
    pub client: &'a Client,
}
