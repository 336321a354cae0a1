//! What an app may exchange for a token: one file for each grant type. Knows: the form of the token endpoint, and what
//! every grant is exchanged with, and for. Must not know: how a client authenticates, or what a grant type asks for.

pub mod authorization_code;
pub mod refresh_token;

use std::time::Duration;

use grantbook_events::{AccountId, InstallationId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::client::Client;
use super::error::OAuthError;
use crate::decisions::{Issued, NewRefresh, RefreshRules, TokenRules};
use crate::http::{Context, Service, ShownOnce};
use crate::secrets::{self, MintedRefresh, PlainSecret};

/// A code or a refresh token, to be exchanged (RFC 6749 sections 4.1.3 and 6).
#[derive(Deserialize, ToSchema)]
pub struct TokenForm {
    /// `authorization_code` if it is absent.
    #[schema(nullable = false, pattern = "^(authorization_code|refresh_token)$")]
    pub grant_type: Option<String>,
    /// Of `authorization_code`: the code that came with the user's browser.
    #[schema(nullable = false, min_length = 1)]
    pub code: Option<String>,
    /// Of `refresh_token`: the refresh token that came with the last reply.
    #[schema(nullable = false, min_length = 1, format = Password)]
    pub refresh_token: Option<String>,
    /// Of `refresh_token`: some of the scopes that were granted; absent for all of them.
    #[schema(nullable = false)]
    pub scope: Option<String>,
    /// The resources that the access token is to be for, of those that were granted; may be repeated (RFC 8707).
    #[serde(default)]
    pub resource: Vec<String>,
    /// As it was in the authorization request; required if it was there, and refused if it is another.
    #[schema(nullable = false)]
    pub redirect_uri: Option<String>,
    /// Required if the authorization request had a `code_challenge` (RFC 7636).
    #[schema(nullable = false)]
    pub code_verifier: Option<String>,
    /// The app, unless it authenticates by Basic.
    #[schema(nullable = false, pattern = "^([0-9a-f]{32}|https?://.+)$")]
    pub client_id: Option<String>,
    /// The app's secret, unless it authenticates by Basic or has none.
    #[schema(nullable = false, format = Password)]
    pub client_secret: Option<String>,
    /// Instead of a secret: `urn:ietf:params:oauth:client-assertion-type:jwt-bearer`.
    #[schema(nullable = false)]
    pub client_assertion_type: Option<String>,
    /// Instead of a secret: a JWT that the app signed with its key (RFC 7523).
    #[schema(nullable = false, format = Password)]
    pub client_assertion: Option<String>,
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
    /// Good for one exchange for new tokens; there only for an app that has refresh tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh_token: Option<ShownOnce>,
    /// The account that the app is installed on.
    account_id: AccountId,
    /// The installation: this app on that account.
    installation_id: InstallationId,
}

impl TokenReply {
    /// The tokens that were minted, as they were issued.
    pub fn new(
        (access, refresh): (PlainSecret, PlainSecret),
        installation_id: InstallationId,
        issued: Issued,
        now: Timestamp,
    ) -> Self {
        let seconds_left = |end: Timestamp| end.as_secs().saturating_sub(now.as_secs()).max(0);
        Self {
            access_token: ShownOnce(access),
            token_type: "Bearer",
            scope: issued.scopes.join(" "),
            expires_in: issued.expires_at.map(seconds_left),
            refresh_token: issued.has_refresh.then_some(ShownOnce(refresh)),
            account_id: issued.account_id,
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

impl Exchange<'_> {
    /// The resources that a form names. Whether they were granted is another question.
    fn resources(&self, named: &[String]) -> Result<Vec<String>, OAuthError> {
        let resources = self.service.config.resources.check(named);
        resources.map_err(|error| OAuthError::new("invalid_target", error.to_string()))
    }

    /// What holds for the tokens of the app.
    fn rules(&self) -> TokenRules {
        let policy = self.client.app.token_policy;
        TokenRules {
            lifetime: policy.lifetime_seconds.map(Duration::from_secs),
            refresh: policy.refresh.map(RefreshRules::from),
            max_live_per_user: self.service.config.max_live_tokens_per_user,
        }
    }
}

/// A refresh token that was minted, as the ledger may know it.
fn new_refresh(minted: &MintedRefresh, now: Timestamp) -> NewRefresh {
    NewRefresh {
        token_id: secrets::new_token_id(now),
        digest: minted.plain.digest(),
        family_digest: minted.family_digest,
    }
}
