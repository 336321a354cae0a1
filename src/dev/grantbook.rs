//! grantbook, as its callers reach it over HTTP. Knows: how requests are sent and fail, and what the operator and the
//! platform's API ask. Must not know: what the app does with the answers, or pages.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::Response;
use ureq::typestate::WithBody;
use ureq::{Agent, Body, RequestBuilder};

pub(super) const NAME: &str = "Sample App";
const OWNER: &str = "grantbook";
/// The redirect URI as it is registered: the port of a loopback address may differ (RFC 8252 section 7.3).
const REGISTERED_CALLBACK: &str = "http://127.0.0.1/callback";
const TIMEOUT: Duration = Duration::from_secs(10);
const EVENTS_PER_PAGE: usize = 200;
const MAX_EVENT_PAGES: usize = 50;

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    #[error("grantbook cannot be reached at {url}: {source}")]
    Unreachable { url: String, source: Box<ureq::Error> },
    #[error("grantbook refused to {what} ({status}): {body}")]
    Refused { what: &'static str, status: u16, body: String },
    #[error("grantbook's answer to \"{what}\" is not understood: {source}")]
    NotUnderstood { what: &'static str, source: serde_json::Error },
}

/// What registration gave. It holds a secret, so it has no Debug.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub client_id: String,
    pub client_secret: String,
}

impl Credentials {
    /// Client authentication by HTTP Basic (RFC 6749 section 2.3.1). grantbook's ids and secrets are the same
    /// before and after form-encoding.
    pub(super) fn basic(&self) -> String {
        format!("Basic {}", STANDARD.encode(format!("{}:{}", self.client_id, self.client_secret)))
    }
}

/// grantbook, as one caller reaches it. It holds that caller's credentials, so it has no Debug.
pub(super) struct Server {
    agent: Agent,
    /// Without a trailing slash.
    pub url: String,
    /// The `Authorization` header.
    authorization: String,
}

/// In each, `what` completes "refused to …".
impl Server {
    pub(super) fn new(url: &str, authorization: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            // Requests stay on this machine, so they need no proxy.
            .proxy(None)
            // An idle connection would delay a server that is stopping.
            .max_idle_connections(0);
        Self { agent: config.build().into(), url: url.to_owned(), authorization }
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn get(&self, what: &'static str, path: &str) -> Result<Value, CallError> {
        let request = self.agent.get(self.at(path)).header("authorization", &self.authorization);
        self.reply(what, request.call())
    }

    fn post(&self, path: &str) -> RequestBuilder<WithBody> {
        self.agent.post(self.at(path)).header("authorization", &self.authorization)
    }

    pub(super) fn post_form<T: DeserializeOwned, const N: usize>(
        &self,
        what: &'static str,
        path: &str,
        form: [(&str, &str); N],
    ) -> Result<T, CallError> {
        self.reply(what, self.post(path).send_form(form))
    }

    /// The JSON of a reply, null if it is empty; or why the request failed.
    fn reply<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, CallError> {
        let unreachable = |source| CallError::Unreachable { url: self.url.clone(), source: Box::new(source) };
        let mut response = sent.map_err(unreachable)?;
        let body = response.body_mut().read_to_string().map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(CallError::Refused { what, status: response.status().as_u16(), body });
        }
        let json = if body.is_empty() { "null" } else { &body };
        serde_json::from_str(json).map_err(|source| CallError::NotUnderstood { what, source })
    }
}

/// What the operator of grantbook and the platform's API ask, with an operator key of role `admin`.
pub(super) struct Operator(pub Server);

impl Operator {
    pub(super) fn has_apps(&self) -> Result<bool, CallError> {
        let page = self.0.get("list apps", "/apps?limit=1")?;
        Ok(page["items"].as_array().is_some_and(|apps| !apps.is_empty()))
    }

    pub(super) fn app(&self, client_id: &str) -> Result<Value, CallError> {
        self.0.get("read the app", &format!("/apps/{client_id}"))
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
        let request = self.0.agent.patch(self.0.at(&format!("/apps/{client_id}")));
        let request = request.header("authorization", &self.0.authorization);
        let IgnoredAny = self.0.reply("change the app", request.send_json(json!({ "scopes": scopes })))?;
        Ok(())
    }

    /// What the platform's API does with each token it receives (RFC 7662). A key of role `resource` is enough.
    pub(super) fn introspect(&self, access_token: &str) -> Result<Value, CallError> {
        self.0.post_form("introspect the token", "/oauth/introspect", [("token", access_token)])
    }

    pub(super) fn installation(&self, installation_id: &str) -> Result<Value, CallError> {
        self.0.get("read the installation", &format!("/installations/{installation_id}"))
    }

    /// The events of an installation, oldest first.
    pub(super) fn events(&self, installation_id: &str) -> Result<Vec<Value>, CallError> {
        let first = format!("/installations/{installation_id}/events?limit={EVENTS_PER_PAGE}");
        let (mut events, mut path) = (Vec::new(), first.clone());
        for _ in 0..MAX_EVENT_PAGES {
            let mut page = self.0.get("read the events", &path)?;
            if let Some(items) = page["items"].as_array_mut() {
                events.append(items);
            }
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("{first}&cursor={cursor}");
        }
        Ok(events)
    }

    pub(super) fn uninstall(&self, installation_id: &str) -> Result<(), CallError> {
        let request = self.0.agent.delete(self.0.at(&format!("/installations/{installation_id}")));
        let request = request.header("authorization", &self.0.authorization);
        let IgnoredAny = self.0.reply("uninstall the app", request.call())?;
        Ok(())
    }
}
