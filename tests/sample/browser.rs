//! A browser: cookies, redirects, links and forms. Cookies belong to a host and not to a port, as in every
//! browser.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use ureq::http::{HeaderMap, Request};
use url::{Url, form_urlencoded};

use crate::html::{self, HtmlForm};

/// Nothing here may take longer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Redirects in a row, before it is a loop.
const MAX_REDIRECTS: usize = 10;

/// A browser on this machine.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: RefCell<BTreeMap<String, String>>,
}

/// What a browser shows.
#[derive(Debug)]
pub struct Page {
    /// Where it is, after redirects.
    pub url: Url,
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Browser {
    /// Opens a page and follows its redirects.
    #[track_caller]
    pub fn open(&self, url: &str) -> Page {
        self.to_the_end(self.send("GET", &url.parse().unwrap(), None, None))
    }

    /// Asks for a page under another name.
    #[track_caller]
    pub fn get_as(&self, host: &str, url: &str) -> Page {
        self.send("GET", &url.parse().unwrap(), Some(host), None)
    }

    /// Posts a form and follows the redirects of the answer.
    #[track_caller]
    pub fn post(&self, url: Url, fields: &[(&str, &str)]) -> Page {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.to_the_end(self.send("POST", &url, None, Some(&body)))
    }

    #[track_caller]
    fn to_the_end(&self, mut page: Page) -> Page {
        for _ in 0..MAX_REDIRECTS {
            if page.status != 303 {
                return page;
            }
            let next = page.url.join(page.header("location")).unwrap();
            page = self.send("GET", &next, None, None);
        }
        panic!("too many redirects: {page:?}")
    }

    #[track_caller]
    fn send(&self, method: &str, url: &Url, host: Option<&str>, body: Option<&str>) -> Page {
        let config = ureq::Agent::config_builder()
            .max_redirects(0)
            .http_status_as_error(false)
            .max_idle_connections(0)
            .timeout_global(Some(PATIENCE));
        let mut request = Request::builder().method(method).uri(url.as_str());
        let cookies: Vec<_> =
            self.cookies.borrow().iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let agent = config.build().new_agent();
        let sent = match body {
            Some(form) => {
                let request = request.header("content-type", "application/x-www-form-urlencoded");
                agent.run(request.body(form.to_owned()).unwrap())
            }
            None => agent.run(request.body(()).unwrap()),
        };
        let (parts, mut body) = sent.unwrap_or_else(|error| panic!("{method} {url}: {error}")).into_parts();
        self.remember(&parts.headers);
        let body = body.read_to_string().unwrap();
        Page { url: url.clone(), status: parts.status.as_u16(), headers: parts.headers, body }
    }

    fn remember(&self, headers: &HeaderMap) {
        for set in headers.get_all("set-cookie") {
            let (pair, _) = set.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            self.cookies.borrow_mut().insert(name.to_owned(), value.to_owned());
        }
    }
}

impl Page {
    /// The page, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A header's value; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The first form that leads there.
    #[track_caller]
    pub fn form(&self, action: &str) -> HtmlForm {
        let found = html::forms(&self.body).into_iter().find(|form| form.action == action);
        found.unwrap_or_else(|| panic!("no form to {action}: {self:?}"))
    }

    /// Follows a link of the page.
    #[track_caller]
    pub fn follow(&self, browser: &Browser, link: &str) -> Page {
        assert!(self.body.contains(&format!("href=\"{link}\"")), "no link to {link}: {self:?}");
        browser.open(self.url.join(link).unwrap().as_str())
    }

    /// Sends a form of the page: its hidden fields, and what the person adds or presses.
    #[track_caller]
    pub fn submit(&self, browser: &Browser, action: &str, added: &[(&str, &str)]) -> Page {
        let form = self.form(action);
        assert_eq!(form.method, "post");
        let hidden = form.hidden.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<_> = hidden.chain(added.iter().copied()).collect();
        browser.post(self.url.join(&form.action).unwrap(), &fields)
    }
}
