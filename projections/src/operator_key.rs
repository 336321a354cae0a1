//! The state of one operator key: the fold of stream `key-{key_id}`.

use grantbook_events::{Envelope, OperatorKeyEvent, OperatorKeyId, Revision, Role, SecretDigest, Timestamp};
use serde::{Deserialize, Serialize};

use crate::fold::Head;

/// An operator key, accepted or retired. Its serialised form holds a digest of the key and is for snapshots only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OperatorKey {
    pub key_id: OperatorKeyId,
    /// Of its last event.
    pub revision: Revision,
    /// What it is for.
    pub name: String,
    pub role: Role,
    pub digest: SecretDigest,
    pub created_at: Timestamp,
    pub retired_at: Option<Timestamp>,
}

impl OperatorKey {
    /// Applies the next event. One that cannot follow changes nothing.
    pub(crate) fn apply(
        state: &mut Option<Self>,
        event: &OperatorKeyEvent,
        envelope: &Envelope,
    ) -> Result<(), &'static str> {
        match (state, event) {
            (state @ None, OperatorKeyEvent::Created(event)) => {
                *state = Some(Self {
                    key_id: event.key_id,
                    revision: envelope.revision,
                    name: event.name.clone(),
                    role: event.role,
                    digest: event.digest,
                    created_at: envelope.recorded_at,
                    retired_at: None,
                });
            }
            (None, OperatorKeyEvent::Retired(_)) => return Err("the key was not created before"),
            (Some(_), OperatorKeyEvent::Created(_)) => return Err("the key was created before"),
            (Some(key), OperatorKeyEvent::Retired(_)) if key.retired_at.is_some() => {
                return Err("the key was retired before");
            }
            (Some(key), OperatorKeyEvent::Retired(_)) => {
                (key.retired_at, key.revision) = (Some(envelope.recorded_at), envelope.revision);
            }
        }
        Ok(())
    }

    pub(crate) fn head(&self) -> Head {
        Head { revision: self.revision, recorded_at: self.retired_at.unwrap_or(self.created_at) }
    }
}
