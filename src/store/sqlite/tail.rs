//! The newest records in memory, so that live subscribers do not read the file for what was just written.
//! Knows: committed batches, in order. Must not know: who follows.

use std::collections::VecDeque;
use std::sync::Arc;

use grantbook_events::Position;
use parking_lot::Mutex;

use crate::store::Record;

/// How many bytes of payload and metadata are kept, about.
const KEEP_BYTES: usize = 2 << 20;
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
        let mut tail = self.0.lock();
        tail.bytes += size(&batch);
        tail.batches.push_back(batch);
        while tail.bytes > KEEP_BYTES && tail.batches.len() > 1 {
            let Some(oldest) = tail.batches.pop_front() else { break };
            tail.bytes -= size(&oldest);
            dropped.push(oldest);
        }
        // The memory is freed without the lock.
        drop(tail);
    }

    /// The next few records after a position, if they are here.
    pub(super) fn next(&self, after: Position) -> Option<Arc<Vec<Record>>> {
        let tail = self.0.lock();
        let first = tail.batches.front()?.first()?;
        if first.position.as_u64() > after.as_u64().saturating_add(1) {
            return None;
        }
        let is_older = |batch: &Arc<Vec<Record>>| batch.last().is_none_or(|last| last.position <= after);
        let batch = Arc::clone(tail.batches.get(tail.batches.partition_point(is_older))?);
        drop(tail);
        match batch.partition_point(|record| record.position <= after) {
            0 => Some(batch),
            older => Some(Arc::new(batch[older..].to_vec())),
        }
    }
}

fn size(batch: &[Record]) -> usize {
    batch.iter().map(|record| record.payload.len() + record.metadata.len() + RECORD_BYTES).sum()
}
