//! What happens to an app: stream `app-{client_id}`.

use serde::{Deserialize, Serialize};

use crate::{ClientId, OperatorKeyId, SecretDigest, SecretId, Timestamp};

/// One event of an app's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppEvent {
    /// The app exists from here on.
    Registered(AppRegistered),
    /// Some of what was registered reads differently from here on.
    Updated(AppUpdated),
    /// One more client secret is accepted.
    SecretAdded(AppSecretAdded),
    /// A client secret stops being accepted, at once or at a named time.
    SecretRetired(AppSecretRetired),
    /// The app's codes are dead, and none of its tokens is valid until it is resumed.
    Suspended(AppSuspended),
    /// The suspension is over.
    Resumed(AppResumed),
    /// The app is gone for good, and with it every code and token.
    Deleted(AppDeleted),
}

/// `app-registered`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppRegistered {
    /// The app's client id.
    pub client_id: ClientId,
    /// Shown on the consent page.
    pub name: String,
    /// Who answers for the app; shown on the consent page.
    pub owner: String,
    /// Where people can read about the app.
    pub homepage: Option<String>,
    /// The redirect URIs it may name, compared as exact strings.
    pub redirect_uris: Vec<String>,
    /// Canonical names of the scopes it may ask for.
    pub scopes: Vec<String>,
    /// Canonical names of the scopes it gets if it asks for none (RFC 6749 section 3.3); none for those of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub default_scopes: Vec<String>,
    /// The first client secret; none for a public client (RFC 6749 section 2.1), and for one with keys.
    pub secret: Option<NewSecret>,
    /// The keys that it authenticates by instead (RFC 7523).
    #[serde(default, skip_serializing_if = "ClientKeys::is_none")]
    pub keys: ClientKeys,
    /// How long its tokens live.
    pub token_policy: TokenPolicy,
    /// Whether its authorization requests have to be pushed (RFC 9126).
    #[serde(default, skip_serializing_if = "is_false")]
    pub requires_pushed_requests: bool,
    /// How it came to be.
    #[serde(default, skip_serializing_if = "AppSource::is_operator")]
    pub source: AppSource,
    /// SHA-256 of the token by which its own software manages the registration (RFC 7592).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registration_digest: Option<SecretDigest>,
}

/// For fields that are stored only if they say something.
fn is_false(value: &bool) -> bool {
    !value
}

/// How an app came to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AppSource {
    /// An operator registered it.
    #[default]
    Operator,
    /// Its software registered itself, which anyone may (RFC 7591).
    Open,
    /// Its software registered itself with an initial access token, which is this operator key (RFC 7591 section 3).
    InitialAccessToken(OperatorKeyId),
    /// It names itself by the URL of its metadata document.
    Document(String),
}

impl AppSource {
    /// Whether an operator registered it, and so knows who answers for it.
    pub const fn is_operator(&self) -> bool {
        matches!(self, Self::Operator)
    }
}

/// The public keys by which an app authenticates (RFC 7517, RFC 7523).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClientKeys {
    /// It has none.
    #[default]
    None,
    /// A JWK set, as JSON.
    Jwks(String),
    /// Where its JWK set is.
    JwksUri(String),
}

impl ClientKeys {
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// A client secret that starts being accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// Names the secret in events and answers.
    pub secret_id: SecretId,
    /// SHA-256 of the secret.
    pub digest: SecretDigest,
}

/// How long an app's tokens live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPolicy {
    /// Seconds from issue to expiry of an access token, at most a year; absent or null for tokens that do not expire.
    pub lifetime_seconds: Option<u64>,
    /// Refresh tokens (RFC 6749 section 6) for access tokens that expire; absent or null for none.
    #[serde(default)]
    pub refresh: Option<RefreshPolicy>,
}

/// How long an app's refresh tokens live.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshPolicy {
    /// For how many seconds one can go unused before it expires; absent or null for no such limit.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 315_360_000))]
    #[serde(default)]
    pub idle_seconds: Option<u64>,
    /// For how many seconds after the approval refreshing goes on, however often it is used; absent or null for no such
    /// limit.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 315_360_000))]
    #[serde(default)]
    pub lifetime_seconds: Option<u64>,
}

/// `app-updated`: only the fields that changed, with their new values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppUpdated {
    /// The new name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The new owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The new homepage.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub homepage: Option<String>,
    /// All redirect URIs from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub redirect_uris: Option<Vec<String>>,
    /// All scopes it may ask for from here on. Tokens already issued keep theirs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scopes: Option<Vec<String>>,
    /// The scopes it gets if it asks for none, from here on; empty for those of the configuration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_scopes: Option<Vec<String>>,
    /// The keys it authenticates by from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<ClientKeys>,
    /// The policy for tokens issued from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_policy: Option<TokenPolicy>,
    /// Whether its authorization requests have to be pushed from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_pushed_requests: Option<bool>,
}

/// `app-secret-added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSecretAdded {
    /// Names the secret.
    pub secret_id: SecretId,
    /// SHA-256 of the secret that is accepted from here on.
    pub digest: SecretDigest,
}

/// `app-secret-retired`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSecretRetired {
    /// The secret that ends.
    pub secret_id: SecretId,
    /// From when on it is refused. Not before the event's own time.
    pub retires_at: Timestamp,
    /// Why, in an operator's words, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `app-suspended`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSuspended {
    /// In the operator's words.
    pub reason: String,
}

/// `app-resumed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppResumed {
    /// In the operator's words.
    pub reason: String,
}

/// `app-deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppDeleted {
    /// In the operator's words.
    pub reason: String,
}
