//! Records as events of EventStoreDB and back. Knows: the JSON that goes into an event's metadata. Must not
//! know: how it gets there, or what the payload means.
//!
//! The payload is the event's data, to the letter. Everything else that the record has and EventStoreDB has no
//! place for is its metadata, among it the digest that chains it to its predecessor.

use bytes::Bytes;
use eventstore::EventData;
use grantbook_events::{EventId, Position, Revision, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::wire::RecordedEvent;
use crate::store::{ChainDigest, Link, Record, StoreError};

/// What stands in an event's metadata. `$correlationId` and `$causationId` are the names that EventStoreDB's
/// own tools go by.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    version: u16,
    /// Microseconds since 1970.
    recorded_at: i64,
    #[serde(with = "hex")]
    previous_digest: [u8; 32],
    #[serde(with = "hex")]
    digest: [u8; 32],
    #[serde(borrow)]
    envelope: &'a RawValue,
    #[serde(rename = "$correlationId", default, skip_serializing_if = "Option::is_none")]
    correlation_id: Option<String>,
    #[serde(rename = "$causationId", default, skip_serializing_if = "Option::is_none")]
    causation_id: Option<String>,
}

/// The two of the record's own metadata that EventStoreDB has names for.
#[derive(Default, Deserialize)]
struct Related {
    request_id: Option<String>,
    caused_by: Option<String>,
}

/// An event on its way, and how many bytes it is.
pub(super) fn to_event(record: &Record) -> Result<(EventData, usize), StoreError> {
    let not_json = |error: serde_json::Error| {
        StoreError::CannotWrite(format!("the metadata of a {} is no JSON: {error}", record.type_name))
    };
    let envelope: &RawValue = serde_json::from_str(&record.metadata).map_err(not_json)?;
    let related: Related = serde_json::from_str(&record.metadata).unwrap_or_default();
    let metadata = serde_json::to_vec(&Metadata {
        version: record.version,
        recorded_at: record.recorded_at.as_micros(),
        previous_digest: *record.previous_digest.as_bytes(),
        digest: *record.digest.as_bytes(),
        envelope,
        correlation_id: related.request_id,
        causation_id: related.caused_by,
    })
    .map_err(not_json)?;
    let size = metadata.len() + record.payload.len() + record.type_name.len();
    // As raw JSON, so that the text stays as it is.
    let payload: &RawValue = serde_json::from_str(&record.payload).map_err(not_json)?;
    let event = EventData::json(&record.type_name, &payload).map_err(not_json)?;
    Ok((event.id(*record.event_id.as_uuid()).metadata(Bytes::from(metadata)), size))
}

/// The record in an event; `None` if its stream is not grantbook's.
///
/// # Errors
/// `Damaged` if it is not what was written.
pub(super) fn from_event(event: &RecordedEvent) -> Result<Option<Record>, StoreError> {
    let Some(stream) = stream_name(event) else { return Ok(None) };
    let position = Position::new(event.commit_position);
    let damaged =
        |detail: String| StoreError::Damaged { position, detail: format!("stream {stream}: {detail}") };
    let metadata: Metadata<'_> = serde_json::from_slice(&event.custom_metadata)
        .map_err(|error| damaged(format!("its metadata is not what grantbook writes: {error}")))?;
    let payload = std::str::from_utf8(&event.data).map_err(|_| damaged("its data is no text".to_owned()))?;
    let id = event.id.as_ref().and_then(|id| Uuid::parse_str(&id.string).ok());
    let record = Record {
        position,
        stream: stream.clone(),
        revision: Revision::new(event.stream_revision),
        // The digest covers the id, so a missing one is noticed.
        event_id: EventId::new(id.unwrap_or_default()),
        type_name: event.metadata.get("type").cloned().unwrap_or_default(),
        version: metadata.version,
        recorded_at: Timestamp::from_micros(metadata.recorded_at),
        metadata: metadata.envelope.get().to_owned(),
        payload: payload.to_owned(),
        previous_digest: ChainDigest::new(metadata.previous_digest),
        digest: ChainDigest::new(metadata.digest),
        link: Link::Unkept,
    };
    match record.is_intact() {
        true => Ok(Some(record)),
        false => Err(damaged("its digest is another than it should be".to_owned())),
    }
}

/// The name of an event's stream, if it is grantbook's.
pub(super) fn stream_name(event: &RecordedEvent) -> Option<StreamName> {
    stream_text(event)?.parse().ok()
}

pub(super) fn stream_text(event: &RecordedEvent) -> Option<&str> {
    std::str::from_utf8(&event.stream_identifier.as_ref()?.stream_name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{fresh_stream, new_record};

    #[test]
    fn the_reserved_names_say_what_caused_an_event() {
        let mut new = new_record("{}");
        new.metadata =
            r#"{"actor":{"kind":"user","id":"ana"},"request_id":"r1","caused_by":"5f"}"#.to_owned();
        let record = new.place(fresh_stream(), Revision::FIRST, Position::START, ChainDigest::NONE);
        let (event, size) = to_event(&record).unwrap();
        let shown = format!("{event:?}");
        assert!(shown.contains(r#"\"$correlationId\":\"r1\""#), "{shown}");
        assert!(shown.contains(r#"\"$causationId\":\"5f\""#), "{shown}");
        assert!(size > record.metadata.len() + record.payload.len());
    }
}
