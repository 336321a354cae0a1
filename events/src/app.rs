//! What happens to an app: stream `app-{client_id}`.

use serde::{Deserialize, Serialize};

use crate::{ClientId, SecretDigest, SecretId, Timestamp};

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
    /// The first client secret; none for a public client (RFC 6749 section 2.1).
    pub secret: Option<NewSecret>,
    /// How long its tokens live.
    pub token_policy: TokenPolicy,
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

/// How long an app's access tokens live.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenPolicy {
    /// Seconds from issue to expiry, at most a year; absent or null for tokens that do not expire.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 31_622_400))]
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
    /// The policy for tokens issued from here on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_policy: Option<TokenPolicy>,
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
