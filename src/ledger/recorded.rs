//! Between records, which stores keep, and events, which everything else knows.

use grantbook_events::codec::{self, DecodeError, EncodeError, Metadata};
use grantbook_events::{Envelope, Event, EventId, Position, Recorded, StreamName, Timestamp};
use grantbook_projections::live::{Live, Poison};

use crate::store::{NewRecord, Record};

/// A record that is not an event: the ledger is damaged, or from a newer grantbook.
#[derive(Debug, thiserror::Error)]
#[error("the record at position {position} (stream {stream}) cannot be read: {source}")]
pub struct UnreadableError {
    /// Where the record is.
    pub position: Position,
    /// The stream it is in.
    pub stream: StreamName,
    /// What is wrong with it.
    pub source: Box<DecodeError>,
}

/// Reads a record as an event.
pub fn read(record: &Record) -> Result<Recorded, UnreadableError> {
    let wrong = |source| UnreadableError {
        position: record.position,
        stream: record.stream.clone(),
        source: Box::new(source),
    };
    if let Some(fault) = &record.fault {
        return Err(wrong(DecodeError::NotWritten(fault.to_string())));
    }
    let event = codec::decode(&record.type_name, record.version, &record.payload).map_err(wrong)?;
    let metadata: Metadata = serde_json::from_str(&record.metadata).map_err(|source| {
        let type_name = codec::type_name(&event);
        wrong(DecodeError::Payload { type_name, version: record.version, source })
    })?;
    Ok(placed(record, event, metadata))
}

/// An event in the place of its record.
pub(super) fn placed(record: &Record, event: Event, metadata: Metadata) -> Recorded {
    let envelope = Envelope {
        event_id: record.event_id,
        stream: record.stream.clone(),
        revision: record.revision,
        position: record.position,
        recorded_at: record.recorded_at,
        actor: metadata.actor,
        request_id: metadata.request_id,
        caused_by: metadata.caused_by,
    };
    Recorded { envelope, event }
}

/// Folds a record into a live projection. The stream of one that cannot be read or folded is put in
/// quarantine, and folding goes on after it.
///
/// # Errors
/// What is wrong with the record.
pub fn fold(live: &Live, record: &Record) -> Result<Recorded, Box<Poison>> {
    fold_event(live, record, read(record), false)
}

/// Folds the event of a record into a live projection. One that cannot be read or folded quarantines its stream, unless
/// it is to be refused (`strict`).
pub(super) fn fold_event(
    live: &Live,
    record: &Record,
    event: Result<Recorded, UnreadableError>,
    strict: bool,
) -> Result<Recorded, Box<Poison>> {
    let poison = |reason| {
        Box::new(Poison {
            position: record.position,
            event_id: record.event_id,
            stream: record.stream.clone(),
            event_type: record.type_name.clone(),
            reason,
        })
    };
    let folded = event.map_err(|error| poison(with_sources(&error))).and_then(|recorded| {
        live.apply(&recorded).map_err(|error| poison(error.to_string()))?;
        Ok(recorded)
    });
    folded.inspect_err(|poison| {
        if !strict {
            live.quarantine(Poison::clone(poison));
        }
    })
}

/// An error and what it comes from, in one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        // Some errors say their source themselves.
        let said = error.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = error.source();
    }
    text
}

/// Writes an event as a record.
pub(super) fn write(
    event_id: EventId,
    event: &Event,
    metadata: &Metadata,
    recorded_at: Timestamp,
) -> Result<NewRecord, EncodeError> {
    let encoded = codec::encode(event)?;
    Ok(NewRecord {
        event_id,
        type_name: encoded.type_name.to_owned(),
        version: encoded.version,
        recorded_at,
        metadata: metadata.to_json()?,
        payload: encoded.payload,
        moved: false,
    })
}
