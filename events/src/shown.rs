//! An event as people and programs outside are shown it: the envelope and the payload as one JSON object,
//! without the digests of secrets. Knows: the codec. Must not know: who asks.

use serde::Serialize;
use serde_json::Value;

use crate::codec::{self, EncodeError};
use crate::{Actor, EventId, Position, Recorded, RequestId, Revision, Timestamp};

/// One event with its envelope.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema), schema(as = EventJson))]
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShownEvent<'a> {
    /// Its place among all events.
    pub position: Position,
    /// The stream it is in.
    pub stream: &'a str,
    /// Its place in the stream.
    pub revision: Revision,
    /// Names the event.
    pub event_id: EventId,
    /// The stored type name.
    #[serde(rename = "type")]
    pub type_name: &'static str,
    /// The version of `data`: always the one in force, whatever version is stored.
    pub version: u16,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: &'a Actor,
    /// Through which request.
    pub request_id: &'a RequestId,
    /// The event this one follows from, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(nullable = false))]
    pub caused_by: Option<EventId>,
    /// What happened: other fields for each type and version, without digests of secrets.
    #[cfg_attr(feature = "schema", schema(value_type = Object))]
    pub data: Value,
}

impl<'a> ShownEvent<'a> {
    /// How an event is shown.
    ///
    /// # Errors
    /// If the event cannot be written as JSON.
    pub fn new(recorded: &'a Recorded) -> Result<Self, EncodeError> {
        let envelope = &recorded.envelope;
        let (type_name, version, mut data) = codec::encode_value(&recorded.event)?;
        leave_out_digests(&mut data);
        Ok(Self {
            position: envelope.position,
            stream: envelope.stream.as_str(),
            revision: envelope.revision,
            event_id: envelope.event_id,
            type_name,
            version,
            recorded_at: envelope.recorded_at,
            actor: &envelope.actor,
            request_id: &envelope.request_id,
            caused_by: envelope.caused_by,
            data,
        })
    }
}

/// Takes out every field that is named after a digest, at any depth.
fn leave_out_digests(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| name != "digest" && !name.ends_with("_digest"));
            fields.values_mut().for_each(leave_out_digests);
        }
        Value::Array(items) => items.iter_mut().for_each(leave_out_digests),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::{ActorKind, Envelope, SecretDigest, StreamKind};
    use uuid::Uuid;

    fn recorded(type_name: &str, version: u16, payload: &str) -> Recorded {
        let key = crate::OperatorKeyId::new(Uuid::from_u128(7));
        let envelope = Envelope {
            event_id: EventId::new(Uuid::from_u128(1)),
            stream: StreamKind::OperatorKey(key).into(),
            revision: Revision::new(2),
            position: Position::new(3),
            recorded_at: Timestamp::EPOCH,
            actor: Actor { kind: ActorKind::System, id: "test".to_owned() },
            request_id: "r-1".parse().unwrap(),
            caused_by: None,
        };
        Recorded { envelope, event: codec::decode(type_name, version, payload).unwrap() }
    }

    fn holds_digest(value: &Value) -> bool {
        match value {
            Value::String(text) => text.parse::<SecretDigest>().is_ok(),
            Value::Array(items) => items.iter().any(holds_digest),
            Value::Object(fields) => fields.values().any(holds_digest),
            Value::Null | Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// Every type has a golden file, so a digest under a name that does not say so is found here.
    #[test]
    fn t8_no_event_of_any_type_shows_a_digest() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
        let mut stored_with_digest = 0;
        for &(type_name, version) in codec::STORED_TYPES {
            let payload = fs::read_to_string(golden.join(format!("{type_name}.v{version}.json"))).unwrap();
            stored_with_digest += usize::from(holds_digest(&serde_json::from_str(&payload).unwrap()));
            let recorded = recorded(type_name, version, &payload);
            let shown = serde_json::to_value(ShownEvent::new(&recorded).unwrap()).unwrap();
            assert!(!holds_digest(&shown), "{type_name}: {shown}");
        }
        assert_eq!(stored_with_digest, 6, "the test must be able to fail");
    }

    #[test]
    fn the_envelope_comes_first_and_in_order() {
        let recorded = recorded("app-resumed", 1, r#"{"reason":"fixed"}"#);
        let shown = serde_json::to_string(&ShownEvent::new(&recorded).unwrap()).unwrap();
        assert_eq!(
            shown,
            concat!(
                r#"{"position":3,"stream":"key-00000000-0000-0000-0000-000000000007","revision":2,"#,
                r#""event_id":"00000000-0000-0000-0000-000000000001","type":"app-resumed","version":1,"#,
                r#""recorded_at":"1970-01-01T00:00:00.000000Z","actor":{"kind":"system","id":"test"},"#,
                r#""request_id":"r-1","data":{"reason":"fixed"}}"#
            )
        );
    }
}
