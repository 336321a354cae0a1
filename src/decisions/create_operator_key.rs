//! An operator key is created.

use grantbook_events::{
    OperatorKeyCreated, OperatorKeyEvent, OperatorKeyId, Role, SecretDigest, StreamKind, Timestamp,
};
use grantbook_projections::OperatorKey;

use super::refusal::check_text;
use super::{Command, Decided, Decision, KeyRefusal};

/// The most characters of a key's name.
pub const KEY_NAME_MAX: usize = 100;

/// Create an operator key.
#[derive(Debug, Clone)]
pub struct CreateOperatorKey {
    /// Names the key.
    pub key_id: OperatorKeyId,
    /// What it is for, in the operator's words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the key.
    pub digest: SecretDigest,
}

impl Command for CreateOperatorKey {
    const NAME: &'static str = "create_operator_key";
    type State = OperatorKey;
    type Answer = ();
    type Refusal = KeyRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::OperatorKey(self.key_id)
    }

    fn decide(&self, state: Option<&OperatorKey>, _now: Timestamp) -> Decided<Self> {
        check_text("name", &self.name, KEY_NAME_MAX)?;
        if state.is_some() {
            return Err(KeyRefusal::Exists);
        }
        let event = OperatorKeyCreated {
            key_id: self.key_id,
            name: self.name.trim().to_owned(),
            role: self.role,
            digest: self.digest,
        };
        Ok(Decision::granted((), [OperatorKeyEvent::Created(event)]))
    }
}
