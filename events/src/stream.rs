//! Stream names. Knows: which streams there are and how they are spelt. Must not know: what is in them.

use std::fmt;
use std::str::FromStr;

use crate::ids::{ClientId, IdError, InstallationId, LedgerId, OperatorKeyId};
use crate::text::serde_as_text;

/// What a stream is about. One stream decides one race, so everything that can race for one answer
/// lives in one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamKind {
    /// `app-{client_id}`: registration, update, secrets, suspension, deletion.
    App(ClientId),
    /// `installation-{installation_id}`: grant, exchange, replay, revocation, uninstall.
    Installation(InstallationId),
    /// `key-{key_id}`: an operator key, from its creation to its retirement.
    OperatorKey(OperatorKeyId),
    /// `ledger-{ledger_id}`: what an operator said of the ledger as a whole.
    Ledger(LedgerId),
}

/// The name of a stream, as stores see it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName(Box<str>);

serde_as_text!(StreamName);

const APP: &str = "app-";
const INSTALLATION: &str = "installation-";
const OPERATOR_KEY: &str = "key-";
const LEDGER: &str = "ledger-";

impl StreamName {
    /// What the names of grantbook's streams begin with.
    pub const PREFIXES: [&str; 4] = [APP, INSTALLATION, OPERATOR_KEY, LEDGER];

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the stream is about.
    pub fn kind(&self) -> Result<StreamKind, StreamNameError> {
        let wrong = |source| StreamNameError::BadId { name: self.0.clone(), source };
        if let Some(id) = self.0.strip_prefix(APP) {
            id.parse().map(StreamKind::App).map_err(wrong)
        } else if let Some(id) = self.0.strip_prefix(INSTALLATION) {
            id.parse().map(StreamKind::Installation).map_err(wrong)
        } else if let Some(id) = self.0.strip_prefix(OPERATOR_KEY) {
            id.parse().map(StreamKind::OperatorKey).map_err(wrong)
        } else if let Some(id) = self.0.strip_prefix(LEDGER) {
            id.parse().map(StreamKind::Ledger).map_err(wrong)
        } else {
            Err(StreamNameError::UnknownPrefix(self.0.clone()))
        }
    }
}

/// A text that names no stream of grantbook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamNameError {
    /// The prefix is not one of ours.
    #[error("stream {0:?} must start with app-, installation-, key- or ledger-")]
    UnknownPrefix(Box<str>),
    /// The prefix is ours, what follows is not an id.
    #[error("stream {name:?} is misnamed")]
    BadId {
        /// The whole name.
        name: Box<str>,
        /// What is wrong with the id.
        source: IdError,
    },
}

impl From<StreamKind> for StreamName {
    fn from(kind: StreamKind) -> Self {
        Self(match kind {
            StreamKind::App(id) => format!("{APP}{id}").into(),
            StreamKind::Installation(id) => format!("{INSTALLATION}{id}").into(),
            StreamKind::OperatorKey(id) => format!("{OPERATOR_KEY}{id}").into(),
            StreamKind::Ledger(id) => format!("{LEDGER}{id}").into(),
        })
    }
}

impl FromStr for StreamName {
    type Err = StreamNameError;

    fn from_str(text: &str) -> Result<Self, StreamNameError> {
        let name = Self(text.into());
        name.kind()?;
        Ok(name)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_the_stream_is_about() {
        let client: ClientId = "5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d".parse().unwrap();
        let name = StreamName::from(StreamKind::App(client));
        assert_eq!(name.as_str(), "app-5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d");
        assert_eq!(name.kind(), Ok(StreamKind::App(client)));
        assert_eq!(name.as_str().parse(), Ok(name));
        assert!("app-1".parse::<StreamName>().is_err());
        assert!("$all".parse::<StreamName>().is_err());
    }
}
