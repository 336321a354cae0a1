//! An operator key is refused from now on.

use grantbook_events::{OperatorKeyEvent, OperatorKeyId, OperatorKeyRetired, StreamKind, Timestamp};
use grantbook_projections::OperatorKey;

use super::refusal::{REASON_MAX, check_text};
use super::{Command, Decided, Decision, KeyRefusal};

/// Retire an operator key.
#[derive(Debug, Clone)]
pub struct RetireOperatorKey {
    /// Which key.
    pub key_id: OperatorKeyId,
    /// In the operator's words.
    pub reason: String,
}

impl Command for RetireOperatorKey {
    const NAME: &'static str = "retire_operator_key";
    type State = OperatorKey;
    /// Whether it was retired before, so that nothing happened.
    type Answer = bool;
    type Refusal = KeyRefusal;

    fn stream(&self) -> StreamKind {
        StreamKind::OperatorKey(self.key_id)
    }

    fn decide(&self, state: Option<&OperatorKey>, _now: Timestamp) -> Decided<Self> {
        check_text("reason", &self.reason, REASON_MAX)?;
        if state.ok_or(KeyRefusal::Unknown)?.retired_at.is_some() {
            return Ok(Decision::already(true));
        }
        let event = OperatorKeyRetired { reason: self.reason.clone() };
        Ok(Decision::granted(false, [OperatorKeyEvent::Retired(event)]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::CreateOperatorKey;
    use super::super::testing::{self, TestStreams};
    use super::*;
    use grantbook_events::Role;

    #[test]
    fn a_key_is_created_once_and_retired_once() {
        let key_id = OperatorKeyId::new(*testing::token_id(1).as_uuid());
        let create = CreateOperatorKey {
            key_id,
            name: "desk".to_owned(),
            role: Role::Auditor,
            digest: testing::digest(1),
        };
        let retire = RetireOperatorKey { key_id, reason: "rotated".to_owned() };
        let mut streams = TestStreams::<OperatorKey>::empty();
        assert_eq!(streams.decide(&retire, 1), Decision::refused(KeyRefusal::Unknown));
        streams.run(&create, 1).unwrap();
        assert_eq!(streams.decide(&create, 2), Decision::refused(KeyRefusal::Exists));
        assert_eq!(streams.run(&retire, 2), Ok(false));
        assert_eq!(streams.decide(&retire, 3), Decision::already(true));
    }
}
