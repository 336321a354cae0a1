//! The log that all nodes share. Knows: events, their places, and what is read from where. Must not know: whether
//! an append is right, or that there is a network.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use crate::event::{Event, NOT_JSON, Proposed};
use crate::retention::{self, DELETED, Retention};

/// What an event takes in the log beside its data and metadata: positions have gaps.
const FRAME: u64 = 100;

/// The type of an event that ends a stream for good.
const TOMBSTONE_TYPE: &str = "$streamDeleted";

/// Events in the order they were committed. Places are indices into it.
#[derive(Debug, Default)]
pub(crate) struct Log {
    /// `None` where a scavenge has been.
    events: Vec<Option<Arc<Event>>>,
    /// The position of each event, which stays right if the event itself is tampered with.
    positions: Vec<u64>,
    /// The places of each stream without its tombstone: the revision is the index.
    streams: HashMap<Arc<str>, Vec<usize>>,
    /// The places of tombstones.
    tombstones: HashMap<Arc<str>, usize>,
    /// The latest place of each id.
    ids: HashMap<Uuid, usize>,
    retentions: HashMap<Arc<str>, Retention>,
}

impl Log {
    /// How many events there are, with those that a scavenge took.
    pub fn len(&self) -> usize {
        self.events.len()
    }

    /// Puts an event at the end of a stream.
    pub fn push(&mut self, stream: &str, new: Proposed, created: u64) -> Arc<Event> {
        let stream = self.name(stream);
        let places = self.streams.entry(Arc::clone(&stream)).or_default();
        let revision = places.len() as u64;
        places.push(self.events.len());
        self.put(stream, revision, new, created)
    }

    /// Ends a stream for good.
    pub fn bury(&mut self, stream: &str, created: u64) -> Arc<Event> {
        let stream = self.name(stream);
        self.tombstones.insert(Arc::clone(&stream), self.events.len());
        let tombstone = Proposed::planted(TOMBSTONE_TYPE, Bytes::new(), Bytes::new());
        self.put(stream, DELETED, Proposed { content_type: NOT_JSON, ..tombstone }, created)
    }

    fn name(&self, stream: &str) -> Arc<str> {
        let known = self.streams.get_key_value(stream).map(|(name, _)| Arc::clone(name));
        known.unwrap_or_else(|| Arc::from(stream))
    }

    fn put(&mut self, stream: Arc<str>, revision: u64, new: Proposed, created: u64) -> Arc<Event> {
        let last = self.positions.last().copied().unwrap_or(0);
        let position = last + FRAME + new.size() as u64;
        self.positions.push(position);
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
        self.note(self.events.len(), &event);
        self.events.push(Some(Arc::clone(&event)));
        event
    }

    fn note(&mut self, place: usize, event: &Event) {
        self.ids.insert(event.id, place);
        if let Some(subject) = retention::subject_of(event) {
            self.retentions.insert(Arc::from(subject), Retention::parse(&event.data));
        }
    }

    /// Drops what is at a place and after it, as if it had never been.
    pub fn cut(&mut self, end: usize) {
        self.events.truncate(end);
        self.positions.truncate(end);
        self.tombstones.retain(|_, place| *place < end);
        self.streams.retain(|_, places| {
            places.retain(|place| *place < end);
            !places.is_empty()
        });
        (self.ids, self.retentions) = Default::default();
        for place in 0..self.len() {
            if let Some(event) = self.at(place).cloned() {
                self.note(place, &event);
            }
        }
    }

    /// Takes away what can no longer be read from streams, at a time in the units of [`Event::created`]. The last event
    /// of a stream stays, as it says which revision is the next one, unless there is a tombstone.
    pub fn scavenge(&mut self, now: u64) {
        let mut gone: Vec<usize> = vec![];
        for (stream, places) in &self.streams {
            let (retention, last) = (self.retention(stream), places.len() as u64 - 1);
            let first = retention.first_revision(last);
            let is_buried = self.tombstones.contains_key(stream);
            let stays = |event: &Event| {
                !is_buried
                    && (event.revision == last || event.revision >= first && retention.keeps(event, now))
            };
            gone.extend(places.iter().filter(|place| !self.at(**place).is_some_and(|event| stays(event))));
        }
        for place in gone {
            if let Some(event) = self.events[place].take() {
                self.ids.remove(&event.id);
            }
        }
    }

    /// Whether a stream has a tombstone before a place; its metadata has ended with it.
    pub fn is_buried(&self, stream: &str, until: usize) -> bool {
        let names = [Some(stream), retention::original_of(stream)];
        names.into_iter().flatten().any(|name| self.tombstones.get(name).is_some_and(|place| *place < until))
    }

    /// All that is left of a stream.
    pub fn events_of(&self, stream: &str) -> impl Iterator<Item = &Arc<Event>> {
        let places = self.streams.get(stream).into_iter().flatten();
        places.chain(self.tombstones.get(stream)).filter_map(|place| self.at(*place))
    }

    /// The first events of a range of places.
    pub fn page(&self, places: Range<usize>, limit: usize) -> &[Option<Arc<Event>>] {
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
        self.at(*place)
    }

    /// The event that has an id, the latest if several have.
    pub fn event_with(&self, id: Uuid) -> Option<&Arc<Event>> {
        self.at(*self.ids.get(&id)?)
    }

    /// What may be read of a stream.
    pub fn retention(&self, stream: &str) -> Retention {
        self.retentions.get(stream).copied().unwrap_or_else(|| Retention::unwritten(stream))
    }

    /// The event at a place.
    pub fn at(&self, place: usize) -> Option<&Arc<Event>> {
        self.events.get(place)?.as_ref()
    }

    /// Changes the event at a revision; says whether there is one.
    pub fn tamper(&mut self, stream: &str, revision: u64, change: impl FnOnce(&mut Event)) -> bool {
        let places = self.streams.get(stream);
        let place = usize::try_from(revision).ok().and_then(|index| places?.get(index).copied());
        let Some(Some(event)) = place.and_then(|place| self.events.get_mut(place)) else { return false };
        change(Arc::make_mut(event));
        true
    }
}
