//! An app as operators see it: everything but the digests of its secrets. Knows: the state of an app. Must not know: what
//! changes it.

use grantbook_events::{
    AppSource, ClientId, ClientKeys, OperatorKeyId, RefreshPolicy, SecretId, Timestamp, TokenPolicy,
};
use grantbook_projections::{App, AppStatus, ClientSecret};
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// An app.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppJson {
    #[schema(example = "5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d")]
    client_id: ClientId,
    /// Shown on the consent page.
    name: String,
    /// Who answers for the app; shown on the consent page.
    owner: String,
    /// Where people can read about the app.
    homepage: Option<String>,
    /// The redirect URIs it may name, compared as exact strings.
    redirect_uris: Vec<String>,
    /// Canonical names of the scopes it may ask for.
    scopes: Vec<String>,
    /// Whether it authenticates, by a secret or by keys (RFC 6749 section 2.1).
    confidential: bool,
    token_policy: PolicyJson,
    /// The scopes it gets if it asks for none; none for those of the server's configuration.
    default_scopes: Vec<String>,
    /// Whether its authorization requests have to be pushed (RFC 9126).
    requires_pushed_requests: bool,
    /// The public keys it authenticates by: a JWK set (RFC 7517); absent if it has none here.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Object, nullable = false)]
    jwks: Option<Value>,
    /// Where its key set is; absent if it has none elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    jwks_uri: Option<String>,
    source: SourceJson,
    status: StatusJson,
    /// The client secrets that are accepted, oldest first; never the secrets themselves.
    secrets: Vec<SecretJson>,
    registered_at: Timestamp,
    changed_at: Timestamp,
}

/// How long the app's tokens live.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = TokenPolicy)]
pub struct PolicyJson {
    /// Seconds from issue to expiry of an access token, at most a year; absent or null for tokens that do not expire.
    #[schema(minimum = 1, maximum = 31_622_400)]
    lifetime_seconds: Option<u64>,
    /// Refresh tokens (RFC 6749 section 6) for access tokens that expire; absent for none.
    #[serde(default, deserialize_with = "present_object", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    refresh: Option<RefreshPolicy>,
}

impl From<TokenPolicy> for PolicyJson {
    fn from(TokenPolicy { lifetime_seconds, refresh }: TokenPolicy) -> Self {
        Self { lifetime_seconds, refresh }
    }
}

impl From<PolicyJson> for TokenPolicy {
    fn from(PolicyJson { lifetime_seconds, refresh }: PolicyJson) -> Self {
        Self { lifetime_seconds, refresh }
    }
}

/// How the app came to be.
#[derive(Debug, Serialize, ToSchema)]
struct SourceJson {
    by: SourceKindJson,
    /// Of `initial_access_token`: which operator key that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    key_id: Option<OperatorKeyId>,
    /// Of `document`: the URL of its metadata document, by which it names itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    url: Option<String>,
}

/// `operator`: an operator registered it. `open`: its software registered itself, as anyone may (RFC 7591).
/// `initial_access_token`: its software registered itself with such a token. `document`: it has a metadata document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum SourceKindJson {
    Operator,
    Open,
    InitialAccessToken,
    Document,
}

impl From<&AppSource> for SourceJson {
    fn from(source: &AppSource) -> Self {
        let (key_id, url) = match source {
            AppSource::Operator | AppSource::Open => (None, None),
            AppSource::InitialAccessToken(id) => (Some(*id), None),
            AppSource::Document(url) => (None, Some(url.clone())),
        };
        Self { by: source.into(), key_id, url }
    }
}

impl From<&AppSource> for SourceKindJson {
    fn from(source: &AppSource) -> Self {
        match source {
            AppSource::Operator => Self::Operator,
            AppSource::Open => Self::Open,
            AppSource::InitialAccessToken(_) => Self::InitialAccessToken,
            AppSource::Document(_) => Self::Document,
        }
    }
}

/// Whether the app's codes and tokens count.
#[derive(Debug, Serialize, ToSchema)]
struct StatusJson {
    state: StateJson,
    /// Why it is not active; absent if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// Whether the app's codes and tokens count. `quarantined`: an event of the app cannot be read or folded, so
/// nothing of it counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StateJson {
    Active,
    Suspended,
    Deleted,
    Quarantined,
}

/// A client secret, by its name.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecretJson {
    secret_id: SecretId,
    added_at: Timestamp,
    /// From when on it is refused; absent while no end is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    retires_at: Option<Timestamp>,
}

/// Reads a field that is there, so that null is a value of the field and not its absence.
pub(super) fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    value: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// An object. A struct would be read from a list of its fields, too.
pub(super) fn object<'de, D: Deserializer<'de>, T: DeserializeOwned>(value: D) -> Result<T, D::Error> {
    let fields = serde_json::Map::deserialize(value)?;
    T::deserialize(serde_json::Value::Object(fields)).map_err(D::Error::custom)
}

pub(super) fn present_object<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    value: D,
) -> Result<Option<T>, D::Error> {
    object(value).map(Some)
}

impl AppJson {
    pub(super) fn new(app: &App, now: Timestamp) -> Self {
        let (jwks, jwks_uri) = match &app.keys {
            ClientKeys::None => (None, None),
            ClientKeys::Jwks(set) => (serde_json::from_str(set).ok(), None),
            ClientKeys::JwksUri(url) => (None, Some(url.clone())),
        };
        Self {
            client_id: app.client_id,
            name: app.name.clone(),
            owner: app.owner.clone(),
            homepage: app.homepage.clone(),
            redirect_uris: app.redirect_uris.clone(),
            scopes: app.scopes.clone(),
            confidential: app.confidential,
            token_policy: app.token_policy.into(),
            default_scopes: app.default_scopes.clone(),
            requires_pushed_requests: app.requires_pushed_requests,
            jwks,
            jwks_uri,
            source: (&app.source).into(),
            status: (&app.status).into(),
            secrets: app.live_secrets(now).map(SecretJson::from).collect(),
            registered_at: app.registered_at,
            changed_at: app.changed_at,
        }
    }
}

impl From<&AppStatus> for StatusJson {
    fn from(status: &AppStatus) -> Self {
        let (state, reason) = match status {
            AppStatus::Active => (StateJson::Active, None),
            AppStatus::Suspended { reason } => (StateJson::Suspended, Some(reason)),
            AppStatus::Deleted { reason } => (StateJson::Deleted, Some(reason)),
            AppStatus::Quarantined { reason } => (StateJson::Quarantined, Some(reason)),
        };
        Self { state, reason: reason.cloned() }
    }
}

impl From<&ClientSecret> for SecretJson {
    fn from(secret: &ClientSecret) -> Self {
        Self { secret_id: secret.secret_id, added_at: secret.added_at, retires_at: secret.retires_at }
    }
}
