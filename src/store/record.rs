//! Records and the digest chain of a stream. Knows: bytes. Must not know: what they mean.

use std::fmt;

use grantbook_events::{EventId, Position, Revision, StreamName, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// A record on its way into a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// Random per attempt, reused only to retry that attempt.
    pub event_id: EventId,
    /// The stored type name.
    pub type_name: String,
    /// The version of the payload.
    pub version: u16,
    /// When it was recorded. A store with one writer takes the time of the last record of the ledger instead, if
    /// that is later ([`Store::latest_time`](super::Store::latest_time)).
    pub recorded_at: Timestamp,
    /// The rest of the envelope, a JSON object.
    pub metadata: String,
    /// The payload, a JSON object.
    pub payload: String,
    /// Whether it comes out of another store: then it keeps its time, whatever that is.
    pub moved: bool,
}

impl NewRecord {
    /// Moves its time up to that of the last record of the ledger, unless it keeps its own. Gives the later of
    /// the two.
    pub(super) fn not_before(&mut self, latest: Timestamp) -> Timestamp {
        if !self.moved {
            self.recorded_at = self.recorded_at.max(latest);
        }
        self.recorded_at.max(latest)
    }

    /// Bytes of payload and metadata, which is what the limits count.
    pub fn size(&self) -> usize {
        self.payload.len() + self.metadata.len()
    }

    /// The record at its place in a stream, its digest chained to the one before it
    /// ([`ChainDigest::NONE`] for the first).
    pub fn place(
        self,
        stream: StreamName,
        revision: Revision,
        position: Position,
        previous_digest: ChainDigest,
    ) -> Record {
        let mut record = Record {
            position,
            stream,
            revision,
            event_id: self.event_id,
            type_name: self.type_name,
            version: self.version,
            recorded_at: self.recorded_at,
            metadata: self.metadata,
            payload: self.payload,
            previous_digest,
            digest: ChainDigest::NONE,
            link: Link::Unkept,
            fault: None,
        };
        record.digest = record.computed_digest();
        record
    }
}

/// A record at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place among all records.
    pub position: Position,
    /// The stream it is in.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Names the event.
    pub event_id: EventId,
    /// The stored type name.
    pub type_name: String,
    /// The version of the payload.
    pub version: u16,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// The rest of the envelope, a JSON object.
    pub metadata: String,
    /// The payload, a JSON object.
    pub payload: String,
    /// The digest of the record before it in its stream.
    pub previous_digest: ChainDigest,
    /// The digest over all of the above except the position, which differs from store to store.
    pub digest: ChainDigest,
    /// Where the store looks for the record before it in its stream. No digest covers it.
    pub link: Link,
    /// Why it is not a record that grantbook wrote, or says that its stream is not whole. Then only its place means
    /// anything.
    pub fault: Option<Box<str>>,
}

/// Where a store looks for the record before one in its stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It keeps nothing of the kind beside the record.
    Unkept,
    /// There; none: the record is the first.
    Kept(Option<Position>),
}

impl Link {
    /// Where it looks; none also if it keeps nothing of the kind.
    pub const fn previous(self) -> Option<Position> {
        match self {
            Self::Unkept => None,
            Self::Kept(previous) => previous,
        }
    }
}

impl Record {
    /// The digest this record should carry. Every field is preceded by its length, so that no two
    /// records share an encoding.
    pub fn computed_digest(&self) -> ChainDigest {
        let mut hasher = Sha256::new();
        let mut field = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.previous_digest.as_bytes());
        field(self.stream.as_str().as_bytes());
        field(&self.revision.as_u64().to_le_bytes());
        field(self.event_id.as_uuid().as_bytes());
        field(self.type_name.as_bytes());
        field(&self.version.to_le_bytes());
        field(&self.recorded_at.as_micros().to_le_bytes());
        field(self.metadata.as_bytes());
        field(self.payload.as_bytes());
        ChainDigest(hasher.finalize().into())
    }

    /// The record without its place, to be appended elsewhere.
    pub fn unplaced(self) -> NewRecord {
        NewRecord {
            event_id: self.event_id,
            type_name: self.type_name,
            version: self.version,
            recorded_at: self.recorded_at,
            metadata: self.metadata,
            payload: self.payload,
            moved: true,
        }
    }

    /// Whether the record is what was written.
    pub fn is_intact(&self) -> bool {
        self.computed_digest() == self.digest
    }
}

/// SHA-256 over a record and the digest of its predecessor in the stream.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChainDigest([u8; 32]);

impl ChainDigest {
    /// What the first record of a stream follows.
    pub const NONE: Self = Self([0; 32]);

    /// Wraps 32 stored bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChainDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
