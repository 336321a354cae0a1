//! Requests to grantbook. Knows: how they are sent, and how they fail. Must not know: what is asked for.

use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::Response;
use ureq::typestate::{WithBody, WithoutBody};
use ureq::{Agent, Body, RequestBuilder};

const TIMEOUT: Duration = Duration::from_secs(10);

/// grantbook, as one caller reaches it. It holds that caller's credentials, so it has no Debug.
pub(super) struct Server {
    agent: Agent,
    /// Without a trailing slash.
    pub url: String,
    /// The `Authorization` header.
    authorization: String,
}

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

    pub(super) fn get(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.agent.get(self.at(path)).header("authorization", &self.authorization)
    }

    pub(super) fn delete(&self, path: &str) -> RequestBuilder<WithoutBody> {
        self.agent.delete(self.at(path)).header("authorization", &self.authorization)
    }

    pub(super) fn post(&self, path: &str) -> RequestBuilder<WithBody> {
        self.agent.post(self.at(path)).header("authorization", &self.authorization)
    }

    pub(super) fn patch(&self, path: &str) -> RequestBuilder<WithBody> {
        self.agent.patch(self.at(path)).header("authorization", &self.authorization)
    }

    /// The JSON of a reply, null if it is empty; or why the request failed. `what` completes "refused to …".
    pub(super) fn reply<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<T, CallError> {
        let unreachable = |source| CallError::Unreachable { url: self.url.clone(), source: Box::new(source) };
        let mut response = sent.map_err(unreachable)?;
        let text = response.body_mut().read_to_string().map_err(unreachable)?;
        let status = response.status();
        if !status.is_success() {
            return Err(CallError::Refused { what, status: status.as_u16(), body: text });
        }
        let json = if text.is_empty() { "null" } else { &text };
        serde_json::from_str(json).map_err(|source| CallError::NotUnderstood { what, source })
    }
}
