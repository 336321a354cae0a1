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
    pub const ALL: [Self; 2] = [Self::Live, Self::History];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::History => "history",
        }
    }
}

impl FromStr for Projection {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|projection| projection.name() == text);
        found.ok_or_else(|| format!("`{text}` is not a projection: use live or history"))
    }
}

impl fmt::Display for Projection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
