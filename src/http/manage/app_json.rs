//! An app as operators see it: everything that is known of it but the digests of its secrets.

use grantbook_events::{ClientId, SecretId, Timestamp, TokenPolicy};
use grantbook_projections::{App, AppStatus, ClientSecret};
use serde::Serialize;
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
    /// Whether it has a client secret (RFC 6749 section 2.1).
    confidential: bool,
    token_policy: TokenPolicy,
    status: StatusJson,
    /// The client secrets that are accepted, oldest first; never the secrets themselves.
    secrets: Vec<SecretJson>,
    registered_at: Timestamp,
    changed_at: Timestamp,
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

impl AppJson {
    pub(super) fn new(app: &App, now: Timestamp) -> Self {
        Self {
            client_id: app.client_id,
            name: app.name.clone(),
            owner: app.owner.clone(),
            homepage: app.homepage.clone(),
            redirect_uris: app.redirect_uris.clone(),
            scopes: app.scopes.clone(),
            confidential: app.confidential,
            token_policy: app.token_policy,
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
