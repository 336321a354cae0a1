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

/// What is there already is compared.
pub const COMPARING: &str = "compare";
/// What is missing is appended.
const COPYING: &str = "copy";
/// Everything is compared.
const VERIFYING: &str = "verify";
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
    /// `compare`, `copy` or `verify`.
    pub phase: &'static str,
    /// Records done in this phase.
    pub records: u64,
    /// Where in the source.
    pub position: Position,
    /// Where the source ended when this began.
    pub head: Position,
}

/// A copy that is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub identity: Uuid,
    /// Records that were there before.
    pub found: u64,
    pub appended: u64,
    /// Up to where in the source.
    pub head: Position,
    /// SHA-256 over the digests of all records, in their order: the same in the source and the copy.
    pub digest: [u8; 32],
}

/// Copies what the source has now into the target, which is empty or has a part of it already.
///
/// # Errors
/// `Target` if the target has something else, or more, or is appended to meanwhile; or what broke in a store. What was
/// copied is kept, and the same copy goes on there.
pub async fn copy(
    source: &dyn Store,
    target: &dyn Store,
    mut tell: impl FnMut(CopyStep),
) -> Result<Copied, StoreError> {
    let (ours, theirs) = (source.head().await?, target.head().await?);
    if ours.identity != theirs.identity {
        return Err(StoreError::Target(format!(
            "the target is another ledger ({}) than the source ({}): copy into an empty one",
            theirs.identity, ours.identity
        )));
    }
    let head = ours.position;
    let mut step = |phase, records, position| tell(CopyStep { phase, records, position, head });
    let mut from = Reader::new(source, head);
    let compared = from.compare(target, |records, at| step(COMPARING, records, at)).await?;
    let (found, mut next, mut appended) = (compared.records, compared.next, 0);
    while let Some(first) = next {
        let batch = from.batch(first).await?;
        appended += batch.len() as u64;
        append(target, batch).await?;
        step(COPYING, appended, from.position);
        next = from.next().await?;
    }
    let mut from = Reader::new(source, head);
    let verified = from.compare(target, |records, at| step(VERIFYING, records, at)).await?;
    match verified.next {
        None => Ok(Copied { identity: ours.identity, found, appended, head, digest: verified.digest }),
        Some(missing) => Err(differs(verified.position, None, Some(&missing))),
    }
}

/// Both are at the target's position.
fn differs(position: Position, found: Option<&Record>, expected: Option<&Record>) -> StoreError {
    let named = |record: Option<&Record>| match record {
        Some(Record { event_id, revision, stream, .. }) => {
            format!("event {event_id} (revision {revision} of {stream})")
        }
        None => "nothing more".to_owned(),
    };
    let (found, expected) = (named(found), named(expected));
    StoreError::Target(format!(
        "the target has {found} at its position {position}, where the source has {expected}: copy into an empty one"
    ))
}

/// Appends records of one stream that follow each other.
async fn append(target: &dyn Store, batch: Vec<Record>) -> Result<(), StoreError> {
    let Some(first) = batch.first() else { return Ok(()) };
    let (stream, expected) = (first.stream.clone(), Expected::before(first.revision));
    let records: Vec<NewRecord> = batch.into_iter().map(Record::unplaced).collect();
    let (mut pause, mut unknown) = (FIRST_PAUSE, String::new());
    for _ in 0..MAX_TRIES {
        // With the same ids, so that one that happened does not happen again.
        match target.append(&stream, expected, records.clone()).await? {
            Append::Appended { .. } => return Ok(()),
            Append::Conflict { .. } => {
                return Err(StoreError::Target(format!(
                    "stream {stream} of the target changed meanwhile: nobody may serve it while it is copied to"
                )));
            }
            Append::Unknown { reason } => unknown = reason,
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(StoreError::Target(format!(
        "it is not known whether records were appended: {unknown}; copy again, and it is found out"
    )))
}

/// What two stores have in common.
struct Compared {
    records: u64,
    /// Over the digests of the records.
    digest: [u8; 32],
    /// Where the target ends.
    position: Position,
    /// What the source has after that.
    next: Option<Record>,
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

    /// Reads on for as long as the target has records, which must be the same.
    async fn compare(
        &mut self,
        target: &dyn Store,
        mut tell: impl FnMut(u64, Position),
    ) -> Result<Compared, StoreError> {
        let mut there = Reader::new(target, Position::new(u64::MAX));
        let (mut hasher, mut records) = (Sha256::new(), 0);
        loop {
            let (next, found) = (self.next().await?, there.next().await?);
            let Some(found) = found else {
                let digest = hasher.finalize().into();
                return Ok(Compared { records, digest, position: there.position, next });
            };
            // Read from a store, a record is intact, so equal digests are equal records.
            if next.as_ref().is_none_or(|next| next.digest != found.digest) {
                return Err(differs(found.position, Some(&found), next.as_ref()));
            }
            hasher.update(found.digest.as_bytes());
            records += 1;
            tell(records, self.position);
        }
    }

    /// A record and those after it that can be appended with it.
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
        assert_eq!(phases, [COPYING, VERIFYING]);
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
                Err(StoreError::Target(why)) if !why.contains("it is not known") => panic!("{why}"),
                Err(_) => interruptions += 1,
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
        assert!(error.to_string().starts_with("the target is another ledger"), "{error}");
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
        assert!(error.to_string().starts_with("the target has event"), "{error}");
        assert_eq!(all(&*different).await.len(), 1, "nothing was added");
    }
}
