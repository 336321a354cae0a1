//! Where records rest. Knows: records, streams, revisions, positions, bytes and their digests. Must not
//! know: what an event means, or what may happen next.
//!
//! Every store keeps the same contract, held by one suite (`contract.rs`):
//!
//! - An append is all or nothing, durable before it is acknowledged, and retrying it with the same event
//!   ids is harmless.
//! - A reader never sees a position before all positions below it; nothing becomes visible behind a
//!   position already read.
//! - Revisions within a stream have no gaps. Positions are ordered and otherwise opaque.
//! - A store with one writer records nothing before its last record ([`Store::latest_time`]).

use std::sync::Arc;

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::tasks::Tasks;

mod copy;
pub mod database;
#[cfg(feature = "eventstore")]
pub(crate) mod eventstore;
#[cfg(not(feature = "eventstore"))]
#[path = "no_eventstore.rs"]
mod eventstore;
mod evidence;
mod follow;
mod lock;
mod memory;
mod record;
mod sqlite;
#[cfg(test)]
mod tests;

pub use self::eventstore::{EventStore, Target as EventStoreTarget};
pub use copy::{COMPARING, Copied, CopyStep, copy};
pub use evidence::{AcceptLoss, AcceptedLoss, Evidence, Seen, SeenMark, SeenRecord};
pub use lock::{Lock, held};
pub use memory::MemoryStore;
pub use record::{ChainDigest, Link, NewRecord, Record};
pub use sqlite::{
    IndexCheck, LOCK_FILE as SQLITE_LOCK_FILE, Options as SqliteOptions, SqliteStore, backup, restore,
};
#[cfg(test)]
pub(crate) use tests::{contract, lagging, lying};

/// The largest payload plus metadata of one event, in bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;
/// The most events in one append.
pub const MAX_APPEND_EVENTS: usize = 256;
/// The largest append, in bytes of payload and metadata: under EventStoreDB's 1 MiB.
pub const MAX_APPEND_BYTES: usize = 960 * 1024;
/// The most records `read_all` returns at once.
pub const MAX_PAGE: usize = 4096;

/// A place where records rest.
#[async_trait]
pub trait Store: Send + Sync + std::fmt::Debug + 'static {
    /// Appends records to one stream, all or none, if the stream is exactly where `expected` says.
    /// When this returns `Appended`, the records are durable.
    ///
    /// Retrying with the same event ids is harmless: if the records already stand right after the
    /// expected revision, the answer is `Appended` with their places.
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError>;

    /// Appends records of another ledger as they are and in their order. After an error, some of them may be there: what is
    /// there has to be read before going on.
    ///
    /// # Errors
    /// `Target` if a stream is not where its run follows.
    async fn copy_in(&self, runs: Vec<Run>) -> Result<(), StoreError> {
        for Run { stream, expected, records } in runs {
            let records = records.into_iter().map(Record::unplaced).collect();
            self.append(&stream, expected, records).await?.of_copy(&stream)?;
        }
        Ok(())
    }

    /// The records of one stream from a revision on, in order. A stream that does not exist is empty.
    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError>;

    /// The next records of the whole ledger, in commit order: at most `limit` (capped at [`MAX_PAGE`]);
    /// fewer, even one, does not mean the end: only an empty answer does.
    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Whether a record that was seen in this ledger is still in it.
    async fn has(&self, seen: &SeenRecord) -> Result<Found, StoreError> {
        let next = self.read_all(seen.previous, 1).await?;
        Ok(Found::of(seen, next.first(), self.head().await?.position))
    }

    /// What the store keeps to find streams, to be held against its records; `None` if it keeps nothing of the kind.
    async fn index(&self) -> Result<Option<IndexCheck>, StoreError> {
        Ok(None)
    }

    /// The threads and tasks that it needs to run, if it has any.
    fn tasks(&self) -> Option<&Tasks> {
        None
    }

    /// The position of the first record after another, whether it can be read or not, if the store knows it. A
    /// verification goes on there after a record that is damaged.
    async fn next_after(&self, _position: Position) -> Option<Position> {
        None
    }

    /// All records after a position, then `CaughtUp`, then live records for ever.
    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError>;

    /// The last position and the store's identity.
    async fn head(&self) -> Result<Head, StoreError>;

    /// Finishes what is queued, closes cleanly, and refuses appends from then on.
    async fn close(&self) -> Result<(), StoreError>;

    /// When the last record of the whole ledger was recorded, if this store records nothing before that: if it has
    /// one writer, which assigns the time. None where several nodes append, each by its own clock.
    fn latest_time(&self) -> Option<Timestamp> {
        None
    }

    /// Whether other processes append here, too. Then a subscription says every now and then how old what
    /// it has handed over is ([`Signal::UpTo`]).
    fn is_shared(&self) -> bool {
        false
    }

    /// What the store had to do again.
    fn counts(&self) -> StoreCounts {
        StoreCounts::default()
    }
}

