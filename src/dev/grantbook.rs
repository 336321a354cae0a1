//! grantbook as an app and its operator see it: HTTP and nothing else. Knows: the requests and where each
//! goes. Must not know: pages, or anything inside grantbook.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use ureq::http::Response;
use ureq::{Agent, Body};

use super::kept::{Credentials, Hidden};
use crate::secrets::PlainSecret;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Events asked for at once.
const EVENTS_PER_PAGE: &str = "200";
/// The most pages of events that are read: 10 000 events.
const MAX_EVENT_PAGES: usize = 50;

/// grantbook at the other end of a loopback connection.
#[derive(Debug)]
pub(super) struct Grantbook {
    agent: Agent,
    /// Where it listens, without a trailing slash.
    url: String,
    key: PlainSecret,
}

/// Why a request brought no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody answered.
    #[error("grantbook cannot be reached at {url}: {source}")]
    Unreachable {
        /// Where it should be.
        url: String,
        /// What happened instead.
        source: Box<ureq::Error>,
    },
    /// The answer is no.
    #[error("grantbook refused to {what} ({status}): {reason}")]
    Refused {
        /// What was asked for.
        what: &'static str,
        /// The HTTP status.
        status: u16,
        /// What grantbook said.
        reason: String,
    },
    /// The answer is none that was expected.
    #[error("grantbook's answer to \"{what}\" is not understood: {source}")]
    NotUnderstood {
        /// What was asked for.
        what: &'static str,
        /// Where it stops making sense.
        source: serde_json::Error,
    },
}

impl CallError {
    /// Whether grantbook says that there is no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }
}

/// A token, as it was handed over.
#[derive(Debug, Deserialize)]
pub(super) struct TokenReply {
    pub access_token: Hidden,
    #[serde(flatten)]
    pub rest: Map<String, Value>,
}

/// An app, as far as the sample app cares.
#[derive(Debug, Deserialize)]
pub(super) struct KnownApp {
    scopes: Vec<String>,
    status: KnownStatus,
}

#[derive(Debug, Deserialize)]
struct KnownStatus {
    state: String,
}

impl KnownApp {
    /// `active`, `suspended` or `deleted`.
    pub(super) fn state(&self) -> &str {
        &self.status.state
    }

    pub(super) fn is_active(&self) -> bool {
        self.state() == "active"
    }

    /// Whether it may ask for exactly these scopes.
    pub(super) fn may_ask_for(&self, scopes: &[String]) -> bool {
        self.scopes.len() == scopes.len() && scopes.iter().all(|scope| self.scopes.contains(scope))
    }
}

#[derive(Debug, Deserialize)]
struct Page {
    items: Vec<Value>,
    next_cursor: Option<String>,
}

/// How a caller says who it is.
enum As<'a> {
    /// The operator of grantbook.
    Operator,
    /// The app.
    App(&'a Credentials),
}

