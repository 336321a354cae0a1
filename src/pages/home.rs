//! The first page. Knows: what this server is for. Must not know: who may do what.

use askama::Template;

use super::filters;

/// Says what this server is, and leads to the page of installed apps.
#[derive(Debug, Clone, Template)]
#[template(path = "home.html", config = ".askama.toml")]
pub struct HomePage {
    /// Who is signed in.
    pub user: Option<String>,
}
