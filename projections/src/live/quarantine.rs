//! Streams whose state is not known, because one of their events cannot be read or folded. Knows: their
//! names, and why. Must not know: what follows from that for the tables.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use grantbook_events::{EventId, Position, StreamName};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

/// An event that cannot be read or folded. From its position on nothing is known of its stream, and nothing
/// in the stream counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Poison {
    /// Where the event is.
    pub position: Position,
    /// Names the event.
    pub event_id: EventId,
    /// The stream it is in.
    pub stream: StreamName,
    /// Its stored type name, whether that is known here or not.
    pub event_type: String,
    /// What is wrong with it, in words.
    pub reason: String,
}

#[derive(Debug, Default)]
pub(super) struct Quarantine {
    /// Nearly always none: then no reader needs the lock.
    count: AtomicUsize,
    streams: RwLock<BTreeMap<StreamName, Arc<Poison>>>,
}

impl Quarantine {
    /// Takes a stream in, unless it is in already: the first event that is wrong is the one to know.
    pub(super) fn add(&self, poison: Poison) {
        let mut streams = self.streams.write();
        streams.entry(poison.stream.clone()).or_insert_with(|| Arc::new(poison));
        self.count.store(streams.len(), Ordering::Release);
    }

    pub(super) fn get(&self, stream: &StreamName) -> Option<Arc<Poison>> {
        if self.is_empty() {
            return None;
        }
        self.streams.read().get(stream).cloned()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// All of it, in the order of positions.
    pub(super) fn all(&self) -> Vec<Arc<Poison>> {
        let mut all: Vec<_> = self.streams.read().values().cloned().collect();
        all.sort_by_key(|poison| poison.position);
        all
    }
}