/// Where a stream must be for an append to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// The stream does not exist.
    NoStream,
    /// The stream's last record has exactly this revision.
    Exactly(Revision),
}

impl Expected {
    /// The revision the first record of the append would get.
    pub const fn next_revision(self) -> Revision {
        match self {
            Self::NoStream => Revision::FIRST,
            Self::Exactly(revision) => revision.next(),
        }
    }

    /// The revision of the stream's last record; `None` if it does not exist.
    pub const fn last(self) -> Option<Revision> {
        match self {
            Self::NoStream => None,
            Self::Exactly(revision) => Some(revision),
        }
    }

    /// What to expect of a stream whose next record is to have this revision.
    pub fn before(next: Revision) -> Self {
        Self::after(next.as_u64().checked_sub(1).map(Revision::new))
    }

    /// What to expect of a stream whose last record is this one.
    pub const fn after(last: Option<Revision>) -> Self {
        match last {
            None => Self::NoStream,
            Some(revision) => Self::Exactly(revision),
        }
    }
}

/// Records of another ledger that follow each other in one stream: at most as many as one append may have.
#[derive(Debug)]
pub struct Run {
    pub stream: StreamName,
    pub expected: Expected,
    pub records: Vec<Record>,
}

/// How an append ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Append {
    /// Durable.
    Appended {
        /// Of the last record appended.
        revision: Revision,
        /// Of the last record appended.
        position: Position,
        /// Of the last record appended.
        recorded_at: Timestamp,
    },
    /// Nothing was appended: the stream is elsewhere.
    Conflict {
        /// The stream's last revision; `None` if it does not exist.
        actual: Option<Revision>,
    },
    /// Not known: it may or may not have been appended. Read the event at the expected next revision and
    /// compare its id, or retry with the same ids, before anything is answered.
    Unknown {
        /// What broke.
        reason: String,
    },
}

impl Append {
    /// Whether a run of a copy was appended.
    fn of_copy(self, stream: &StreamName) -> Result<(), StoreError> {
        match self {
            Self::Appended { .. } => Ok(()),
            Self::Conflict { .. } => Err(StoreError::changed_meanwhile(stream)),
            Self::Unknown { reason } => Err(StoreError::Unavailable(reason)),
        }
    }

    /// What to answer when this record is the last that was appended.
    fn after(last: &Record) -> Self {
        Self::Appended { revision: last.revision, position: last.position, recorded_at: last.recorded_at }
    }
}

/// What is in a ledger at the position of a record that was seen in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    There,
    /// The ledger ends here, before it.
    EndsBefore(Position),
    /// Another record, or none although the ledger goes on.
    Another,
}

impl Found {
    /// `next` is the first record after the one that was before it. Positions are not counted with.
    fn of(seen: &SeenRecord, next: Option<&Record>, end: Position) -> Self {
        match next {
            Some(next) if seen.is(next) => Self::There,
            _ if end < seen.position => Self::EndsBefore(end),
            _ => Self::Another,
        }
    }
}

/// Where a store ends, and which store it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last position; [`Position::START`] if the ledger is empty.
    pub position: Position,
    /// Minted when the ledger was made; tells one ledger from another.
    pub identity: Uuid,
}

