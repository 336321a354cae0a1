//! The pages of the sample app. Knows: words and markup. Must not know: where the values come from.

use askama::Template;

/// What the app is, and what it is installed on.
#[derive(Debug, Template)]
#[template(path = "sample-home.html", config = ".askama.toml")]
pub(super) struct HomePage {
    pub app_name: &'static str,
    pub client_id: String,
    pub grantbook: String,
    pub tokens: Vec<HomeLine>,
}

/// A token that the app was given.
#[derive(Debug)]
pub(super) struct HomeLine {
    pub token_id: String,
    pub user: String,
    pub account: String,
}

/// One token, and all that is known about it.
#[derive(Debug, Template)]
#[template(path = "sample-installed.html", config = ".askama.toml")]
pub(super) struct InstalledPage {
    pub app_name: &'static str,
    pub token_id: String,
    pub user: String,
    pub account: String,
    /// Whether the app is installed on the account.
    pub installed: bool,
    /// Whether this token is valid.
    pub active: bool,
    /// The token reply, as JSON.
    pub reply: String,
    /// The introspection, as JSON.
    pub introspection: String,
    /// The installation as operators see it, as JSON.
    pub installation: String,
    /// Oldest first.
    pub events: Vec<EventLine>,
    /// Proof that the forms are for this browser.
    pub csrf: String,
    pub grantbook: String,
}

/// An event of the installation.
#[derive(Debug)]
pub(super) struct EventLine {
    pub recorded_at: String,
    pub type_name: String,
    pub actor: String,
    /// All of it, as JSON.
    pub json: String,
}

/// What went wrong.
#[derive(Debug, Template)]
#[template(path = "sample-error.html", config = ".askama.toml")]
pub(super) struct SampleErrorPage {
    pub title: &'static str,
    pub sentence: String,
    /// What grantbook said, word for word.
    pub said: Option<String>,
}
