//! What the operator of grantbook and the platform's API ask. Knows: the management API and introspection.
//! Must not know: how the app authenticates, or pages.

use serde_json::{Value, json};

use super::calls::{CallError, Server};
use super::client::Credentials;

pub(super) const NAME: &str = "Sample App";
const OWNER: &str = "grantbook";
/// The redirect URI as it is registered: the port of a loopback address may differ (RFC 8252 section 7.3).
const REGISTERED_CALLBACK: &str = "http://127.0.0.1/callback";
const EVENTS_PER_PAGE: usize = 200;
const MAX_EVENT_PAGES: usize = 50;

/// Holds an operator key of role `admin`.
pub(super) struct Operator(pub Server);

impl Operator {
    pub(super) fn has_apps(&self) -> Result<bool, CallError> {
        let page = self.get("list apps", "/apps?limit=1")?;
        Ok(page["items"].as_array().is_some_and(|apps| !apps.is_empty()))
    }

    pub(super) fn app(&self, client_id: &str) -> Result<Value, CallError> {
        self.get("read the app", &format!("/apps/{client_id}"))
    }

    /// The reply holds the client secret. grantbook shows it only this once and keeps a digest.
    pub(super) fn register(&self, scopes: &[String]) -> Result<Credentials, CallError> {
        let app = json!({
            "name": NAME,
            "owner": OWNER,
            "redirect_uris": [REGISTERED_CALLBACK],
            "scopes": scopes,
        });
        self.0.reply("register the app", self.0.post("/apps").send_json(app))
    }

    pub(super) fn change_scopes(&self, client_id: &str, scopes: &[String]) -> Result<(), CallError> {
        let request = self.0.patch(&format!("/apps/{client_id}"));
        self.0.reply("change the app", request.send_json(json!({ "scopes": scopes }))).map(|_: Value| ())
    }

    /// What the platform's API does with each token it receives (RFC 7662). A key of role `resource` is enough.
    pub(super) fn introspect(&self, access_token: &str) -> Result<Value, CallError> {
        let request = self.0.post("/oauth/introspect");
        self.0.reply("introspect the token", request.send_form([("token", access_token)]))
    }

    pub(super) fn installation(&self, installation_id: &str) -> Result<Value, CallError> {
        self.get("read the installation", &format!("/installations/{installation_id}"))
    }

    /// The events of an installation, oldest first.
    pub(super) fn events(&self, installation_id: &str) -> Result<Vec<Value>, CallError> {
        let first = format!("/installations/{installation_id}/events?limit={EVENTS_PER_PAGE}");
        let (mut events, mut path) = (Vec::new(), first.clone());
        for _ in 0..MAX_EVENT_PAGES {
            let mut page = self.get("read the events", &path)?;
            if let Some(items) = page.get_mut("items").and_then(Value::as_array_mut) {
                events.append(items);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("{first}&cursor={cursor}");
        }
        Ok(events)
    }

    pub(super) fn uninstall(&self, installation_id: &str) -> Result<(), CallError> {
        let request = self.0.delete(&format!("/installations/{installation_id}"));
        self.0.reply("uninstall the app", request.call()).map(|_: Value| ())
    }

    fn get(&self, what: &'static str, path: &str) -> Result<Value, CallError> {
        self.0.reply(what, self.0.get(path).call())
    }
}
