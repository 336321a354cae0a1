//! Events and ids as messages, and back. Knows: both shapes. Must not know: why they are sent.

use std::collections::HashMap;

use bytes::Bytes;
use tonic::Status;
use uuid::Uuid;

use crate::event::{Event, JSON, NOT_JSON, Proposed};
use crate::protocol::streams::append_req::ProposedMessage;
use crate::protocol::streams::read_req::options::UuidOption;
use crate::protocol::streams::read_req::options::uuid_option;
use crate::protocol::streams::read_resp::read_event::{Position, RecordedEvent};
use crate::protocol::streams::read_resp::{Checkpoint, Content, ReadEvent};
use crate::protocol::streams::{ReadResp, read_resp};
use crate::protocol::uuid::{Structured, Value};
use crate::protocol::{StreamIdentifier, Uuid as WireUuid};

const TYPE: &str = "type";
const CREATED: &str = "created";
const CONTENT_TYPE: &str = "content-type";

/// How ids are to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ids {
    Structured,
    Text,
}

impl Ids {
    /// A request that says nothing of ids at all is too much for the server.
    pub fn wanted(option: Option<&UuidOption>) -> Result<Self, Status> {
        let missing = || Status::unknown("Exception was thrown by handler.");
        match option.ok_or_else(missing)?.content {
            Some(uuid_option::Content::String(_)) => Ok(Self::Text),
            Some(uuid_option::Content::Structured(_)) | None => Ok(Self::Structured),
        }
    }

    fn send(self, id: Uuid) -> WireUuid {
        match self {
            Self::Structured => structured(id),
            Self::Text => WireUuid { value: Some(Value::String(id.to_string())) },
        }
    }
}

/// An id as two numbers.
pub(super) fn structured(id: Uuid) -> WireUuid {
    let (most, least) = id.as_u64_pair();
    let (most_significant_bits, least_significant_bits) = (most.cast_signed(), least.cast_signed());
    let value = Structured { most_significant_bits, least_significant_bits };
    WireUuid { value: Some(Value::Structured(value)) }
}

/// An id of an event or an append.
pub(super) fn parse_id(id: Option<WireUuid>) -> Result<Uuid, Status> {
    let no_id = || Status::invalid_argument("an id is missing");
    match id.and_then(|id| id.value).ok_or_else(no_id)? {
        Value::Structured(value) => Ok(Uuid::from_u64_pair(
            value.most_significant_bits.cast_unsigned(),
            value.least_significant_bits.cast_unsigned(),
        )),
        Value::String(text) => Uuid::parse_str(&text).map_err(|_| no_id()),
    }
}

/// The name of a stream.
pub(super) fn stream_name(identifier: Option<StreamIdentifier>) -> Result<String, Status> {
    let name = identifier.map(|identifier| identifier.stream_name).unwrap_or_default();
    let name = std::str::from_utf8(&name).unwrap_or_default();
    if name.is_empty() { Err(Status::invalid_argument("no stream is named")) } else { Ok(name.to_owned()) }
}

/// An event as it was proposed.
pub(super) fn proposed(message: ProposedMessage) -> Result<Proposed, Status> {
    let id = parse_id(message.id)?;
    let mut metadata = message.metadata;
    let mut required = |name: &str| {
        let missing = || Status::invalid_argument(format!("Required Metadata Property '{name}' is missing"));
        metadata.remove(name).filter(|value| !value.is_empty()).ok_or_else(missing)
    };
    let (event_type, content_type) = (required(TYPE)?, required(CONTENT_TYPE)?);
    let content_type = if content_type == JSON { JSON } else { NOT_JSON };
    let (data, custom_metadata) = (message.data, message.custom_metadata);
    Ok(Proposed { id, event_type, content_type, data, custom_metadata })
}

/// A message with a stored event.
pub(super) fn event(event: &Event, ids: Ids) -> ReadResp {
    let metadata = HashMap::from([
        (TYPE.to_owned(), event.event_type.clone()),
        (CREATED.to_owned(), event.created.to_string()),
        (CONTENT_TYPE.to_owned(), event.content_type.to_owned()),
    ]);
    let recorded = RecordedEvent {
        id: Some(ids.send(event.id)),
        stream_identifier: Some(identifier(&event.stream)),
        stream_revision: event.revision,
        prepare_position: event.position,
        commit_position: event.position,
        metadata,
        custom_metadata: event.custom_metadata.clone(),
        data: event.data.clone(),
    };
    let position = Some(Position::CommitPosition(event.position));
    content(Content::Event(ReadEvent { event: Some(recorded), position }))
}

/// A message that says how far was looked.
pub(super) fn checkpoint(position: u64) -> ReadResp {
    content(Content::Checkpoint(Checkpoint { commit_position: position, prepare_position: position }))
}

/// A message that says there is no such stream.
pub(super) fn stream_not_found(stream: &str) -> ReadResp {
    let stream_identifier = Some(identifier(stream));
    content(Content::StreamNotFound(read_resp::StreamNotFound { stream_identifier }))
}

/// A message that a subscription begins with.
pub(super) fn confirmation(subscription_id: String) -> ReadResp {
    content(Content::Confirmation(read_resp::SubscriptionConfirmation { subscription_id }))
}

pub(super) fn content(content: Content) -> ReadResp {
    ReadResp { content: Some(content) }
}

pub(super) fn identifier(stream: &str) -> StreamIdentifier {
    StreamIdentifier { stream_name: Bytes::copy_from_slice(stream.as_bytes()) }
}
