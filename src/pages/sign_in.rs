//! Pages around signing in. Knows: forms. Must not know: who may sign in.

use askama::Template;

use super::filters;

/// Asks a developer who to be. Posts `csrf`, `continue` and either `person` or `user` and `account` to
/// `/sign-in/dev`.
#[derive(Debug, Clone, Template)]
#[template(path = "dev-sign-in.html", config = ".askama.toml")]
pub struct DevSignInPage {
    /// The people to choose from.
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
    /// Shown.
    pub name: String,
    /// Posted, and shown.
    pub user: String,
    /// Shown.
    pub account: String,
}

/// Says that nobody is signed in any more.
#[derive(Debug, Clone, Template)]
#[template(path = "signed-out.html", config = ".askama.toml")]
pub struct SignedOutPage {
    /// Where to sign in again.
    pub sign_in_href: String,
    /// Where to sign in as somebody else.
    pub another_href: String,
}

/// Asks whether to sign out. Posts `csrf` to `/sign-out`.
#[derive(Debug, Clone, Template)]
#[template(path = "sign-out.html", config = ".askama.toml")]
pub struct SignOutPage {
    /// Who is signed in.
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
