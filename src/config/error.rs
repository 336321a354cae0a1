//! Where a value came from, and how a mistake is reported. Knows: sources. Must not know: what any key
//! means.

use std::fmt;
use std::path::PathBuf;

use serde_json::{Value, json};

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// No source said anything.
    Default,
    /// A place in a configuration file; line and column count from 1.
    File {
        /// The file, as it was named.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// A configuration file as a whole.
    WholeFile(PathBuf),
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
}

impl Place {
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

impl fmt::Display for Place {
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

/// A path or a variable may hold any character; a message and a comment are one line.
fn one_line(text: impl fmt::Display) -> String {
    text.to_string().chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// One thing that is wrong with a configuration: where it is, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct Mistake {
    place: Place,
    message: String,
}

impl Mistake {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }
}

/// A configuration that is refused, with everything that is wrong with it: one line for each mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(Vec<Mistake>);

impl ConfigError {
    /// Refused for these mistakes, of which there is at least one.
    pub(super) fn of(mut mistakes: Vec<Mistake>) -> Self {
        mistakes.sort_by_key(|mistake| mistake.place.order());
        Self(mistakes)
    }

    /// What is wrong: line by line in the file, then in the environment, then in the flags.
    pub fn mistakes(&self) -> &[Mistake] {
        &self.0
    }

    /// The same for programs: `{"ok": false, "mistakes": [{"place", "message"}]}`.
    pub fn document(&self) -> Value {
        let shown =
            |mistake: &Mistake| json!({ "place": mistake.place.to_string(), "message": mistake.message });
        json!({ "ok": false, "mistakes": self.0.iter().map(shown).collect::<Vec<_>>() })
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mistake) in self.0.iter().enumerate() {
            write!(f, "{}{mistake}", if at > 0 { "\n" } else { "" })?;
        }
        Ok(())
    }
}

impl From<Mistake> for ConfigError {
    fn from(mistake: Mistake) -> Self {
        Self(vec![mistake])
    }
}
