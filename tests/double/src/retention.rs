//! What a stream's metadata says of its old events. Knows: `$maxCount`, `$maxAge` and `$tb`. Must not know: where
//! events rest; they stay in the log until a scavenge.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::event::Event;

/// The prefix of the stream that holds another one's metadata.
const METADATA_STREAM: &str = "$$";
/// The type of an event with metadata of a stream.
pub(crate) const METADATA_TYPE: &str = "$metadata";
/// How many units of [`Event::created`] a second has.
pub(crate) const TICKS_PER_SECOND: u64 = 10_000_000;

/// The last revision that there can be: a stream that is truncated before it is deleted, and a tombstone has it.
pub(crate) const DELETED: u64 = i64::MAX.cast_unsigned();

/// Which events of a stream can still be read from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    max_count: Option<u64>,
    /// Seconds.
    max_age: Option<u64>,
    truncate_before: Option<u64>,
}

/// The stream that holds the metadata of this one.
pub(crate) fn metadata_stream_of(stream: &str) -> String {
    format!("{METADATA_STREAM}{stream}")
}

/// The stream whose metadata an event is, if it is any.
pub(crate) fn subject_of(event: &Event) -> Option<&str> {
    original_of(&event.stream).filter(|_| event.event_type == METADATA_TYPE)
}

/// The stream that this one holds the metadata of, if it is such a one.
pub(crate) fn original_of(stream: &str) -> Option<&str> {
    stream.strip_prefix(METADATA_STREAM)
}

/// The metadata of a stream that is deleted and may be continued.
pub(crate) fn deleting() -> Bytes {
    json!({ "$tb": DELETED }).to_string().into()
}

/// The metadata of a deleted stream that is continued at a revision.
pub(crate) fn continuing(metadata: &[u8], first: u64) -> Bytes {
    let mut value: Value = serde_json::from_slice(metadata).unwrap_or_default();
    value["$tb"] = first.into();
    value.to_string().into()
}

impl Retention {
    /// Whether the stream is deleted, and may be continued.
    pub fn is_deleted(&self) -> bool {
        self.truncate_before == Some(DELETED)
    }

    /// Of a stream nobody has written metadata of. Streams with metadata keep the last event only.
    pub fn unwritten(stream: &str) -> Self {
        let max_count = stream.starts_with(METADATA_STREAM).then_some(1);
        Self { max_count, ..Self::default() }
    }

    /// What the data of a metadata event says. What is not understood is as if it were not there.
    pub fn parse(data: &[u8]) -> Self {
        let value: Value = serde_json::from_slice(data).unwrap_or_default();
        let number = |name| value.get(name).and_then(Value::as_u64);
        Self { max_count: number("$maxCount"), max_age: number("$maxAge"), truncate_before: number("$tb") }
    }

    /// The first revision that may be read of a stream that ends with `last`.
    pub fn first_revision(&self, last: u64) -> u64 {
        let counted = self.max_count.map_or(0, |count| (last + 1).saturating_sub(count));
        counted.max(self.truncate_before.unwrap_or(0))
    }

    /// Whether an event is young enough, at a time in the units of [`Event::created`].
    pub fn keeps(&self, event: &Event, now: u64) -> bool {
        let age = now.saturating_sub(event.created);
        self.max_age.is_none_or(|seconds| age <= seconds.saturating_mul(TICKS_PER_SECOND))
    }
}
