//! What each page shows: a struct of plain values for each template. Knows: what a person must read before they answer,
//! and which fields a form posts. Must not know: what an answer does, or who may do what.

use askama::Template;
use grantbook_events::Timestamp;
use url::Url;

use super::filters;

/// Asks whether an app may act on an account. Posts `ticket` and `decision`, `approve` or `deny`, to
/// `/oauth/authorize`.
#[derive(Debug, Clone, Template)]
#[template(path = "consent.html", config = ".askama.toml")]
pub struct ConsentPage {
    /// The app's name as its maker wrote it.
    pub app_name: String,
    pub owner: String,
    /// The app's page; shown as a link if it is http or https.
    pub homepage: Option<String>,
    /// Where the browser goes after the answer: the redirect URI's host, or its scheme.
    pub redirect_host: String,
    /// Whose app it is, if no operator registered it: the host of its metadata document, else where its codes go.
    pub app_host: String,
    /// The host of this server, if no operator of it registered the app.
    pub unverified_by: Option<String>,
    pub user: String,
    /// The account the app would be installed on.
    pub account: String,
    /// Since when the app is installed there, if it is.
    pub installed_since: Option<Timestamp>,
    /// What the app asks for and does not have from this person.
    pub scopes: Vec<ScopeLine>,
    /// What it has from this person already, and is granted with that.
    pub held: Vec<ScopeLine>,
    /// The APIs it may do all this with, by their URIs; none for all of them.
    pub resources: Vec<String>,
    /// The ticket that carries the request through the form.
    pub ticket: String,
    /// Where to sign in as another person.
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

/// Shows the apps installed on an account. Posts `csrf` to `/account/apps/{installation_id}/uninstall`
/// and `/account/tokens/{token_id}/revoke`.
#[derive(Debug, Clone, Template)]
#[template(path = "account-apps.html", config = ".askama.toml")]
pub struct AccountAppsPage {
    pub user: String,
    pub account: String,
    pub apps: Vec<AccountApp>,
    /// Whether the person who reads this may uninstall them.
    pub may_uninstall: bool,
    /// Proof that this server made the forms.
    pub csrf: String,
    /// What the last form did, such as "Example was uninstalled from acme."
    pub notice: Option<String>,
}

/// One installed app.
#[derive(Debug, Clone)]
pub struct AccountApp {
    /// Names the installation in the form's path.
    pub installation_id: String,
    pub app_name: String,
    pub owner: String,
    /// Whether an operator registered it, and so knows whose it is.
    pub verified: bool,
    pub scopes: Vec<ScopeLine>,
    /// Since when; none while it is stopped.
    pub installed_since: Option<Timestamp>,
    /// Why it can do nothing for now, such as "suspended by the operator of this server"; none if it can.
    pub stopped: Option<&'static str>,
    /// By which approvals.
    pub approvals: Vec<ApprovalLine>,
}

/// One approval with a valid token, or one that is valid again once its app is no longer stopped; never the token itself.
#[derive(Debug, Clone)]
pub struct ApprovalLine {
    /// Names one of its tokens in the form's path.
    pub token_id: String,
    /// Who approved it.
    pub user: String,
    pub approved_at: Timestamp,
    pub scopes: Vec<String>,
    /// Whether the app can renew it, by a refresh token.
    pub renewable: bool,
    /// Until when, or until when it is good if it cannot be renewed; none for no end.
    pub until: Option<Timestamp>,
    /// Whether the person who reads this approved it, and so may revoke it.
    pub mine: bool,
}

/// Asks a developer who to be. Posts `csrf`, `continue` and either `person` or `user` and `account` to
/// `/sign-in/dev`.
#[derive(Debug, Clone, Template)]
#[template(path = "dev-sign-in.html", config = ".askama.toml")]
pub struct DevSignInPage {
    pub people: Vec<DevPersonLine>,
    /// What was wrong with the last answer.
    pub error: Option<String>,
    /// Where to go afterwards, as it came in the parameter `continue`.
    pub continue_query: String,
    /// Proof that this server made the form.
    pub csrf: String,
}

/// One person to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DevPersonLine {
    pub name: String,
    pub user: String,
    pub account: String,
}

/// Says that the person is signed out.
#[derive(Debug, Clone, Template)]
#[template(path = "signed-out.html", config = ".askama.toml")]
pub struct SignedOutPage {
    /// Where to sign in again.
    pub sign_in_href: String,
    /// Where to sign in as another person.
    pub another_href: String,
}

/// Asks whether to sign out. Posts `csrf` to `/sign-out`.
#[derive(Debug, Clone, Template)]
#[template(path = "sign-out.html", config = ".askama.toml")]
pub struct SignOutPage {
    pub user: String,
    /// Proof that this server made the form.
    pub csrf: String,
}

/// Says that no way of signing in is configured, and how to configure one.
#[derive(Debug, Clone, Template)]
#[template(path = "sign-in-unavailable.html", config = ".askama.toml")]
pub struct SignInUnavailablePage {
    /// To find the request in the log by.
    pub request_id: String,
}

/// Says what this server is, and leads to the page of installed apps.
#[derive(Debug, Clone, Template)]
#[template(path = "home.html", config = ".askama.toml")]
pub struct HomePage {
    pub user: Option<String>,
}

/// A link that leads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOn {
    pub text: String,
    pub href: String,
}

/// Tells a person what went wrong and what they can do. It never leads anywhere by itself.
#[derive(Debug, Clone, Template)]
#[template(path = "error.html", config = ".askama.toml")]
pub struct ErrorPage {
    /// The HTTP status, shown small.
    pub status: u16,
    /// A few words, such as "This link does not work".
    pub title: &'static str,
    /// What went wrong, in one plain sentence.
    pub sentence: String,
    /// What the person, or the maker of the link, can do.
    pub hint: Option<&'static str>,
    /// Where the person can go from here, the likeliest first.
    pub ways_on: Vec<WayOn>,
    /// To find the request in the log by.
    pub request_id: String,
}

/// A point in time in words, such as `2 January 2026, 03:04 UTC`.
pub fn in_words(time: &Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.as_micros()) {
        Ok(time) => time.strftime("%-d %B %Y, %H:%M UTC").to_string(),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_a_person_would_write_it() {
        assert_eq!(in_words(&Timestamp::from_micros(1_767_323_045_000_006)), "2 January 2026, 03:04 UTC");
        assert_eq!(in_words(&Timestamp::from_micros(i64::MAX)), format!("{}us", i64::MAX));
    }
}
