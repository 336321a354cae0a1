//! A folded state as JSON, row by row: apps, then their installations, then operator keys. Without any
//! digest of a secret. Knows: the live projection. Must not know: how it was folded.

use grantbook_events::{ClientId, Timestamp};
use grantbook_projections::live::{InstallationFacts, Live};
use grantbook_projections::{App, AppStatus, OperatorKey};
use serde_json::{Value, json};

use crate::audit::TokenThen;

/// Installations taken from the state at once.
const PAGE: usize = 256;

/// Hands over a state a few rows at a time, each a JSON object on a line of its own, as it is seen at a time: what had
/// expired by then is gone.
///
/// # Errors
/// Those of `write`.
pub fn dump<E>(live: &Live, at: Timestamp, mut write: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let line = |row: Value| format!("{row}\n");
    for app in live.apps(0, usize::MAX) {
        write(&line(app_row(&app, at)))?;
        for page in installations(live, &app.client_id, at) {
            write(&page.iter().map(installation_row).map(line).collect::<String>())?;
        }
    }
    let keys = live.operator_keys(0, usize::MAX);
    write(&keys.iter().map(|key| line(key_row(key))).collect::<String>())
}

/// The installations of an app, page after page until there is nothing more.
pub(super) fn installations(
    live: &Live,
    app: &ClientId,
    at: Timestamp,
) -> impl Iterator<Item = Vec<InstallationFacts>> {
    let mut skip = 0;
    std::iter::from_fn(move || {
        let found = live.installations_of_app(app, skip, PAGE, at);
        skip += found.len();
        (!found.is_empty()).then_some(found)
    })
}

fn app_row(app: &App, at: Timestamp) -> Value {
    let (status, reason) = match &app.status {
        AppStatus::Active => ("active", None),
        AppStatus::Suspended { reason } => ("suspended", Some(reason)),
        AppStatus::Deleted { reason } => ("deleted", Some(reason)),
        AppStatus::Quarantined { reason } => ("quarantined", Some(reason)),
    };
    let secrets: Vec<_> = app.live_secrets(at).map(|secret| &secret.secret_id).collect();
    let mut row = json!({
        "row": "app",
        "client_id": app.client_id,
        "name": app.name,
        "owner": app.owner,
        "status": status,
        "redirect_uris": app.redirect_uris,
        "scopes": app.scopes,
        "confidential": app.confidential,
        "secrets": secrets,
        "registered_at": app.registered_at,
        "changed_at": app.changed_at,
    });
    if let Some(reason) = reason {
        row["reason"] = json!(reason);
    }
    row
}

fn installation_row(facts: &InstallationFacts) -> Value {
    let [tokens, dormant] =
        [&facts.tokens, &facts.dormant].map(|tokens| tokens.iter().map(TokenThen::from).collect::<Vec<_>>());
    let mut row = json!({
        "row": "installation",
        "installation_id": facts.installation_id,
        "client_id": facts.client_id,
        "account_id": facts.account_id,
        "installed": facts.is_installed(),
        "installed_since": facts.installed_since,
        "ended_at": facts.ended_at,
        "first_granted_at": facts.first_granted_at,
        "epoch": facts.epoch,
        "tokens": tokens,
        "dormant": dormant,
    });
    if let Some(poison) = &facts.quarantined {
        row["quarantined"] = json!(poison.reason);
    }
    row
}

fn key_row(key: &OperatorKey) -> Value {
    json!({
        "row": "operator-key",
        "key_id": key.key_id,
        "name": key.name,
        "role": key.role,
        "created_at": key.created_at,
        "retired_at": key.retired_at,
    })
}
