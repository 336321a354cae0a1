//! Where our own paths begin for a browser. Knows: paths. Must not know: who serves them.

use std::any::Any;
use std::sync::Arc;

use askama::Values;

/// The name of the prefix among the values of a template.
const VALUE: &str = "prefix";

/// The path of the issuer, such as `/auth` for `https://example.com/auth`; empty for most. A browser finds each of
/// our own paths under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix(Arc<str>);

impl Default for Prefix {
    fn default() -> Self {
        Self::new("")
    }
}

impl Prefix {
    /// A path that begins with a slash and does not end with one, or nothing.
    pub fn new(path: &str) -> Self {
        Self(path.into())
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// One of our own paths, as a browser must ask for it. What is no path, an absolute URL, stays as it is.
    pub fn href(&self, path: &str) -> String {
        let is_ours = path.starts_with('/') && !path.starts_with("//");
        format!("{}{path}", if is_ours { self.as_str() } else { "" })
    }
}

/// Templates are rendered with it, for the filter [`ours`](filters::ours) to find.
impl Values for Prefix {
    fn get_value<'a>(&'a self, key: &str) -> Option<&'a dyn Any> {
        (key == VALUE).then_some(self)
    }
}

/// What templates call.
pub mod filters {
    use std::fmt::Display;

    use askama::{Result, Values, get_value};

    use super::{Prefix, VALUE};

    /// One of our own paths, as a browser must ask for it: every link, form and stylesheet of ours is written so.
    #[askama::filter_fn]
    pub fn ours(path: impl Display, values: &dyn Values) -> Result<String> {
        let prefix = get_value::<Prefix>(values, VALUE);
        Ok(prefix.map_or_else(|_| path.to_string(), |prefix| prefix.href(&path.to_string())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_paths_get_the_prefix_and_nothing_else_does() {
        let prefix = Prefix::new("/auth");
        for (path, href) in [
            ("/sign-in?continue=a", "/auth/sign-in?continue=a"),
            ("/", "/auth/"),
            ("https://app.example/cb", "https://app.example/cb"),
            ("com.example.app:/cb", "com.example.app:/cb"),
            ("//evil.example/", "//evil.example/"),
            ("", ""),
        ] {
            assert_eq!(prefix.href(path), href);
            assert_eq!(Prefix::default().href(path), path);
        }
    }

    /// A template that writes one of our paths in another way leaves the prefix.
    #[test]
    fn every_template_writes_our_own_paths_with_the_filter() {
        let templates = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/pages/templates");
        for template in std::fs::read_dir(templates).unwrap().map(|entry| entry.unwrap().path()) {
            let text = std::fs::read_to_string(&template).unwrap();
            let links =
                ["href=\"", "action=\"", "src=\""].into_iter().flat_map(|name| text.split(name).skip(1));
            for link in links {
                // The homepage of an app is of another server.
                let tag = link.split('>').next().unwrap_or_default();
                let is_ours = tag.split("}}").next().is_some_and(|first| first.contains("|ours"));
                assert!(is_ours || tag.contains("target=\"_blank\""), "{}: {tag}", template.display());
            }
        }
    }
}
