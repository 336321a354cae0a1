//! HTTP as callers speak it: an app, a resource server, a person's browser.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;
use ureq::http::{HeaderMap, Request};
use url::form_urlencoded;

use crate::html::{self, HtmlForm};

/// Nothing a story waits for may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Names and values of a form or a query.
pub type Pairs<'a> = &'a [(&'a str, &'a str)];

/// What came back.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

/// A caller without cookies. It follows no redirect and keeps no connection.
#[derive(Debug, Clone)]
pub struct Http {
    agent: ureq::Agent,
    base: String,
}

/// A caller with cookies.
#[derive(Debug)]
pub struct Browser {
    http: Http,
    cookies: RefCell<BTreeMap<String, String>>,
}

/// Spells names and values as a form or a query.
pub fn encode(pairs: Pairs<'_>) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

impl Reply {
    /// The reply, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// The text of a member of the JSON body.
    #[track_caller]
    pub fn text(&self, member: &str) -> String {
        self.json()[member].as_str().unwrap_or_else(|| panic!("no {member}: {self:?}")).to_owned()
    }

    /// The error code of an OAuth endpoint's reply, with its status.
    #[track_caller]
    pub fn error(&self) -> (u16, String) {
        (self.status, self.text("error"))
    }

    pub fn location(&self) -> &str {
        self.header("location")
    }

    /// A parameter of the query that a redirect leads to.
    pub fn param(&self, name: &str) -> Option<String> {
        let query = self.location().split_once('?').map_or("", |(_, query)| query);
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }

    /// The first form of the page that leads here.
    #[track_caller]
    pub fn form(&self, action: &str) -> HtmlForm {
        let found = html::forms(&self.body).into_iter().find(|form| form.action == action);
        found.unwrap_or_else(|| panic!("no form to {action}: {self:?}"))
    }
}

impl Http {
    pub fn new(base: &str) -> Self {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .max_idle_connections(0)
            // A `state` of 16 KiB may grow to three times that.
            .max_response_header_size(256 * 1024)
            .timeout_global(Some(PATIENCE))
            .build();
        Self { agent: config.new_agent(), base: base.to_owned() }
    }

    /// Where the server is.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Sends a request to a path of this server and says if there was a reply.
    pub fn try_send(
        &self,
        method: &str,
        path: &str,
        headers: Pairs<'_>,
        body: Option<&[u8]>,
    ) -> Result<Reply, ureq::Error> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = match body {
            Some(body) => self.agent.run(request.body(body)?),
            None => self.agent.run(request.body(())?),
        };
        let (parts, mut body) = response?.into_parts();
        Ok(Reply { status: parts.status.as_u16(), headers: parts.headers, body: body.read_to_string()? })
    }

    #[track_caller]
    pub fn send(&self, method: &str, path: &str, headers: Pairs<'_>, body: Option<&[u8]>) -> Reply {
        self.try_send(method, path, headers, body).unwrap_or_else(|error| panic!("{method} {path}: {error}"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], None)
    }

    #[track_caller]
    pub fn post(&self, path: &str, form: Pairs<'_>) -> Reply {
        self.post_with(path, &[], form)
    }

    #[track_caller]
    pub fn post_with(&self, path: &str, headers: Pairs<'_>, form: Pairs<'_>) -> Reply {
        self.post_raw(path, headers, &encode(form))
    }

    /// Posts a form that is spelt already.
    #[track_caller]
    pub fn post_raw(&self, path: &str, headers: Pairs<'_>, form: &str) -> Reply {
        let headers = [&[("content-type", "application/x-www-form-urlencoded")], headers].concat();
        self.send("POST", path, &headers, Some(form.as_bytes()))
    }

    /// Opens a connection, for what no HTTP client would send.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.base.trim_start_matches("http://")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes and reads until the server closes.
    pub fn send_bytes(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).unwrap();
        String::from_utf8_lossy(&reply).into_owned()
    }
}

impl Browser {
    pub fn new(http: &Http) -> Self {
        Self { http: http.clone(), cookies: RefCell::default() }
    }

    /// Sends a request with this browser's cookies, and keeps what it is told to keep.
    pub fn try_send(&self, method: &str, path: &str, body: Option<&str>) -> Result<Reply, ureq::Error> {
        let pairs: Vec<String> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookie = pairs.join("; ");
        let mut headers = vec![("accept", "text/html")];
        if !cookie.is_empty() {
            headers.push(("cookie", cookie.as_str()));
        }
        if body.is_some() {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let reply = self.http.try_send(method, path, &headers, body.map(str::as_bytes))?;
        for set in reply.headers.get_all("set-cookie") {
            let (pair, attributes) = set.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.cookies.borrow_mut().remove(name);
            } else {
                self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
            }
        }
        Ok(reply)
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Reply {
        self.try_send("GET", path, None).unwrap_or_else(|error| panic!("GET {path}: {error}"))
    }

    #[track_caller]
    pub fn post(&self, path: &str, form: Pairs<'_>) -> Reply {
        let sent = self.try_send("POST", path, Some(&encode(form)));
        sent.unwrap_or_else(|error| panic!("POST {path}: {error}"))
    }

    /// Sends a form: its hidden fields, and what the person adds.
    #[track_caller]
    pub fn submit(&self, form: &HtmlForm, added: Pairs<'_>) -> Reply {
        assert_eq!(form.method, "post");
        let hidden = form.hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        self.post(&form.action, &hidden.chain(added.iter().copied()).collect::<Vec<_>>())
    }

    /// Signs in with the dev sign-in.
    #[track_caller]
    pub fn sign_in(&self, user: &str, account: &str) {
        let form = self.get("/sign-in").expect(200).form("/sign-in/dev");
        self.submit(&form, &[("user", user), ("account", account)]).expect(303);
    }

    /// The consent form for an authorization request.
    #[track_caller]
    pub fn consent(&self, query: &str) -> HtmlForm {
        self.get(&format!("/oauth/authorize?{query}")).expect(200).form("/oauth/authorize")
    }

    /// Asks for authorization and approves.
    #[track_caller]
    pub fn approve(&self, query: &str) -> Reply {
        self.submit(&self.consent(query), &[("decision", "approve")])
    }

    /// The value of the session cookie.
    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.borrow().clone()
    }

    /// Takes over the cookies of another tab, which asked while this one did.
    pub fn merge(&self, tab: &Self) {
        self.cookies.borrow_mut().extend(tab.cookies());
    }

    /// A browser with the same cookies: what a thief of the cookie has, or a second tab.
    pub fn copy(&self) -> Self {
        self.copy_at(&self.http)
    }

    /// The same browser, led to another node of the same server.
    pub fn copy_at(&self, http: &Http) -> Self {
        Self { http: http.clone(), cookies: RefCell::new(self.cookies()) }
    }
}
