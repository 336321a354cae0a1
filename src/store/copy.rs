//! One ledger moved into another store, record by record. Knows: order, digests, and what may stand in the
//! way. Must not know: which stores these are, or what the records mean.
//!
//! Records are appended in the order they have in the source, so the copy reads the same from the first to the last,
//! and a copy that was interrupted goes on where it ended. What is there already is compared first, and everything is
//! compared again at the end, each record by its digest, which covers all of it but its position.

use std::collections::VecDeque;
use std::time::Duration;

use grantbook_events::Position;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Append, Expected, MAX_APPEND_EVENTS, MAX_PAGE, NewRecord, Record, Store, StoreError};

/// The most bytes of payload and metadata that are appended at once: under every store's limit with what it
/// keeps beside them.
const MAX_BYTES: usize = 512 * 1024;
/// How often an append is made again whose outcome is not known.
const MAX_TRIES: u32 = 8;
/// The pause before it is, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How far a copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyStep {
    /// What is being done.
    pub phase: CopyPhase,
    /// Records done in this phase.
    pub records: u64,
    /// Where in the source.
    pub position: Position,
    /// Where the source ended when this began.
    pub head: Position,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CopyPhase {
    /// What is there already is compared.
    Comparing,
    /// What is missing is appended.
    Copying,
    /// Everything is compared.
    Verifying,
}

/// A copy that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Which ledger it is.
    pub identity: Uuid,
    /// Records that were there before.
    pub found: u64,
    /// Records that were appended.
    pub appended: u64,
    /// Up to where in the source.
    pub head: Position,
    /// SHA-256 over the digests of all records, in their order: the same in the source and the copy.
    pub digest: [u8; 32],
}

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A store broke, or cannot be reached. What was copied is kept, and the same copy goes on there.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The target is another ledger.
    #[error(
        "the target is another ledger ({target}) than the source ({source_identity}): copy into an empty one"
    )]
    OtherLedger {
        /// The target's identity.
        target: Uuid,
        /// The source's identity.
        source_identity: Uuid,
    },
    /// The target has something else, or more.
    #[error(
        "the target has {found} at its position {position}, where the source has {expected}: copy into an empty one"
    )]
    Differs {
        /// Where in the target.
        position: Position,
        /// What is there.
        found: String,
        /// What should be.
        expected: String,
    },
    /// Somebody else appends to the target.
    #[error("stream {0} of the target changed meanwhile: nobody may serve it while it is copied to")]
    Changed(String),
    /// An append's outcome could not be found out.
    #[error("it is not known whether records were appended: {0}; copy again, and it is found out")]
    Unknown(String),
}

/// Copies what the source has now into the target, which is empty or has a part of it already.
///
/// # Errors
/// Why there is no copy; the target keeps what was copied.
pub async fn copy(
    source: &dyn Store,
    target: &dyn Store,
    mut tell: impl FnMut(CopyStep),
) -> Result<Copied, CopyError> {
    let (ours, theirs) = (source.head().await?, target.head().await?);
    if ours.identity != theirs.identity {
        return Err(CopyError::OtherLedger { target: theirs.identity, source_identity: ours.identity });
    }
    let head = ours.position;
    let mut step = |phase, records, position| tell(CopyStep { phase, records, position, head });
    let (mut from, mut there) = (Reader::new(source, head), Reader::new(target, Position::new(u64::MAX)));
    let (mut found, mut appended) = (0, 0);
    while let Some(record) = there.next().await? {
        compare(from.next().await?.as_ref(), &record)?;
        found += 1;
        step(CopyPhase::Comparing, found, from.position);
    }
    while let Some(first) = from.next().await? {
        let batch = from.batch(first).await?;
        appended += batch.len() as u64;
        append(target, batch).await?;
        step(CopyPhase::Copying, appended, from.position);
    }
    let digest = verify(source, target, head, |records, at| step(CopyPhase::Verifying, records, at)).await?;
    Ok(Copied { identity: ours.identity, found, appended, head, digest })
}

