//! The newest records in memory, so that live subscribers do not read the file for what was just written.
//! Knows: committed batches, in order. Must not know: who follows.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

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
    batches: VecDeque<Arc<[Record]>>,
    bytes: usize,
}

impl Tail {
    /// Adds a batch that was just committed.
    pub(super) fn push(&self, batch: Arc<[Record]>) {
        let mut dropped = Vec::new();
        let mut tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// The records after a position, at most about `limit`; none if the oldest of them is not here.
    pub(super) fn after(&self, after: Position, limit: usize) -> Option<Vec<Record>> {
        let tail = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = tail.batches.front()?.first()?;
        if first.position.as_u64() > after.as_u64().saturating_add(1) {
            return None;
        }
        let start =
            tail.batches.partition_point(|batch| batch.last().is_none_or(|last| last.position <= after));
        let mut count = 0;
        let mut more = |batch: &&Arc<[Record]>| {
            let before = count;
            count += batch.len();
            before < limit
        };
        let wanted: Vec<_> = tail.batches.range(start..).take_while(&mut more).cloned().collect();
        drop(tail);
        let records = wanted.iter().flat_map(|batch| batch.iter());
        Some(records.filter(|record| record.position > after).take(limit).cloned().collect())
    }
}

fn size(batch: &[Record]) -> usize {
    batch.iter().map(|record| record.payload.len() + record.metadata.len() + RECORD_BYTES).sum()
}
