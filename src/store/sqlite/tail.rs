//! The newest records in memory, so that live subscribers do not read the file for what was just written.
//! Knows: committed batches, in order. Must not know: who follows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::Position;

use crate::store::Record;

/// How many bytes of payload and metadata are kept, about.
const KEEP_BYTES: usize = 16 << 20;
/// What a record costs beside its payload and metadata, about.
const RECORD_BYTES: usize = 400;

/// The newest records.
#[derive(Debug, Default)]
pub(super) struct Tail(Mutex<Batches>);

#[derive(Debug, Default)]
struct Batches {
    batches: VecDeque<Arc<Vec<Record>>>,
    bytes: usize,
}

impl Tail {
    /// Adds a batch that was just committed.
    pub(super) fn push(&self, batch: Arc<Vec<Record>>) {
        let mut dropped = Vec::new();
        let mut tail = self.lock();
        tail.bytes += size(&batch);
        tail.batches.push_back(batch);
        while tail.bytes > KEEP_BYTES && tail.batches.len() > 1 {
            let Some(oldest) = tail.batches.pop_front() else { break };
            tail.bytes -= size(&oldest);
            dropped.push(oldest);
        }
        // Freeing can wait until nobody waits for the lock.
        drop(tail);
    }

    /// The records after a position, batch by batch; none if the oldest of them is not here.
    pub(super) fn after(&self, after: Position) -> Option<Vec<Arc<Vec<Record>>>> {
        let tail = self.lock();
        let start = tail.batch_after(after)?;
        let mut batches: Vec<_> = tail.batches.range(start..).cloned().collect();
        drop(tail);
        if let Some(first) = batches.first_mut() {
            cut(first, after);
        }
        Some(batches)
    }

    /// The next few records after a position, if they are here.
    pub(super) fn next(&self, after: Position) -> Option<Arc<Vec<Record>>> {
        let tail = self.lock();
        let mut batch = Arc::clone(tail.batches.get(tail.batch_after(after)?)?);
        drop(tail);
        cut(&mut batch, after);
        Some(batch)
    }

    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batches {
    /// The index of the batch with the record after a position; none if that record was here and went.
    fn batch_after(&self, after: Position) -> Option<usize> {
        let first = self.batches.front()?.first()?;
        if first.position.as_u64() > after.as_u64().saturating_add(1) {
            return None;
        }
        Some(self.batches.partition_point(|batch| batch.last().is_none_or(|last| last.position <= after)))
    }
}

/// Leaves out what is not after a position.
fn cut(batch: &mut Arc<Vec<Record>>, after: Position) {
    let older = batch.partition_point(|record| record.position <= after);
    if older > 0 {
        *batch = Arc::new(batch[older..].to_vec());
    }
}

fn size(batch: &[Record]) -> usize {
    batch.iter().map(|record| record.payload.len() + record.metadata.len() + RECORD_BYTES).sum()
}
