//! The page for what went wrong. Knows: words. Must not know: what went wrong inside.

use askama::Template;

use super::filters;

/// A link that leads on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WayOn {
    /// What it says.
    pub text: String,
    /// Where it leads.
    pub href: String,
}

/// Tells a person what went wrong and what they can do. It never leads anywhere by itself.
#[derive(Debug, Clone, Template)]
#[template(path = "error.html", config = ".askama.toml")]
pub struct ErrorPage {
    /// The HTTP status, shown small.
    pub status: u16,
    /// A few words, such as "This link does not work".
    pub title: String,
    /// What went wrong, in one plain sentence.
    pub sentence: String,
    /// What the person, or whoever made the link, can do.
    pub hint: Option<String>,
    /// Where the person can go from here, the likeliest first.
    pub ways_on: Vec<WayOn>,
    /// To find the request in the log by.
    pub request_id: String,
}
