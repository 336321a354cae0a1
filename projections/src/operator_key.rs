//! The state of one operator key: the fold of stream `key-{key_id}`.

use grantbook_events::{Event, OperatorKeyEvent, OperatorKeyId, Recorded, Role, SecretDigest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fold::{FoldError, StreamState};

/// An operator key, or the absence of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum OperatorKey {
    /// Nothing was created under this id.
    #[default]
    Absent,
    /// It is or was accepted.
    Issued(IssuedKey),
}

/// What is known of an operator key. Its JSON holds a digest of the key and is for images of the live
/// projection only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IssuedKey {
    /// Names the key.
    pub key_id: OperatorKeyId,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the key.
    pub digest: SecretDigest,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was retired, if it was.
    pub retired_at: Option<Timestamp>,
}

impl StreamState for OperatorKey {
    fn apply(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        let at = recorded.envelope.recorded_at;
        let wrong = |detail| Err(FoldError::new(recorded, detail));
        let event = match &recorded.event {
            Event::OperatorKey(event) => event,
            Event::App(_) | Event::Installation(_) => return wrong("it does not belong in a key's stream"),
        };
        match (self, event) {
            (key @ Self::Absent, OperatorKeyEvent::Created(event)) => {
                *key = Self::Issued(IssuedKey {
                    key_id: event.key_id,
                    name: event.name.clone(),
                    role: event.role,
                    digest: event.digest,
                    created_at: at,
                    retired_at: None,
                });
                Ok(())
            }
            (Self::Absent, OperatorKeyEvent::Retired(_)) => wrong("the key was not created before"),
            (Self::Issued(_), OperatorKeyEvent::Created(_)) => wrong("the key was created before"),
            (Self::Issued(key), OperatorKeyEvent::Retired(_)) => {
                if key.retired_at.is_some() {
                    return wrong("the key was retired before");
                }
                key.retired_at = Some(at);
                Ok(())
            }
        }
    }
}