/// What a subscription says next.
#[derive(Debug)]
pub enum Signal {
    /// The next records, in order, without gaps. Shared with all others that follow.
    Records(Arc<Vec<Record>>),
    /// Everything that was there when the subscription began has been handed over. Said once.
    CaughtUp,
    /// Everything that was acknowledged before this time has been handed over. Only a store that others append to
    /// says so; the time is that of the node that appended.
    UpTo(Timestamp),
    /// The subscription is over; subscribe again after the last position seen.
    Lost(StoreError),
}

/// What a store had to do again since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreCounts {
    /// Connections to the store that were made again.
    pub reconnected: u64,
    /// Subscriptions that broke off and were taken up again.
    pub resubscribed: u64,
}

/// A running subscription. Dropping it ends it.
#[derive(Debug)]
pub struct Subscription(mpsc::Receiver<Signal>);

impl Subscription {
    /// A subscription fed through a channel by a store.
    pub fn new(signals: mpsc::Receiver<Signal>) -> Self {
        Self(signals)
    }

    /// The next signal. After `Lost` there is no other. A feed that broke off without a word can be taken up again.
    pub async fn next(&mut self) -> Signal {
        let broke_off = || Signal::Lost(StoreError::Unavailable("the subscription broke off".to_owned()));
        self.0.recv().await.unwrap_or_else(broke_off)
    }
}

/// What broke in a store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// An event or an append is larger than any store takes. Nothing was sent.
    #[error("{0}")]
    TooLarge(String),
    /// The append is empty.
    #[error("an append needs at least one event")]
    EmptyAppend,
    /// Another process serves this ledger.
    #[error("{0}")]
    InUse(String),
    /// The ledger was written by a newer grantbook.
    #[error("{0}")]
    NewerFormat(String),
    /// What is stored is not what was written.
    #[error("the ledger is damaged at position {position}: {detail}; restore it from a backup")]
    Damaged {
        /// Where; the nearest position known.
        position: Position,
        /// What is wrong.
        detail: String,
    },
    /// The ledger ends before what a file of this node has seen of it, or has another record there. The text says
    /// which, and what to do; nothing was changed.
    #[error("{0}")]
    EndsEarly(String),
    /// The store cannot write: disk full, read-only, or broken. Nothing was lost; nothing new is taken.
    #[error("the ledger cannot be written: {0}")]
    CannotWrite(String),
    /// What is copied to cannot be written, or is there already. Nothing was replaced.
    #[error("{0}")]
    Target(String),
    /// The store cannot be reached or read now; the same call may succeed later.
    #[error("the ledger cannot be reached: {0}")]
    Unavailable(String),
    /// The store was closed.
    #[error("the ledger is closed")]
    Closed,
}

impl StoreError {
    /// What is wrong with a record that has a fault.
    fn of_fault(record: &Record) -> Result<(), Self> {
        record.fault.as_ref().map_or(Ok(()), |fault| {
            let detail = format!("stream {}: {fault}", record.stream);
            Err(Self::Damaged { position: record.position, detail })
        })
    }

    fn changed_meanwhile(stream: &StreamName) -> Self {
        Self::Target(format!(
            "stream {stream} of the target changed meanwhile: nobody may serve it while it is copied to"
        ))
    }
}

/// Checks the size limits that hold on every store, before anything is sent.
pub fn check_limits(records: &[NewRecord]) -> Result<(), StoreError> {
    if records.is_empty() {
        return Err(StoreError::EmptyAppend);
    }
    let sizes = || records.iter().map(NewRecord::size);
    check_size("the number of events in an append", records.len(), MAX_APPEND_EVENTS)?;
    check_size("an event", sizes().max().unwrap_or_default(), MAX_EVENT_BYTES)?;
    check_size("an append", sizes().sum(), MAX_APPEND_BYTES)
}

fn check_size(what: &str, size: usize, limit: usize) -> Result<(), StoreError> {
    match size <= limit {
        true => Ok(()),
        false => Err(StoreError::TooLarge(format!(
            "{what} is {size} bytes or events, more than the {limit} a store takes at once"
        ))),
    }
}
