//! Where a value came from, and how a mistake is reported. Knows: sources. Must not know: what any key
//! means.

use std::fmt;
use std::path::PathBuf;

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

/// A configuration that is refused: where the mistake stands, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {message}")]
pub struct ConfigError {
    place: Place,
    message: String,
}

impl ConfigError {
    pub(super) fn new(place: Place, message: impl Into<String>) -> Self {
        Self { place, message: message.into() }
    }

    /// Where the mistake stands.
    pub fn place(&self) -> &Place {
        &self.place
    }
}
