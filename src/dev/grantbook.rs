//! grantbook, as its callers reach it over HTTP. Knows: how requests are sent, and how they fail. Must not know: what
//! the app does with the answers, or pages.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::http::{Response, header::AUTHORIZATION};
use ureq::{Agent, Body};

const TIMEOUT: Duration = Duration::from_secs(10);
const ITEMS_PER_PAGE: usize = 200;
const MAX_PAGES: usize = 50;

/// The status of the reply, if grantbook refused the request, and why the request failed.
#[derive(Debug, thiserror::Error)]
#[error("{1}")]
pub struct CallError(pub(super) Option<u16>, pub(super) String);

pub(super) type Reply<T = Value> = Result<T, CallError>;

/// grantbook, as one caller reaches it. It holds that caller's credentials, so it has no Debug.
pub(super) struct Server {
    agent: Agent,
    /// Without a trailing slash.
    pub url: String,
    /// The `Authorization` header of every request.
    auth: String,
}

/// In each, `what` completes "refused to …".
impl Server {
    pub(super) fn new(url: &str, auth: String) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            // Requests stay on this machine, so they need no proxy.
            .proxy(None)
            // An idle connection would delay a server that is stopping.
            .max_idle_connections(0);
        Self { agent: config.build().into(), url: url.to_owned(), auth }
    }

    pub(super) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(super) fn get(&self, what: &str, path: &str) -> Reply {
        self.reply(what, self.agent.get(self.at(path)).header(AUTHORIZATION, &self.auth).call())
    }

    /// All items of a list, page by page.
    pub(super) fn list(&self, what: &str, path: &str) -> Reply<Vec<Value>> {
        let (mut items, mut cursor) = (Vec::new(), String::new());
        for _ in 0..MAX_PAGES {
            let page = self.get(what, &format!("{path}?limit={ITEMS_PER_PAGE}{cursor}"))?;
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            let Some(next) = page["next_cursor"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        Ok(items)
    }

    /// Posts a form, as all OAuth endpoints need it.
    pub(super) fn post_form(&self, what: &str, path: &str, form: &[(&str, &str)]) -> Reply {
        let request = self.agent.post(self.at(path)).header(AUTHORIZATION, &self.auth);
        self.reply(what, request.send_form(form.iter().copied()))
    }

    pub(super) fn post<T: DeserializeOwned>(&self, what: &str, path: &str, json: Value) -> Reply<T> {
        self.reply(what, self.agent.post(self.at(path)).header(AUTHORIZATION, &self.auth).send_json(json))
    }

    pub(super) fn patch(&self, what: &str, path: &str, json: Value) -> Reply {
        self.reply(what, self.agent.patch(self.at(path)).header(AUTHORIZATION, &self.auth).send_json(json))
    }

    pub(super) fn delete(&self, what: &str, path: &str) -> Reply {
        self.reply(what, self.agent.delete(self.at(path)).header(AUTHORIZATION, &self.auth).call())
    }

    /// What the platform's API does with each token it receives (RFC 7662). A key of role `resource` is enough.
    pub(super) fn introspect(&self, access_token: &str) -> Reply {
        self.post_form("introspect the token", "/oauth/introspect", &[("token", access_token)])
    }

    /// The JSON of a reply, null if it is empty.
    fn reply<T: DeserializeOwned>(&self, what: &str, sent: Result<Response<Body>, ureq::Error>) -> Reply<T> {
        let (status, body) = sent
            .and_then(|mut reply| Ok((reply.status().as_u16(), reply.body_mut().read_to_string()?)))
            .map_err(|error| {
                CallError(None, format!("grantbook cannot be reached at {}: {error}", self.url))
            })?;
        if !(200..300).contains(&status) {
            return Err(CallError(Some(status), format!("grantbook refused to {what} ({status}): {body}")));
        }
        let json = if body.is_empty() { "null" } else { &body };
        serde_json::from_str(json).map_err(|error| {
            CallError(None, format!("grantbook's answer to \"{what}\" is not understood: {error}"))
        })
    }
}
