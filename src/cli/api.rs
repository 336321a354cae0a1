//! A client of the management API. Knows: HTTP, JSON and problems. Must not know: where the server was found,
//! or any rule.

use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};
use ureq::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use ureq::http::{self, HeaderValue, Method, Response};
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

/// What is asked of a server.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: Method,
    pub(super) path: String,
    query: Vec<(String, String)>,
    body: Option<Value>,
    /// Whether every page of a list is asked for.
    all_pages: bool,
}

impl Request {
    fn new(method: Method, path: impl Into<String>, body: Option<Value>) -> Self {
        Self { method, path: path.into(), query: Vec::new(), body, all_pages: false }
    }

    pub(super) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path, None)
    }

    pub(super) fn all_of(path: impl Into<String>) -> Self {
        Self { all_pages: true, ..Self::get(path) }
    }

    pub(super) fn post(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::POST, path, Some(body))
    }

    pub(super) fn patch(path: impl Into<String>, body: Value) -> Self {
        Self::new(Method::PATCH, path, Some(body))
    }

    pub(super) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path, None)
    }

    pub(super) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|value| (name.to_owned(), value.to_string())));
        self
    }

    /// A query of all fields that are set.
    pub(super) fn fields(self, fields: &impl Serialize) -> Result<Self, Failure> {
        let Value::Object(fields) = serde_json::to_value(fields)? else { return Ok(self) };
        let is_set = |value: &Value| !value.is_null();
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Ok(fields
            .into_iter()
            .fold(self, |request, (name, value)| request.query(&name, Some(value).filter(is_set).map(text))))
    }

    /// What is asked for by name.
    pub(super) fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(asked, _)| asked == name).map(|(_, value)| value.as_str())
    }
}

/// A server, and the key it is asked with.
#[derive(Debug)]
pub(super) struct Api {
    agent: Agent,
    url: Url,
    key: PlainSecret,
    /// The user of the command line, percent-encoded.
    person: Option<String>,
}

/// Its status, and its body; an empty object if there was none, or it was no JSON.
pub(super) type Reply = (u16, Value);

impl Api {
    /// A server at a plain http URL; the person is for one of this machine alone. Nothing is sent yet.
    pub(super) fn new(url: Url, key: PlainSecret, person: Option<String>) -> Self {
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
        let person = person.map(|name| utf8_percent_encode(&name, NON_ALPHANUMERIC).to_string());
        Self { agent: config.new_agent(), url, key, person }
    }

    pub(super) fn url(&self) -> &str {
        self.url.as_str().trim_end_matches('/')
    }

    /// The body of a successful reply.
    pub(super) fn ask(&self, request: &Request) -> Result<Value, Failure> {
        if !request.all_pages {
            return self.successful(self.reply(request)?);
        }
        let mut items = Vec::new();
        self.pages(request, |page| items.extend(page))?;
        Ok(json!({ "items": items }))
    }

    /// The items of a list, page by page.
    pub(super) fn pages(&self, request: &Request, mut each: impl FnMut(Vec<Value>)) -> Result<(), Failure> {
        let mut cursor = None::<String>;
        loop {
            let part = Request { all_pages: false, ..request.clone() };
            let mut page = self.ask(&part.query("limit", Some(PAGE)).query("cursor", cursor))?;
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                each(more);
            }
            match page.get("next_cursor").and_then(Value::as_str) {
                Some(next) => cursor = Some(next.to_owned()),
                None => return Ok(()),
            }
        }
    }

    /// The reply, whatever it is.
    pub(super) fn reply(&self, request: &Request) -> Result<Reply, Failure> {
        read(self.send(request, Some(ANSWER_WITHIN))?)
    }

    fn send(&self, request: &Request, within: Option<Duration>) -> Result<Response<Body>, Failure> {
        let mut url = self.url.clone();
        url.set_path(&request.path);
        if !request.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&request.query);
        }
        let wrong = "the operator key has characters that no key has; it looks like gbk_…";
        let mut bearer = HeaderValue::try_from(format!("Bearer {}", self.key.expose()))
            .map_err(|_| Failure::Usage(wrong.to_owned()))?;
        bearer.set_sensitive(true);
        let mut sent = http::Request::builder()
            .method(&request.method)
            .uri(url.as_str())
            .header(AUTHORIZATION, bearer)
            .header(ACCEPT, "application/json, application/problem+json");
        if let Some(person) = &self.person {
            sent = sent.header(PERSON_HEADER, person);
        }
        let body = match &request.body {
            None => SendBody::none(),
            Some(body) => {
                sent = sent.header(CONTENT_TYPE, "application/json");
                SendBody::from_json(body)?
            }
        };
        let sent = self.agent.configure_request(sent.body(body)?).timeout_global(within).build();
        let unreachable =
            |error| Failure::new(format!("the server at {} cannot be reached: {error}", self.url()));
        self.agent.run(sent).map_err(unreachable)
    }

    /// Prints a reply of any length as it arrives, and counts its lines.
    pub(super) fn pass_on(&self, request: &Request) -> Result<u64, Failure> {
        let mut response = self.send(request, None)?;
        if !response.status().is_success() {
            return self.successful(read(response)?).map(|_| 0);
        }
        let mut body = BufReader::with_capacity(PART, response.body_mut().as_reader());
        let broke = |error| Failure::new(format!("the answer broke off, so this is not all of it: {error}"));
        let mut lines = 0;
        loop {
            let part = body.fill_buf().map_err(broke)?;
            let count = part.len();
            if count == 0 {
                return Ok(lines);
            }
            lines += part.iter().filter(|byte| **byte == b'\n').count() as u64;
            output::print_bytes(part)?;
            body.consume(count);
        }
    }

    fn successful(&self, (status, body): Reply) -> Result<Value, Failure> {
        if (200..300).contains(&status) {
            return Ok(body);
        }
        let field = |name: &str| body[name].as_str().map(output::one_line);
        Err(Failure::new(match (field("detail"), field("code")) {
            (Some(detail), Some(code)) => format!("{detail} ({code})"),
            _ => format!("{} answered {}: is this a grantbook server?", self.url(), status),
        }))
    }
}

fn read(mut response: Response<Body>) -> Result<Reply, Failure> {
    let broke = |error| Failure::new(format!("the answer broke off: {error}"));
    let text = response.body_mut().read_to_string().map_err(broke)?;
    let body = serde_json::from_str(&text).unwrap_or_else(|_| json!({}));
    Ok((response.status().as_u16(), body))
}
