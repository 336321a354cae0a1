//! Records as events of EventStoreDB and back. Knows: the JSON that goes into an event's metadata. Must not
//! know: how it gets there, or what the payload means.
//!
//! The payload is the event's data, to the letter. Everything else that the record has and EventStoreDB has no
//! place for is its metadata, among it the digest that chains it to its predecessor.

use bytes::Bytes;
use grantbook_events::{EventId, Position, Revision, StreamName, Timestamp};
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::wire::{Proposed, RecordedEvent, WireUuid};
use crate::store::{ChainDigest, Link, Record, StoreError};

/// What the name of the stream with another stream's metadata begins with.
pub(super) const METADATA_STREAM: &str = "$$";
/// The type of the event that a stream ends with that was deleted for good.
const TOMBSTONE: &str = "$streamDeleted";
/// The `$tb` of a stream that was deleted, and can be begun again.
const DELETED: u64 = i64::MAX as u64;
const TICKS_PER_MICROSECOND: i64 = 10;

/// What the metadata of a stream says of which events it keeps.
#[derive(Deserialize)]
struct Retention {
    #[serde(rename = "$tb")]
    truncate_before: Option<u64>,
    #[serde(rename = "$maxCount")]
    max_count: Option<IgnoredAny>,
    #[serde(rename = "$maxAge")]
    max_age: Option<IgnoredAny>,
}

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
pub(super) fn to_event(record: &Record) -> Result<(Proposed, usize), StoreError> {
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
    let of_the_event = [("type", record.type_name.as_str()), ("content-type", "application/json")];
    let event = Proposed {
        id: Some((*record.event_id.as_uuid()).into()),
        metadata: of_the_event.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        custom_metadata: Bytes::from(metadata),
        data: Bytes::from(record.payload.clone()),
    };
    Ok((event, size))
}

/// The record in an event; `None` if its stream is not grantbook's. An event that grantbook did not write is a record
/// with a fault, and so is one that says that a stream of grantbook's was deleted or cut.
pub(super) fn from_event(event: &RecordedEvent) -> Option<Record> {
    let name = stream_text(event)?;
    if let Some(subject) = name.strip_prefix(METADATA_STREAM) {
        let stream = subject.parse().ok()?;
        return Some(faulty(event, stream, &lost_by(event)?));
    }
    let stream: StreamName = name.parse().ok()?;
    Some(match type_name(event) {
        TOMBSTONE => faulty(event, stream, "the stream was deleted from the cluster for good"),
        _ => written(event, &stream).unwrap_or_else(|fault| faulty(event, stream, &fault)),
    })
}

/// What grantbook wrote.
///
/// # Errors
/// Why it is not that.
fn written(event: &RecordedEvent, stream: &StreamName) -> Result<Record, String> {
    let metadata: Metadata<'_> = serde_json::from_slice(&event.custom_metadata)
        .map_err(|_| "grantbook did not write it: its metadata has another form".to_owned())?;
    let payload = std::str::from_utf8(&event.data).map_err(|_| "its data is no text".to_owned())?;
    let id = event.id.as_ref().and_then(WireUuid::id);
    let record = Record {
        position: Position::new(event.commit_position),
        stream: stream.clone(),
        revision: Revision::new(event.stream_revision),
        // The digest covers the id, so a missing one is noticed.
        event_id: EventId::new(id.unwrap_or_default()),
        type_name: type_name(event).to_owned(),
        version: metadata.version,
        recorded_at: Timestamp::from_micros(metadata.recorded_at),
        metadata: metadata.envelope.get().to_owned(),
        payload: payload.to_owned(),
        previous_digest: ChainDigest::new(metadata.previous_digest),
        digest: ChainDigest::new(metadata.digest),
        link: Link::Unkept,
        fault: None,
    };
    match record.is_intact() {
        true => Ok(record),
        false => Err("it is not what was written: its digest differs".to_owned()),
    }
}

/// The place of an event that is not a record.
fn faulty(event: &RecordedEvent, stream: StreamName, fault: &str) -> Record {
    let created = event.metadata.get("created").and_then(|created| created.parse::<i64>().ok());
    Record {
        position: Position::new(event.commit_position),
        stream,
        revision: Revision::new(event.stream_revision),
        event_id: EventId::new(event.id.as_ref().and_then(WireUuid::id).unwrap_or_default()),
        type_name: type_name(event).to_owned(),
        version: 0,
        recorded_at: created
            .map_or(Timestamp::EPOCH, |ticks| Timestamp::from_micros(ticks / TICKS_PER_MICROSECOND)),
        metadata: String::new(),
        payload: String::new(),
        previous_digest: ChainDigest::NONE,
        digest: ChainDigest::NONE,
        link: Link::Unkept,
        fault: Some(fault.into()),
    }
}

/// What a stream loses by its metadata; `None` if it loses nothing.
fn lost_by(metadata: &RecordedEvent) -> Option<String> {
    let Retention { truncate_before, max_count, max_age } = serde_json::from_slice(&metadata.data).ok()?;
    if let Some(revision) = truncate_before.filter(|revision| *revision > 0) {
        return Some(match revision {
            DELETED => "the stream was deleted from the cluster".to_owned(),
            _ => format!("the stream was cut off before revision {revision} ($tb)"),
        });
    }
    let limit = max_count.map(|_| "$maxCount").or(max_age.map(|_| "$maxAge"))?;
    Some(format!("the stream was set to lose its old events ({limit})"))
}

fn type_name(event: &RecordedEvent) -> &str {
    event.metadata.get("type").map_or("", String::as_str)
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
        let shown = std::str::from_utf8(&event.custom_metadata).unwrap();
        assert!(shown.contains(r#""$correlationId":"r1""#), "{shown}");
        assert!(shown.contains(r#""$causationId":"5f""#), "{shown}");
        assert!(size > record.metadata.len() + record.payload.len());
    }
}
