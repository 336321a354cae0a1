//! The page that asks for approval. Knows: what a person must read before they answer. Must not know:
//! what the answer does.

use askama::Template;
use grantbook_events::Timestamp;
use url::Url;

use super::{filters, when};

/// Asks whether an app may act on an account. Posts `ticket` and `decision`, `approve` or `deny`, to
/// `/oauth/authorize`.
#[derive(Debug, Clone, Template)]
#[template(path = "consent.html", config = ".askama.toml")]
pub struct ConsentPage {
    /// The app's name as its maker wrote it.
    pub app_name: String,
    /// Who makes the app.
    pub owner: String,
    /// The app's page; shown as a link if it is http or https.
    pub homepage: Option<String>,
    /// Where the browser goes after the answer: the redirect URI's host, or its scheme.
    pub redirect_host: String,
    /// Who is signed in.
    pub user: String,
    /// The account the app would be installed on.
    pub account: String,
    /// Since when the app is installed there, if it is.
    pub installed_since: Option<Timestamp>,
    /// What the app asks for and may not do there yet.
    pub scopes: Vec<ScopeLine>,
    /// What it asks for and may do there already.
    pub held: Vec<ScopeLine>,
    /// The ticket that carries the request through the form.
    pub ticket: String,
    /// Where to sign in as somebody else.
    pub switch_user_href: Option<String>,
}

/// A scope in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScopeLine {
    /// Its name, such as `widgets`.
    pub name: String,
    /// What it lets an app do, such as "Read and change your widgets."
    pub sentence: String,
}

/// An app's page as a link and its host; none if it is not a web page, so that no `javascript:` or `data:` ever
/// becomes a link.
pub fn web_page(homepage: Option<&str>) -> Option<(String, String)> {
    let url = Url::parse(homepage?).ok()?;
    let web = matches!(url.scheme(), "http" | "https");
    let host = url.host_str()?.to_owned();
    web.then(|| (url.into(), host))
}