/// Compares every record, and says what their digests come to.
async fn verify(
    source: &dyn Store,
    target: &dyn Store,
    head: Position,
    mut tell: impl FnMut(u64, Position),
) -> Result<[u8; 32], CopyError> {
    let (mut from, mut there) = (Reader::new(source, head), Reader::new(target, Position::new(u64::MAX)));
    let (mut hasher, mut records) = (Sha256::new(), 0);
    loop {
        let (expected, found) = (from.next().await?, there.next().await?);
        match (expected, found) {
            (None, None) => return Ok(hasher.finalize().into()),
            (expected, Some(found)) => {
                compare(expected.as_ref(), &found)?;
                hasher.update(found.digest.as_bytes());
                records += 1;
                tell(records, from.position);
            }
            (Some(expected), None) => {
                return Err(CopyError::Differs {
                    position: there.position,
                    found: "nothing more".to_owned(),
                    expected: named(&expected),
                });
            }
        }
    }
}

fn compare(expected: Option<&Record>, found: &Record) -> Result<(), CopyError> {
    // Read from a store, a record is intact, so equal digests are equal records.
    if expected.is_some_and(|expected| expected.digest == found.digest) {
        return Ok(());
    }
    Err(CopyError::Differs {
        position: found.position,
        found: named(found),
        expected: expected.map_or_else(|| "nothing more".to_owned(), named),
    })
}

fn named(record: &Record) -> String {
    format!("event {} (revision {} of {})", record.event_id, record.revision, record.stream)
}

