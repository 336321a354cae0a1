//! Records as events of EventStoreDB and back. Knows: the JSON that goes into an event's metadata. Must not
//! know: how it gets there, or what the payload means.
//!
//! The payload is the event's data, to the letter. Everything else that the record has and EventStoreDB has no
//! place for is its metadata, among it the digest that chains it to its predecessor.

use std::str::FromStr;

use bytes::Bytes;
use eventstore::EventData;
use grantbook_events::{EventId, Position, Revision, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::wire;
use crate::store::{ChainDigest, Link, Record, StoreError};

/// What stands in an event's metadata. `$correlationId` and `$causationId` are the names that EventStoreDB's
/// own tools go by.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    version: u16,
    /// Microseconds since 1970.
    recorded_at: i64,
    previous_digest: Hex,
    digest: Hex,
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

/// A digest as 64 hexadecimal digits.
#[derive(Clone, Copy)]
struct Hex(ChainDigest);

impl Serialize for Hex {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks_exact(2);
        let is_whole = text.len() == 2 * bytes.len() && text.is_ascii();
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let pair = std::str::from_utf8(pair).map_err(serde::de::Error::custom)?;
            *byte = u8::from_str_radix(pair, 16).map_err(serde::de::Error::custom)?;
        }
        match is_whole {
            true => Ok(Self(ChainDigest::new(bytes))),
            false => Err(serde::de::Error::custom("a digest has 64 hexadecimal digits")),
        }
    }
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
        previous_digest: Hex(record.previous_digest),
        digest: Hex(record.digest),
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

/// What comes back, from whichever client it came.
pub(super) struct Stored<'a> {
    pub stream: &'a str,
    pub revision: u64,
    pub position: u64,
    pub event_id: Uuid,
    pub type_name: &'a str,
    pub data: &'a [u8],
    pub metadata: &'a [u8],
}

impl Stored<'_> {
    /// The record, if it is in a stream of grantbook's; `None` if the stream is somebody else's.
    ///
    /// # Errors
    /// `Damaged` if it is not what was written.
    pub(super) fn record(&self) -> Result<Option<Record>, StoreError> {
        let Ok(stream) = StreamName::from_str(self.stream) else { return Ok(None) };
        let position = Position::new(self.position);
        let damaged =
            |detail: String| StoreError::Damaged { position, detail: format!("stream {stream}: {detail}") };
        let metadata: Metadata<'_> = serde_json::from_slice(self.metadata)
            .map_err(|error| damaged(format!("its metadata is not what grantbook writes: {error}")))?;
        let payload =
            std::str::from_utf8(self.data).map_err(|_| damaged("its data is no text".to_owned()))?;
        let record = Record {
            position,
            stream: stream.clone(),
            revision: Revision::new(self.revision),
            event_id: EventId::new(self.event_id),
            type_name: self.type_name.to_owned(),
            version: metadata.version,
            recorded_at: Timestamp::from_micros(metadata.recorded_at),
            metadata: metadata.envelope.get().to_owned(),
            payload: payload.to_owned(),
            previous_digest: metadata.previous_digest.0,
            digest: metadata.digest.0,
            link: Link::Unkept,
        };
        match record.is_intact() {
            true => Ok(Some(record)),
            false => Err(damaged("its digest is another than it should be".to_owned())),
        }
    }
}

/// A record that the client crate read.
pub(super) fn from_crate(event: &eventstore::RecordedEvent) -> Result<Option<Record>, StoreError> {
    let stored = Stored {
        stream: &event.stream_id,
        revision: event.revision,
        position: event.position.commit,
        event_id: event.id,
        type_name: &event.event_type,
        data: &event.data,
        metadata: &event.custom_metadata,
    };
    stored.record()
}

/// A record that we read ourselves.
pub(super) fn from_wire(event: &wire::RecordedEvent) -> Result<Option<Record>, StoreError> {
    let Some(stream) = stream_of(event) else { return Ok(None) };
    let id = event.id.as_ref().and_then(|id| Uuid::parse_str(&id.string).ok());
    let stored = Stored {
        stream,
        revision: event.stream_revision,
        position: event.commit_position,
        // The digest covers the id, so a missing one is found out.
        event_id: id.unwrap_or_default(),
        type_name: event.metadata.get("type").map_or("", String::as_str),
        data: &event.data,
        metadata: &event.custom_metadata,
    };
    stored.record()
}

/// The name of an event's stream.
pub(super) fn stream_of(event: &wire::RecordedEvent) -> Option<&str> {
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

    #[test]
    fn a_digest_is_64_digits() {
        let digest = ChainDigest::new([0xab; 32]);
        let text = serde_json::to_string(&Hex(digest)).unwrap();
        assert_eq!(serde_json::from_str::<Hex>(&text).unwrap().0, digest);
        for wrong in ["\"ab\"", "\"\"", &text.replace('a', "g"), &text.replace("ab\"", "abab\""), "7"] {
            assert!(serde_json::from_str::<Hex>(wrong).is_err(), "{wrong}");
        }
    }
}
