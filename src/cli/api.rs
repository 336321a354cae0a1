//! A client of the management API. Knows: HTTP, JSON and problems. Must not know: where the server was found,
//! or any rule.

use std::io::Read as _;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{HeaderValue, Method, Request, Response};
use ureq::{Agent, Body, SendBody};
use url::Url;

use super::failure::Failure;
use super::output;
use crate::secrets::PlainSecret;
use crate::server::PERSON_HEADER;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// How long one request may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// Items asked for at once: the most a page has.
const PAGE: &str = "200";

/// Bytes passed on at once.
const PART: usize = 64 * 1024;

/// A query, by name and value.
pub(super) type Query<'a> = &'a [(&'a str, &'a str)];

/// A server, and the key it is asked with.
#[derive(Debug)]
pub(super) struct Api {
    agent: Agent,
    url: Url,
    key: PlainSecret,
    /// The user of the command line, percent-encoded.
    person: Option<String>,
}

#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// The body; an empty object if there was none, or it was no JSON.
    pub(super) body: Value,
}

impl Api {
    /// A server at a plain http URL. Nothing is sent yet.
    pub(super) fn new(url: Url, key: PlainSecret) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The key goes to the server, and to no proxy.
            .proxy(None)
            .timeout_connect(Some(CONNECT_WITHIN))
            // A connection that idles would hold up the server when it stops.
            .max_idle_connections(0)
            .build();
        Self { agent: config.new_agent(), url, key, person: None }
    }

    /// Names the user of the command line, to a server of this machine.
    pub(super) fn by(self, person: Option<String>) -> Self {
        let encoded = person.map(|name| utf8_percent_encode(&name, NON_ALPHANUMERIC).to_string());
        Self { person: encoded, ..self }
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    pub(super) fn get(&self, path: &str, query: Query<'_>) -> Result<Value, Failure> {
        self.done(self.ask(Method::GET, path, query, None))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.done(self.ask(Method::POST, path, &[], Some(body)))
    }

    pub(super) fn patch(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.done(self.ask(Method::PATCH, path, &[], Some(body)))
    }

    pub(super) fn delete(&self, path: &str, query: Query<'_>) -> Result<Value, Failure> {
        self.done(self.ask(Method::DELETE, path, query, None))
    }

    /// All pages of a list, as one.
    pub(super) fn list(&self, path: &str, query: Query<'_>) -> Result<Value, Failure> {
        let mut items = Vec::new();
        self.pages(path, query, |page| items.extend(page))?;
        Ok(json!({ "items": items }))
    }

    /// The items of a list, page by page.
    pub(super) fn pages(
        &self,
        path: &str,
        query: Query<'_>,
        mut each: impl FnMut(Vec<Value>),
    ) -> Result<(), Failure> {
        let mut cursor = None::<String>;
        loop {
            let mut query = query.to_vec();
            query.push(("limit", PAGE));
            query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let mut page = self.get(path, &query)?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                each(more);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }

    /// Asks, and returns whatever the reply is.
    pub(super) fn ask(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Option<&Value>,
    ) -> Result<Reply, Failure> {
        answer(self.send(method, path, query, body, Some(ANSWER_WITHIN))?)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        query: Query<'_>,
        body: Option<&Value>,
        within: Option<Duration>,
    ) -> Result<Response<Body>, Failure> {
        let mut url = self.url.clone();
        url.set_path(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", self.key.expose())).map_err(|_| bad_key())?;
        bearer.set_sensitive(true);
        let request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json, application/problem+json");
        let request = match &self.person {
            Some(person) => request.header(PERSON_HEADER, person),
            None => request,
        };
        let (request, body) = match body {
            None => (request, SendBody::none()),
            Some(body) => (
                request.header(CONTENT_TYPE, "application/json"),
                SendBody::from_json(body).map_err(Failure::of)?,
            ),
        };
        let request = request.body(body).map_err(Failure::of)?;
        let response = self.agent.run(self.agent.configure_request(request).timeout_global(within).build());
        let unreachable =
            |error| Failure::Failed(format!("the server at {} cannot be reached: {error}", self.url()));
        response.map_err(unreachable)
    }

    /// Prints a reply of any length as it arrives, and counts its lines.
    pub(super) fn pass_on(&self, path: &str, query: Query<'_>) -> Result<u64, Failure> {
        let mut response = self.send(Method::GET, path, query, None, None)?;
        if !response.status().is_success() {
            return self.done(answer(response)).map(|_| 0);
        }
        let mut body = response.body_mut().as_reader();
        let (mut part, mut lines) = (vec![0; PART], 0);
        loop {
            match body.read(&mut part) {
                Ok(0) => return Ok(lines),
                Ok(count) => {
                    let part = part.get(..count).unwrap_or_default();
                    lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
                    output::print_bytes(part)?;
                }
                Err(error) => {
                    let why = format!("the answer broke off, so this is not all of it: {error}");
                    return Err(Failure::Failed(why));
                }
            }
        }
    }

    /// The body of a successful reply.
    fn done(&self, answer: Result<Reply, Failure>) -> Result<Value, Failure> {
        let answer = answer?;
        if (200..300).contains(&answer.status) {
            return Ok(answer.body);
        }
        let field = |name: &str| answer.body.get(name).and_then(Value::as_str).map(output::one_line);
        Err(Failure::Failed(match (field("detail"), field("code")) {
            (Some(detail), Some(code)) => format!("{detail} ({code})"),
            _ => format!("{} answered {}: is this a grantbook server?", self.url(), answer.status),
        }))
    }
}

fn answer(mut response: Response<Body>) -> Result<Reply, Failure> {
    let broke = |error| Failure::Failed(format!("the answer broke off: {error}"));
    let text = response.body_mut().read_to_string().map_err(broke)?;
    let body = serde_json::from_str(&text).unwrap_or_else(|_| Value::Object(Map::new()));
    Ok(Reply { status: response.status().as_u16(), body })
}

fn bad_key() -> Failure {
    Failure::Usage("the operator key has characters that no key has; it looks like gbk_…".to_owned())
}
