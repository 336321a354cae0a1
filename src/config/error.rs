//! Where a value came from, and how a mistake is reported. Knows: sources. Must not know: what any key
//! means.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    /// Line and column, in characters, count from 1.
    File {
        path: PathBuf,
        line: usize,
        column: usize,
    },
    WholeFile(PathBuf),
    Variable(String),
    Flag(&'static str),
}

impl Origin {
    /// In which order mistakes are read: source by source, and line by line.
    fn order(&self) -> (u8, usize, usize) {
        match self {
            Self::Default | Self::WholeFile(_) => (0, 0, 0),
            Self::File { line, column, .. } => (1, *line, *column),
            Self::Variable(_) => (2, 0, 0),
            Self::Flag(_) => (3, 0, 0),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line, column } => write!(f, "{}:{line}:{column}", one_line(path.display())),
            Self::WholeFile(path) => one_line(path.display()).fmt(f),
            Self::Variable(name) => one_line(name).fmt(f),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

/// A path, a variable or the message of a library may hold any character; a mistake and a comment are one line.
fn one_line(text: impl fmt::Display) -> String {
    text.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// One thing that is wrong with a configuration: where it is, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {message}")]
pub struct Mistake {
    origin: Origin,
    message: String,
}

impl Mistake {
    pub(super) fn new(origin: Origin, message: impl Into<String>) -> Self {
        Self { origin, message: one_line(message.into()) }
    }
}

/// A configuration that is refused, with everything that is wrong with it: one line for each mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<Mistake>);

impl ConfigError {
    /// Refused for these mistakes, of which there is at least one.
    pub(super) fn of(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.origin.order());
        Self(mistakes)
    }

    /// What is wrong: line by line in the file, then in the environment, then in the flags.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }

    /// The same for programs: `{"ok": false, "mistakes": [{"place", "message"}]}`.
    pub fn document(&self) -> Value {
        let shown =
            |mistake: &Mistake| json!({ "place": mistake.origin.to_string(), "message": mistake.message });
        json!({ "ok": false, "mistakes": self.0.iter().map(shown).collect::<Vec<_>>() })
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(Mistake::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl From<Mistake> for ConfigError {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}

/// A text someone wrote, quoted for a message: cut, its control characters escaped, and without the part of a URL
/// that holds a user name and a password.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let public = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}…{}", text.get(..scheme + 3).unwrap_or_default(), text.get(at..).unwrap_or_default())
        }
        _ => text.to_owned(),
    };
    let cut = if public.chars().nth(MAX_CHARS).is_some() { "…" } else { "" };
    format!("{:?}", public.chars().take(MAX_CHARS).collect::<String>() + cut)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_is_short_and_holds_no_password() {
        assert_eq!(quoted("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert_eq!(quoted("https://me:hunter2@example.com/"), "\"https://…@example.com/\"");
        assert_eq!(quoted("https://me:hun@ter2@example.com/"), "\"https://…@example.com/\"");
        assert!(quoted(&"x".repeat(5000)).len() < 120);
    }
}
