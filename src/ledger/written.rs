//! Events that this node wrote lately, so that what follows the ledger here need not decode them. Knows: event ids.
//! Must not know: who follows.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use grantbook_events::codec::Metadata;
use grantbook_events::{Event, EventId, Recorded};
use parking_lot::Mutex;

use super::recorded::{self, UnreadableError};
use crate::store::Record;

/// How many events are kept. What is older is decoded from its record.
const MAX_EVENTS: usize = 2048;

#[derive(Debug)]
pub(super) struct WrittenEvent {
    pub event: Event,
    pub metadata: Metadata,
}

#[derive(Debug, Default)]
pub(super) struct Written(Mutex<Recent>);

#[derive(Debug, Default)]
struct Recent {
    events: HashMap<EventId, Arc<WrittenEvent>>,
    /// Oldest first.
    order: VecDeque<EventId>,
}

impl Written {
    /// Keeps an event that is about to be appended.
    pub(super) fn keep(&self, event_id: EventId, event: Arc<WrittenEvent>) {
        let mut recent = self.0.lock();
        if recent.order.len() >= MAX_EVENTS
            && let Some(oldest) = recent.order.pop_front()
        {
            recent.events.remove(&oldest);
        }
        recent.order.push_back(event_id);
        recent.events.insert(event_id, event);
    }

    /// The event of a record: the one that was written, or decoded.
    pub(super) fn read(&self, record: &Record) -> Result<Recorded, UnreadableError> {
        let kept = self.0.lock().events.get(&record.event_id).cloned();
        match kept.filter(|_| record.fault.is_none()) {
            Some(kept) => Ok(recorded::placed(record, kept.event.clone(), kept.metadata.clone())),
            None => recorded::read(record),
        }
    }
}