impl Grantbook {
    /// grantbook at a URL, with an operator key of role `admin`.
    pub(super) fn new(url: String, key: PlainSecret) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            // Nothing here leaves the machine, so no proxy has a part in it; and no idle connection makes a
            // server wait that wants to stop.
            .proxy(None)
            .max_idle_connections(0);
        Self { agent: config.build().into(), url, key }
    }

    /// `GET /apps`: whether there is any.
    pub(super) fn has_apps(&self) -> Result<bool, CallError> {
        let page: Page = self.get("list apps", "/apps", &[("limit", "1")])?;
        Ok(!page.items.is_empty())
    }

    /// `GET /apps/{client_id}`
    pub(super) fn app(&self, client_id: &str) -> Result<KnownApp, CallError> {
        self.get("read the app", &format!("/apps/{client_id}"), &[])
    }

    /// `POST /apps`
    pub(super) fn register(
        &self,
        redirect_uris: &[&str],
        scopes: &[String],
    ) -> Result<Credentials, CallError> {
        let app = json!({
            "name": super::NAME,
            "owner": super::OWNER,
            "redirect_uris": redirect_uris,
            "scopes": scopes,
        });
        let request = self.agent.post(self.at("/apps")).header("authorization", self.who(&As::Operator));
        self.json("register the app", request.send_json(app))
    }

    /// `PATCH /apps/{client_id}`: what the app may ask for from now on.
    pub(super) fn change_scopes(&self, client_id: &str, scopes: &[String]) -> Result<(), CallError> {
        let request = self.agent.patch(self.at(&format!("/apps/{client_id}")));
        let request = request.header("authorization", self.who(&As::Operator));
        self.done("change the app", request.send_json(json!({ "scopes": scopes })))
    }

    /// `POST /oauth/token` (RFC 6749 section 4.1.3)
    pub(super) fn exchange(
        &self,
        app: &Credentials,
        code: &str,
        redirect_uri: &str,
        verifier: &PlainSecret,
    ) -> Result<TokenReply, CallError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("code_verifier", verifier.expose()),
        ];
        self.json("exchange the code", self.post("/oauth/token", &As::App(app)).send_form(form))
    }

    /// `POST /oauth/introspect` (RFC 7662)
    pub(super) fn introspect(&self, token: &Hidden) -> Result<Map<String, Value>, CallError> {
        let form = [("token", token.expose())];
        self.json("introspect the token", self.post("/oauth/introspect", &As::Operator).send_form(form))
    }

    /// `POST /oauth/revoke` (RFC 7009)
    pub(super) fn revoke(&self, app: &Credentials, token: &Hidden) -> Result<(), CallError> {
        let form = [("token", token.expose())];
        self.done("revoke the token", self.post("/oauth/revoke", &As::App(app)).send_form(form))
    }

    /// `GET /installations/{installation_id}`
    pub(super) fn installation(&self, installation_id: &str) -> Result<Map<String, Value>, CallError> {
        self.get("read the installation", &format!("/installations/{installation_id}"), &[])
    }

    /// `GET /installations/{installation_id}/events`: all of them, oldest first.
    pub(super) fn events(&self, installation_id: &str) -> Result<Vec<Value>, CallError> {
        let path = format!("/installations/{installation_id}/events");
        let (mut events, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MAX_EVENT_PAGES {
            let after = cursor.as_deref().map(|cursor| ("cursor", cursor));
            let query: Vec<_> = [("limit", EVENTS_PER_PAGE)].into_iter().chain(after).collect();
            let page: Page = self.get("read the events", &path, &query)?;
            events.extend(page.items);
            cursor = page.next_cursor;
            if cursor.is_none() {
                break;
            }
        }
        Ok(events)
    }

    /// `DELETE /installations/{installation_id}`
    pub(super) fn uninstall(&self, installation_id: &str) -> Result<(), CallError> {
        let request = self.agent.delete(self.at(&format!("/installations/{installation_id}")));
        self.done("uninstall the app", request.header("authorization", self.who(&As::Operator)).call())
    }

    fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    fn who(&self, caller: &As<'_>) -> String {
        match caller {
            As::Operator => format!("Bearer {}", self.key.expose()),
            // Ids and secrets of grantbook are the same before and after form-encoding.
            As::App(app) => {
                let pair = format!("{}:{}", app.client_id, app.client_secret.expose());
                format!("Basic {}", STANDARD.encode(pair))
            }
        }
    }

    fn post(&self, path: &str, caller: &As<'_>) -> ureq::RequestBuilder<ureq::typestate::WithBody> {
        self.agent.post(self.at(path)).header("authorization", self.who(caller))
    }

    fn get<T: DeserializeOwned>(
        &self,
        what: &'static str,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, CallError> {
        let request = self.agent.get(self.at(path)).header("authorization", self.who(&As::Operator));
        self.json(what, request.query_pairs(query.iter().copied()).call())
    }

    fn json<T: DeserializeOwned>(
        &self,
        what: &'static str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, CallError> {
        let text = self.text(what, answer)?;
        serde_json::from_str(&text).map_err(|source| CallError::NotUnderstood { what, source })
    }

    fn done(&self, what: &'static str, answer: Result<Response<Body>, ureq::Error>) -> Result<(), CallError> {
        self.text(what, answer).map(drop)
    }

    /// The body of an answer that says yes.
    fn text(
        &self,
        what: &'static str,
        answer: Result<Response<Body>, ureq::Error>,
    ) -> Result<String, CallError> {
        let unreachable = |source| CallError::Unreachable { url: self.url.clone(), source: Box::new(source) };
        let mut response = answer.map_err(unreachable)?;
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        let status = response.status();
        if status.is_success() {
            return Ok(text);
        }
        Err(CallError::Refused { what, status: status.as_u16(), reason: reason(&text) })
    }
}

/// What an error says: RFC 6749 section 5.2, or RFC 9457.
fn reason(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let field = |name: &str| body.get(name).and_then(Value::as_str);
    let code = field("error").or(field("code")).unwrap_or("no reason given");
    match field("error_description").or(field("detail")) {
        Some(detail) => format!("{code}: {detail}"),
        None => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_of_error_say_why() {
        assert_eq!(reason(r#"{"error":"invalid_grant","error_description":"no"}"#), "invalid_grant: no");
        assert_eq!(reason(r#"{"code":"not_found","detail":"no such app"}"#), "not_found: no such app");
        assert_eq!(reason("<html>"), "no reason given");
    }

    #[test]
    fn t8_debug_shows_no_secret() {
        let key = PlainSecret::presented("hush");
        assert!(!format!("{:?}", Grantbook::new("http://127.0.0.1:1".into(), key)).contains("hush"));
        let reply: TokenReply = serde_json::from_str(r#"{"access_token":"hush","scope":"faqs"}"#).unwrap();
        assert!(!format!("{reply:?}").contains("hush"));
    }
}
