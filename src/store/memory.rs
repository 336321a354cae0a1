//! The simplest store: a vector. Knows: the contract. Must not know: disks. Nothing outlives the process,
//! so it serves tests and nothing else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use tokio::sync::watch;
use uuid::Uuid;

use super::follow::{NEVER, Progress, Source, follow};
use super::{
    Append, ChainDigest, Expected, Head, MAX_PAGE, NewRecord, Record, Store, StoreError, Subscription,
    check_limits,
};

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    identity: Uuid,
    log: Arc<Log>,
    progress: watch::Sender<Progress>,
}

impl MemoryStore {
    /// An empty store with an identity.
    pub fn new(identity: Uuid) -> Arc<Self> {
        let (progress, _) = watch::channel(Progress { head: Position::START, latest: NEVER, closed: false });
        Arc::new(Self { identity, log: Arc::default(), progress })
    }
}

#[derive(Debug, Default)]
struct Log(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    records: Vec<Record>,
    /// Indices into `records`; the revision is the index into the vector.
    streams: HashMap<StreamName, Vec<usize>>,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn records_after(&self, after: Position, limit: usize) -> Vec<Record> {
        let inner = self.lock();
        let start = inner.records.partition_point(|record| record.position <= after);
        inner.records[start..].iter().take(limit).cloned().collect()
    }
}

impl Inner {
    fn append(
        &mut self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
        progress: &mut Progress,
    ) -> Append {
        let places = self.streams.entry(stream.clone()).or_default();
        let actual = places.last().map(|&last| self.records[last].revision);
        if Expected::after(actual) != expected {
            if places.is_empty() {
                self.streams.remove(stream);
            }
            return self.already_there(stream, expected, &records).unwrap_or(Append::Conflict { actual });
        }
        let mut revision = expected.next_revision();
        let mut digest = places.last().map_or(ChainDigest::NONE, |&last| self.records[last].digest);
        for mut record in records {
            progress.latest = record.not_before(progress.latest);
            progress.head = Position::new(self.records.len() as u64 + 1);
            let record = record.place(stream.clone(), revision, progress.head, digest);
            (revision, digest) = (revision.next(), record.digest);
            places.push(self.records.len());
            self.records.push(record);
        }
        self.records.last().map_or(Append::Conflict { actual }, Append::after)
    }

    fn already_there(&self, stream: &StreamName, expected: Expected, new: &[NewRecord]) -> Option<Append> {
        let first = usize::try_from(expected.next_revision().as_u64()).ok()?;
        let places = self.streams.get(stream)?.get(first..first.checked_add(new.len())?)?;
        let stored = || places.iter().map(|&place| &self.records[place]);
        let last = stored().next_back()?;
        let same = stored().zip(new).all(|(stored, new)| stored.event_id == new.event_id);
        same.then_some(Append::after(last))
    }
}

impl Source for Arc<Log> {
    async fn page(&self, after: Position) -> Result<Arc<Vec<Record>>, StoreError> {
        Ok(Arc::new(self.records_after(after, MAX_PAGE)))
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        check_limits(&records)?;
        let mut inner = self.log.lock();
        // Under the same lock as closing, so that nothing slips in behind it.
        if self.progress.borrow().closed {
            return Err(StoreError::Closed);
        }
        let mut progress = *self.progress.borrow();
        let outcome = inner.append(stream, expected, records, &mut progress);
        self.progress.send_replace(progress);
        Ok(outcome)
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        let inner = self.log.lock();
        let places = inner.streams.get(stream).map_or(&[][..], Vec::as_slice);
        let skipped = usize::try_from(from.as_u64()).unwrap_or(usize::MAX);
        Ok(places.iter().skip(skipped).map(|&place| inner.records[place].clone()).collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.log.records_after(after, limit.min(MAX_PAGE)))
    }

    fn latest_time(&self) -> Option<Timestamp> {
        Some(self.progress.borrow().latest)
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        Ok(follow(Arc::clone(&self.log), self.progress.subscribe(), after))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head { position: self.progress.borrow().head, identity: self.identity })
    }

    async fn close(&self) -> Result<(), StoreError> {
        let _no_append_runs = self.log.lock();
        self.progress.send_modify(|progress| progress.closed = true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::store_contract;

    async fn fresh() -> (Arc<dyn Store>, ()) {
        (MemoryStore::new(Uuid::from_u128(1)), ())
    }

    store_contract!(fresh);
}
