//! Which projections there are. Knows: their names. Must not know: what is in them.

use std::fmt;
use std::str::FromStr;

/// A projection, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Projection {
    /// What every request asks, in memory.
    Live,
    /// What auditors ask, in a file.
    History,
}

impl Projection {
    /// Every projection.
    pub const ALL: [Self; 2] = [Self::Live, Self::History];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::History => "history",
        }
    }
}

/// A text that names no projection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a projection: use live or history")]
pub struct ProjectionError(String);

impl FromStr for Projection {
    type Err = ProjectionError;

    fn from_str(text: &str) -> Result<Self, ProjectionError> {
        Self::ALL
            .into_iter()
            .find(|projection| projection.name() == text)
            .ok_or_else(|| ProjectionError(text.to_owned()))
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
