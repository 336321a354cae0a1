//! The log that all nodes share. Knows: events, their places, and what is read from where. Must not know: whether
//! an append is right, or that there is a network.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use uuid::Uuid;

use crate::event::{Event, Proposed};
use crate::retention::{self, Retention};

/// What an event takes in the log beside its data and metadata: positions have gaps.
const FRAME: u64 = 100;

/// Events in the order they were committed. Places are indices into it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    events: Vec<Arc<Event>>,
    /// The position of each event, which stays right if the event itself is tampered with.
    positions: Vec<u64>,
    streams: HashMap<Arc<str>, Vec<usize>>,
    /// The latest place of each id.
    ids: HashMap<Uuid, usize>,
    retentions: HashMap<Arc<str>, Retention>,
}

impl Log {
    /// How many events there are.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Puts an event at the end of a stream.
    pub fn push(&mut self, stream: &str, new: Proposed, created: u64) -> Arc<Event> {
        let known = self.streams.get_key_value(stream).map(|(name, _)| Arc::clone(name));
        let stream = known.unwrap_or_else(|| Arc::from(stream));
        let places = self.streams.entry(Arc::clone(&stream)).or_default();
        let revision = places.len() as u64;
        places.push(self.events.len());
        let last = self.positions.last().copied().unwrap_or(0);
        let position = last + FRAME + new.size() as u64;
        self.positions.push(position);
        self.ids.insert(new.id, self.events.len());
        let Proposed { id, event_type, content_type, data, custom_metadata } = new;
        let event = Arc::new(Event {
            id,
            stream,
            revision,
            position,
            created,
            event_type,
            content_type,
            data,
            custom_metadata,
        });
        if let Some(subject) = retention::subject_of(&event) {
            self.retentions.insert(Arc::from(subject), Retention::parse(&event.data));
        }
        self.events.push(Arc::clone(&event));
        event
    }

    /// The first events of a range of places.
    pub fn page(&self, places: Range<usize>, limit: usize) -> &[Arc<Event>] {
        let end = places.end.min(self.len()).min(places.start.saturating_add(limit));
        self.events.get(places.start..end).unwrap_or_default()
    }

    /// The position of a place that has one.
    pub fn position(&self, place: usize) -> Option<u64> {
        self.positions.get(place).copied()
    }

    /// The first place that is not before a position.
    pub fn place_at(&self, position: u64) -> usize {
        self.positions.partition_point(|&at| at < position)
    }

    /// The first place behind a position.
    pub fn place_after(&self, position: u64) -> usize {
        self.positions.partition_point(|&at| at <= position)
    }

    /// The places of a stream that are before `until`: the revision is the index.
    pub fn places(&self, stream: &str, until: usize) -> Option<&[usize]> {
        let places = self.streams.get(stream)?;
        Some(&places[..places.partition_point(|&place| place < until)]).filter(|places| !places.is_empty())
    }

    /// The last revision of a stream.
    pub fn last_revision(&self, stream: &str) -> Option<u64> {
        self.streams.get(stream).map(|places| places.len() as u64 - 1)
    }

    /// The event at a revision.
    pub fn event(&self, stream: &str, revision: u64) -> Option<&Arc<Event>> {
        let place = self.streams.get(stream)?.get(usize::try_from(revision).ok()?)?;
        self.events.get(*place)
    }

    /// The event that has an id, the latest if several have.
    pub fn event_with(&self, id: Uuid) -> Option<&Arc<Event>> {
        self.events.get(*self.ids.get(&id)?)
    }

    /// What may be read of a stream.
    pub fn retention(&self, stream: &str) -> Retention {
        self.retentions.get(stream).copied().unwrap_or_else(|| Retention::unwritten(stream))
    }

    /// The event at a place.
    pub fn at(&self, place: usize) -> Option<&Arc<Event>> {
        self.events.get(place)
    }

    /// Changes the event at a revision; says whether there is one.
    pub fn tamper(&mut self, stream: &str, revision: u64, change: impl FnOnce(&mut Event)) -> bool {
        let places = self.streams.get(stream);
        let place = usize::try_from(revision).ok().and_then(|index| places?.get(index).copied());
        let Some(event) = place.and_then(|place| self.events.get_mut(place)) else { return false };
        change(Arc::make_mut(event));
        true
    }
}
