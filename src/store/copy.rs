//! One ledger moved into another store, record by record. Knows: order, digests, and what may stand in the
//! way. Must not know: which stores these are, or what the records mean.
//!
//! Records are appended in the order they have in the source, so the copy reads the same from the first to the last,
//! and a copy that was interrupted goes on where it ended. What is there already is compared first, and everything is
//! compared again at the end, each record by its digest, which covers all of it but its position.

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::Position;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Expected, MAX_APPEND_EVENTS, Record, Run, Signal, Store, StoreError, Subscription};

/// What is there already is compared.
pub const COMPARING: &str = "compare";
/// What is missing is appended.
const COPYING: &str = "copy";
/// Everything is compared.
const VERIFYING: &str = "verify";
/// The most bytes of payload and metadata that are appended at once: under every store's limit with what it
/// keeps beside them.
const MAX_BYTES: usize = 512 * 1024;
/// How many records, and bytes of payload and metadata, are on their way at once, about.
const WINDOW: usize = 512;
const WINDOW_BYTES: usize = 4 << 20;
/// How often a copy that broke off is taken up again without having come further.
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
    let (mut first_found, mut furthest, mut tries, mut pause) = (None, 0, 0, FIRST_PAUSE);
    let found = loop {
        // What is there is read again after each break: some of what was on its way may be there.
        let mut from = Reader::new(source, head).await?;
        let compared = from.compare(target, |records, at| step(COMPARING, records, at)).await?;
        let found = *first_found.get_or_insert(compared.records);
        if compared.records > furthest {
            (furthest, tries, pause) = (compared.records, 0, FIRST_PAUSE);
        }
        let already = compared.records - found;
        match from.append_to(target, compared.next, |records, at| step(COPYING, already + records, at)).await
        {
            Ok(()) => break found,
            Err(StoreError::Unavailable(why)) if tries < MAX_TRIES => {
                tracing::warn!(why, again_in = ?pause, "a copy broke off and is taken up again");
                tokio::time::sleep(pause).await;
                (tries, pause) = (tries + 1, pause * 2);
            }
            Err(error) => return Err(error),
        }
    };
    let mut from = Reader::new(source, head).await?;
    let verified = from.compare(target, |records, at| step(VERIFYING, records, at)).await?;
    match verified.next {
        None => {
            let (identity, appended) = (ours.identity, verified.records - found);
            Ok(Copied { identity, found, appended, head, digest: verified.digest })
        }
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

/// The records of a store one by one, up to a position. The store reads on meanwhile.
struct Reader {
    until: Position,
    subscription: Subscription,
    /// Of the last one given.
    position: Position,
    page: std::vec::IntoIter<Record>,
    is_over: bool,
}

impl Reader {
    async fn new(store: &dyn Store, until: Position) -> Result<Self, StoreError> {
        let subscription = store.subscribe(Position::START).await?;
        let page = Vec::new().into_iter();
        Ok(Self { until, subscription, position: Position::START, page, is_over: false })
    }

    async fn next(&mut self) -> Result<Option<Record>, StoreError> {
        loop {
            if let Some(record) = self.page.next() {
                if record.position > self.until {
                    return Ok(None);
                }
                StoreError::of_fault(&record)?;
                self.position = record.position;
                return Ok(Some(record));
            }
            if self.is_over {
                return Ok(None);
            }
            match self.subscription.next().await {
                Signal::Records(records) => self.page = Arc::unwrap_or_clone(records).into_iter(),
                Signal::CaughtUp => self.is_over = true,
                Signal::UpTo(_) => {}
                Signal::Lost(error) => return Err(error),
            }
        }
    }

    /// Reads on for as long as the target has records, which must be the same.
    async fn compare(
        &mut self,
        target: &dyn Store,
        mut tell: impl FnMut(u64, Position),
    ) -> Result<Compared, StoreError> {
        let mut there = Self::new(target, Position::new(u64::MAX)).await?;
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

    /// Appends a record and all that follow it, a window at a time.
    async fn append_to(
        &mut self,
        target: &dyn Store,
        mut next: Option<Record>,
        mut tell: impl FnMut(u64, Position),
    ) -> Result<(), StoreError> {
        let mut appended = 0;
        while next.is_some() {
            let (mut window, mut bytes) = (Vec::new(), 0);
            while window.len() < WINDOW
                && bytes < WINDOW_BYTES
                && let Some(record) = next.take()
            {
                bytes += size(&record);
                window.push(record);
                next = self.next().await?;
            }
            appended += window.len() as u64;
            let at = window.last().map_or(self.position, |last| last.position);
            target.copy_in(runs(window)).await?;
            tell(appended, at);
        }
        Ok(())
    }
}

const fn size(record: &Record) -> usize {
    record.payload.len() + record.metadata.len()
}

/// Records that can be appended together, because they follow each other in one stream.
fn runs(records: Vec<Record>) -> Vec<Run> {
    let (mut runs, mut bytes) = (Vec::<Run>::new(), 0);
    for record in records {
        bytes += size(&record);
        match runs.last_mut() {
            Some(run)
                if run.records.len() < MAX_APPEND_EVENTS
                    && bytes <= MAX_BYTES
                    && run.stream == record.stream =>
            {
                run.records.push(record);
            }
            _ => {
                bytes = size(&record);
                let (stream, expected) = (record.stream.clone(), Expected::before(record.revision));
                runs.push(Run { stream, expected, records: vec![record] });
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use grantbook_events::Revision;

    use super::*;
    use crate::store::contract::{fresh_stream, new_records};
    use crate::store::lying::{Fault, LyingStore, Script};
    use crate::store::{MAX_PAGE, MemoryStore};

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
                Err(StoreError::Target(why)) => panic!("{why}"),
                Err(_) => interruptions += 1,
            }
        };
        assert!(interruptions > 2 && copied.found > 0, "{interruptions}");
        let unknown = lying
            .told()
            .iter()
            .filter(|fault| matches!(fault, Fault::UnknownAndDone | Fault::UnknownAndLost))
            .count();
        assert!(unknown > 2, "{unknown}");
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
