//! The simplest store: a vector. Knows: the contract. Must not know: disks. Nothing outlives the process,
//! so it serves tests and nothing else.

use std::collections::HashMap;
use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;

use super::follow::{NEVER, Progress, follow};
use super::{
    Append, ChainDigest, Expected, Head, MAX_PAGE, NewRecord, Record, Store, StoreError, Subscription,
    check_limits,
};

/// A store in memory.
#[derive(Debug)]
pub struct MemoryStore {
    identity: Uuid,
    log: Arc<Mutex<Log>>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Log {
    /// Each at the index below its position.
    records: Vec<Record>,
    /// The indices of each stream's records.
    streams: HashMap<StreamName, Vec<usize>>,
}

impl Log {
    fn after(&self, position: Position, limit: usize) -> Vec<Record> {
        let seen = usize::try_from(position.as_u64()).unwrap_or(usize::MAX);
        self.records.iter().skip(seen).take(limit).cloned().collect()
    }

    fn stream(&self, name: &StreamName, from: Revision) -> impl DoubleEndedIterator<Item = &Record> {
        let places = self.streams.get(name).map_or(&[][..], Vec::as_slice);
        let skipped = usize::try_from(from.as_u64()).unwrap_or(usize::MAX);
        places.iter().skip(skipped).map(|&place| &self.records[place])
    }
}

impl MemoryStore {
    /// An empty store with an identity.
    pub fn new(identity: Uuid) -> Arc<Self> {
        let (progress, _) = watch::channel(Progress { head: Position::START, latest: NEVER, closed: false });
        Arc::new(Self { identity, log: Arc::default(), progress })
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
        let mut log = self.log.lock();
        let mut progress = *self.progress.borrow();
        if progress.closed {
            return Err(StoreError::Closed);
        }
        let last = log.stream(stream, Revision::FIRST).next_back();
        let (actual, mut digest) = (last.map(|last| last.revision), last.map(|last| last.digest));
        if Expected::after(actual) != expected {
            let there = log.stream(stream, expected.next_revision()).take(records.len());
            let there: Vec<_> = there.collect();
            let is_retry = there.iter().map(|it| it.event_id).eq(records.iter().map(|new| new.event_id));
            let last = there.last().filter(|_| is_retry);
            return Ok(last.map_or(Append::Conflict { actual }, |last| Append::after(last)));
        }
        for (mut record, revision) in records.into_iter().zip(expected.next_revision().as_u64()..) {
            progress.latest = record.not_before(progress.latest);
            progress.head = Position::new(progress.head.as_u64() + 1);
            let previous = digest.unwrap_or(ChainDigest::NONE);
            let record = record.place(stream.clone(), Revision::new(revision), progress.head, previous);
            digest = Some(record.digest);
            let place = log.records.len();
            log.streams.entry(stream.clone()).or_default().push(place);
            log.records.push(record);
        }
        self.progress.send_replace(progress);
        Ok(log.records.last().map_or(Append::Conflict { actual }, Append::after))
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        Ok(self.log.lock().stream(stream, from).cloned().collect())
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        Ok(self.log.lock().after(after, limit.min(MAX_PAGE)))
    }

    fn latest_time(&self) -> Option<Timestamp> {
        Some(self.progress.borrow().latest)
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        let log = Arc::clone(&self.log);
        let read = move |after| ready(Ok(Arc::new(log.lock().after(after, MAX_PAGE))));
        Ok(follow(read, self.progress.subscribe(), after))
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
