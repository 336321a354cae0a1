//! What software says of itself when nobody else speaks for it (RFC 7591 section 2). Knows: the members that matter here, and what is
//! right in each. Must not know: how they came, or what an operator allows.

use grantbook_events::ClientKeys;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::app_profile::{ProfileError, wrong};
use super::client_keys::check_keys;
use super::key_set::ALGORITHMS;

/// What is read of a client's metadata; everything else in it is ignored (RFC 7591 section 2).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClientMetadata {
    /// Redirect URIs: absolute https, http for loopback addresses, or a private scheme with a dot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1, max_items = 20, example = json!(["https://app.example/callback"]))]
    pub redirect_uris: Option<Vec<String>>,
    /// Shown to people as what the app calls itself: characters that can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 100)]
    pub client_name: Option<String>,
    /// Where people can read about the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 500)]
    pub client_uri: Option<String>,
    /// `none`, `client_secret_basic`, `client_secret_post` or `private_key_jwt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub token_endpoint_auth_method: Option<String>,
    /// What it signs with, if it signs.
    #[serde(default, skip_serializing)]
    #[schema(write_only, nullable = false)]
    pub token_endpoint_auth_signing_alg: Option<String>,
    /// `authorization_code`, and `refresh_token` for refresh tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub grant_types: Option<Vec<String>>,
    /// `code`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub response_types: Option<Vec<String>>,
    /// The scopes that it gets if it asks for none, separated by spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub scope: Option<String>,
    /// The public keys it signs with, as a JWK set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    pub jwks: Option<Value>,
    /// Where that set is: an https URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, max_length = 500)]
    pub jwks_uri: Option<String>,
    /// Whether its authorization requests have to be pushed (RFC 9126).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub require_pushed_authorization_requests: Option<bool>,
}

impl ClientMetadata {
    /// Checks what is to be used and how. What an app says is for many servers, so grants and responses that do not exist here are
    /// ignored.
    ///
    /// # Errors
    /// If those that exist here are not among them, or it would sign in another way.
    pub fn check(&self) -> Result<(), ProfileError> {
        let lacks = |list: &Option<Vec<String>>, name| list.as_ref().is_some_and(|list| !has(list, name));
        if lacks(&self.grant_types, "authorization_code") {
            return wrong("grant_types", "must have authorization_code, or be left out");
        }
        if lacks(&self.response_types, "code") {
            return wrong("response_types", "must have code, or be left out");
        }
        match self.token_endpoint_auth_signing_alg.as_deref() {
            Some(one) if !ALGORITHMS.contains(&one) => {
                let known = ALGORITHMS.join(", ");
                wrong("token_endpoint_auth_signing_alg", format!("must be one of {known}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The keys of an app that signs.
    ///
    /// # Errors
    /// If there are none, or they are not as they have to be.
    pub fn keys(&self) -> Result<ClientKeys, ProfileError> {
        let jwks = self.jwks.as_ref().map(Value::to_string);
        match check_keys(jwks.as_deref(), self.jwks_uri.as_deref())? {
            ClientKeys::None => wrong("jwks", "must be there, or jwks_uri, for private_key_jwt"),
            keys => Ok(keys),
        }
    }

    /// Whether it wants refresh tokens.
    pub fn refreshes(&self) -> bool {
        self.grant_types.as_deref().is_some_and(|grants| has(grants, "refresh_token"))
    }
}

fn has(list: &[String], name: &str) -> bool {
    list.iter().any(|one| one == name)
}