/// Appends records of one stream that follow each other.
async fn append(target: &dyn Store, batch: Vec<Record>) -> Result<(), CopyError> {
    let Some(first) = batch.first() else { return Ok(()) };
    let (stream, expected) = (first.stream.clone(), Expected::before(first.revision));
    let records: Vec<NewRecord> = batch.into_iter().map(Record::unplaced).collect();
    let (mut pause, mut unknown) = (FIRST_PAUSE, String::new());
    for _ in 0..MAX_TRIES {
        // With the same ids, so that one that happened does not happen again.
        match target.append(&stream, expected, records.clone()).await? {
            Append::Appended { .. } => return Ok(()),
            Append::Conflict { .. } => return Err(CopyError::Changed(stream.to_string())),
            Append::Unknown { reason } => unknown = reason,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(CopyError::Unknown(unknown))
}

/// The records of a store one by one, up to a position.
struct Reader<'a> {
    store: &'a dyn Store,
    until: Position,
    /// Of the last one given.
    position: Position,
    page: VecDeque<Record>,
    /// How far was read.
    read: Position,
}

impl<'a> Reader<'a> {
    fn new(store: &'a dyn Store, until: Position) -> Self {
        Self { store, until, position: Position::START, page: VecDeque::new(), read: Position::START }
    }

    async fn fill(&mut self) -> Result<(), StoreError> {
        if self.page.is_empty() {
            self.page = self.store.read_all(self.read, MAX_PAGE).await?.into();
            self.read = self.page.back().map_or(self.read, |last| last.position);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Record>, StoreError> {
        self.fill().await?;
        let record = self.page.pop_front().filter(|record| record.position <= self.until);
        if let Some(record) = &record {
            self.position = record.position;
        }
        Ok(record)
    }

    /// A record and those behind it that can be appended with it.
    async fn batch(&mut self, first: Record) -> Result<Vec<Record>, StoreError> {
        let mut size = first.payload.len() + first.metadata.len();
        let mut batch = vec![first];
        while batch.len() < MAX_APPEND_EVENTS {
            self.fill().await?;
            let Some(next) = self.page.front() else { break };
            size += next.payload.len() + next.metadata.len();
            let belongs = batch.last().is_some_and(|last| last.stream == next.stream);
            if !belongs || size > MAX_BYTES || next.position > self.until {
                break;
            }
            batch.extend(self.next().await?);
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grantbook_events::Revision;

    use super::*;
    use crate::store::MemoryStore;
    use crate::store::contract::{fresh_stream, new_records};
    use crate::store::lying::{LyingStore, Script};

    const IDENTITY: Uuid = Uuid::from_u128(5);

    /// A ledger in which streams take turns.
    async fn source() -> Arc<MemoryStore> {
        let source = MemoryStore::new(IDENTITY);
        let streams: Vec<_> = (0..7).map(|_| fresh_stream()).collect();
        let mut ends = [None; 7];
        for round in 0..60 {
            let at = (round * round) % 7;
            let records = new_records(1 + round % 4);
            let count = records.len() as u64;
            source.append(&streams[at], Expected::after(ends[at]), records).await.unwrap();
            let before = ends[at].map_or(0, |last: Revision| last.as_u64() + 1);
            ends[at] = Some(Revision::new(before + count - 1));
        }
        source
    }

    async fn all(store: &dyn Store) -> Vec<Record> {
        store.read_all(Position::START, MAX_PAGE).await.unwrap()
    }

    #[tokio::test]
    async fn a_copy_is_the_same_from_the_first_to_the_last() {
        let (source, target) = (source().await, MemoryStore::new(IDENTITY));
        let mut phases = Vec::new();
        let copied = copy(&*source, &*target, |step| phases.push(step.phase)).await.unwrap();
        assert_eq!(all(&*target).await, all(&*source).await);
        assert_eq!((copied.found, copied.appended), (0, all(&*source).await.len() as u64));
        phases.dedup();
        assert_eq!(phases, [CopyPhase::Copying, CopyPhase::Verifying]);
        let again = copy(&*source, &*target, |_| {}).await.unwrap();
        assert_eq!((again.found, again.appended, again.digest), (copied.appended, 0, copied.digest));
    }

    #[tokio::test]
    async fn one_that_was_interrupted_goes_on() {
        let (source, target) = (source().await, MemoryStore::new(IDENTITY));
        let script =
            Script { append_fails: 9, unknown_and_done: 5, unknown_and_lost: 5, ..Script::default() };
        let lying = LyingStore::new(target.clone(), script, 11);
        let mut interruptions = 0;
        let copied = loop {
            match copy(&*source, &*lying, |_| {}).await {
                Ok(copied) => break copied,
                Err(CopyError::Store(_) | CopyError::Unknown(_)) => interruptions += 1,
                Err(error) => panic!("{error}"),
            }
        };
        assert!(interruptions > 2 && copied.found > 0, "{interruptions}");
        assert_eq!(all(&*target).await, all(&*source).await);
    }

    #[tokio::test]
    async fn what_is_not_empty_and_not_the_same_is_refused() {
        let source = source().await;
        let other = MemoryStore::new(Uuid::from_u128(6));
        let error = copy(&*source, &*other, |_| {}).await.unwrap_err();
        assert!(matches!(error, CopyError::OtherLedger { .. }), "{error}");
        assert_eq!(all(&*other).await, []);
        let more = MemoryStore::new(IDENTITY);
        copy(&*source, &*more, |_| {}).await.unwrap();
        more.append(&fresh_stream(), Expected::NoStream, new_records(1)).await.unwrap();
        let error = copy(&*source, &*more, |_| {}).await.unwrap_err().to_string();
        assert!(error.contains("the source has nothing more"), "{error}");
        let different = MemoryStore::new(IDENTITY);
        let first = all(&*source).await[0].stream.clone();
        different.append(&first, Expected::NoStream, new_records(1)).await.unwrap();
        let error = copy(&*source, &*different, |_| {}).await.unwrap_err();
        assert!(matches!(error, CopyError::Differs { .. }), "{error}");
        assert_eq!(all(&*different).await.len(), 1, "nothing was added");
    }
}
