//! HTML that people see. Knows: words, markup, and the headers that protect a page. Must not know: stores,
//! rules, sessions, or where the values come from.
//!
//! Each page is a struct of plain values with a template beside it; every value is escaped where it is
//! written, and none is trusted: app and owner names come from strangers. Pages work without JavaScript
//! and load nothing but one stylesheet and one icon, so that the content security policy can forbid all else.

mod headers;
mod prefix;
#[cfg(test)]
mod tests;
mod views;

pub use askama::Template;
pub use headers::{Forms, security_headers};
pub use prefix::{Prefix, filters};
pub use views::*;

/// Where the stylesheet is served from.
pub const STYLESHEET_PATH: &str = "/assets/grantbook.css";
/// Where the icon is served from.
pub const ICON_PATH: &str = "/assets/grantbook.svg";
/// The icon of every page; `image/svg+xml`.
pub const ICON: &str = include_str!("grantbook.svg");
/// The stylesheet of every page; `text/css`.
pub const STYLESHEET: &str = include_str!("grantbook.css");
