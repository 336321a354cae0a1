//! A folded state as JSON, row by row: apps, then their installations, then operator keys. Without any
//! digest of a secret.

use grantbook_events::{AccountId, ClientId, InstallationId, OperatorKeyId, Role, SecretId, Timestamp};
use grantbook_projections::live::{InstallationFacts, Live};
use grantbook_projections::{App, AppStatus, OperatorKey};
use serde::Serialize;

use crate::audit::TokenThen;

/// Rows taken from the state at once.
const PAGE: usize = 256;

/// One row of a state.
#[derive(Debug, Serialize)]
#[serde(tag = "row", rename_all = "kebab-case")]
enum Row<'a> {
    App {
        client_id: &'a ClientId,
        name: &'a str,
        owner: &'a str,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reason: Option<&'a str>,
        redirect_uris: &'a [String],
        scopes: &'a [String],
        confidential: bool,
        secrets: Vec<&'a SecretId>,
        registered_at: Timestamp,
        changed_at: Timestamp,
    },
    Installation {
        installation_id: InstallationId,
        client_id: ClientId,
        account_id: &'a AccountId,
        installed: bool,
        installed_since: Option<Timestamp>,
        ended_at: Option<Timestamp>,
        first_granted_at: Timestamp,
        epoch: u32,
        tokens: Vec<TokenThen>,
        dormant: Vec<TokenThen>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quarantined: Option<&'a str>,
    },
    OperatorKey {
        key_id: &'a OperatorKeyId,
        name: &'a str,
        role: Role,
        created_at: Timestamp,
        retired_at: Option<Timestamp>,
    },
}

/// A state, as it is seen at a time: what had expired by then is gone.
#[derive(Debug, Clone, Copy)]
pub struct ShownState<'a> {
    live: &'a Live,
    at: Timestamp,
}

impl<'a> ShownState<'a> {
    /// How a state is shown.
    pub fn new(live: &'a Live, at: Timestamp) -> Self {
        Self { live, at }
    }

    /// Hands over a few rows at a time, each a JSON object on a line of its own.
    ///
    /// # Errors
    /// Those of `write`, and of a row that cannot be written as JSON.
    pub fn write<E: From<serde_json::Error>>(
        &self,
        mut write: impl FnMut(&str) -> Result<(), E>,
    ) -> Result<(), E> {
        for apps in pages(|skip| self.live.apps(skip, PAGE)) {
            write(&lines(apps.iter().map(|app| app_row(app, self.at)))?)?;
            for app in &apps {
                let installations =
                    |skip| self.live.installations_of_app(&app.client_id, skip, PAGE, self.at);
                for page in pages(installations) {
                    write(&lines(page.iter().map(installation_row))?)?;
                }
            }
        }
        for keys in pages(|skip| self.live.operator_keys(skip, PAGE)) {
            write(&lines(keys.iter().map(|key| key_row(key)))?)?;
        }
        Ok(())
    }
}

/// Page after page until there is nothing more.
pub(super) fn pages<T>(page: impl Fn(usize) -> Vec<T>) -> impl Iterator<Item = Vec<T>> {
    let mut skip = 0;
    std::iter::from_fn(move || {
        let found = page(skip);
        skip += found.len();
        (!found.is_empty()).then_some(found)
    })
}

fn lines<'a>(rows: impl Iterator<Item = Row<'a>>) -> Result<String, serde_json::Error> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&serde_json::to_string(&row)?);
        text.push('\n');
    }
    Ok(text)
}

fn app_row(app: &App, at: Timestamp) -> Row<'_> {
    let (status, reason) = match &app.status {
        AppStatus::Active => ("active", None),
        AppStatus::Suspended { reason } => ("suspended", Some(reason.as_str())),
        AppStatus::Deleted { reason } => ("deleted", Some(reason.as_str())),
        AppStatus::Quarantined { reason } => ("quarantined", Some(reason.as_str())),
    };
    Row::App {
        client_id: &app.client_id,
        name: &app.name,
        owner: &app.owner,
        status,
        reason,
        redirect_uris: &app.redirect_uris,
        scopes: &app.scopes,
        confidential: app.confidential,
        secrets: app.live_secrets(at).map(|secret| &secret.secret_id).collect(),
        registered_at: app.registered_at,
        changed_at: app.changed_at,
    }
}

fn installation_row(facts: &InstallationFacts) -> Row<'_> {
    Row::Installation {
        installation_id: facts.installation_id,
        client_id: facts.client_id,
        account_id: &facts.account_id,
        installed: facts.is_installed(),
        installed_since: facts.installed_since,
        ended_at: facts.ended_at,
        first_granted_at: facts.first_granted_at,
        epoch: facts.epoch,
        tokens: facts.tokens.iter().map(TokenThen::from).collect(),
        dormant: facts.dormant.iter().map(TokenThen::from).collect(),
        quarantined: facts.quarantined.as_ref().map(|poison| poison.reason.as_str()),
    }
}

fn key_row(key: &OperatorKey) -> Row<'_> {
    Row::OperatorKey {
        key_id: &key.key_id,
        name: &key.name,
        role: key.role,
        created_at: key.created_at,
        retired_at: key.retired_at,
    }
}
