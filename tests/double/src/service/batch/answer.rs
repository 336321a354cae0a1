//! What one append of a `BatchAppend` is answered. Knows: the statuses of the protocol and their details. Must not
//! know: when they are due.

use prost::Message;
use tonic::Code;

use super::super::appending::MAX_APPEND_BYTES;
use super::super::wire;
use crate::expectation::Expected;
use crate::protocol::streams::batch_append_resp::Result as Answer;
use crate::protocol::wrong_expected_version::{
    CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as Wanted,
};
use crate::protocol::{
    AccessDenied, Any, BadRequest, Empty, MaximumAppendSizeExceeded, Status, StreamDeleted, Timeout,
    WrongExpectedVersion,
};

/// The prefix of the names of messages in details.
const TYPES: &str = "type.googleapis.com";

pub(super) fn conflict(current: Option<u64>, expected: Expected) -> Answer {
    let current = current.map_or(Current::CurrentNoStream(Empty {}), Current::CurrentStreamRevision);
    let expected = match expected {
        Expected::Exactly(revision) => Wanted::ExpectedStreamPosition(revision),
        Expected::NoStream => Wanted::ExpectedNoStream(Empty {}),
        Expected::Any => Wanted::ExpectedAny(Empty {}),
        Expected::StreamExists => Wanted::ExpectedStreamExists(Empty {}),
    };
    let details = WrongExpectedVersion {
        current_stream_revision_option: Some(current),
        expected_stream_position_option: Some(expected),
    };
    error(Code::AlreadyExists, "WrongExpectedVersion", &details)
}

pub(super) fn stream_deleted(stream: &str) -> Answer {
    let details = StreamDeleted { stream_identifier: Some(wire::identifier(stream)) };
    error(Code::NotFound, "StreamDeleted", &details)
}

pub(super) fn access_denied() -> Answer {
    error(Code::PermissionDenied, "AccessDenied", &AccessDenied {})
}

pub(super) fn timeout() -> Answer {
    error(Code::DeadlineExceeded, "Timeout", &Timeout {})
}

pub(super) fn too_large() -> Answer {
    let max_append_size = u32::try_from(MAX_APPEND_BYTES).unwrap_or(u32::MAX);
    let details = MaximumAppendSizeExceeded { max_append_size };
    error(Code::InvalidArgument, "MaximumAppendSizeExceeded", &details)
}

pub(super) fn bad_request(message: &str) -> Answer {
    let details = BadRequest { message: message.to_owned() };
    error(Code::InvalidArgument, "BadRequest", &details)
}

/// The server gives this one no code.
pub(super) fn not_ready() -> Answer {
    let details = Any { type_url: format!("{TYPES}/google.protobuf.Empty"), value: vec![].into() };
    Answer::Error(Status { code: 0, message: "Server Is Not Ready".to_owned(), details: Some(details) })
}

/// The message is the name of the details.
fn error(code: Code, name: &str, details: &impl Message) -> Answer {
    let type_url = format!("{TYPES}/event_store.client.{name}");
    let details = Any { type_url, value: details.encode_to_vec().into() };
    Answer::Error(Status { code: code.into(), message: name.to_owned(), details: Some(details) })
}
