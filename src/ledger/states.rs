//! The states of the streams that were decided on lately, so that a code granted a moment ago is
//! exchanged without reading its stream again. A remembered state may be behind: the append at its exact
//! revision, or a look at the store, decides.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::{Envelope, Event, EventId, Position, Recorded, Revision, StreamName, Timestamp};
use grantbook_projections::{FoldError, StreamState};

use super::Origin;

/// How many states are remembered; when they are that many, the older half goes.
const MAX_STATES: usize = 65_536;

/// The state of a stream at a revision.
#[derive(Debug, Clone)]
pub(super) struct Loaded<S> {
    pub state: S,
    /// Of the last event folded; `None` before the first.
    pub revision: Option<Revision>,
    /// When the last event folded was recorded.
    pub recorded_at: Timestamp,
}

impl<S: StreamState> Default for Loaded<S> {
    fn default() -> Self {
        Self { state: S::default(), revision: None, recorded_at: Timestamp::from_micros(i64::MIN) }
    }
}

impl<S: StreamState> Loaded<S> {
    pub(super) fn apply(&mut self, recorded: &Recorded) -> Result<(), FoldError> {
        self.state.apply(recorded)?;
        self.revision = Some(recorded.envelope.revision);
        self.recorded_at = recorded.envelope.recorded_at;
        Ok(())
    }

    /// This state and the events that were just appended to it.
    pub(super) fn followed_by(
        &self,
        stream: &StreamName,
        events: Vec<Event>,
        ids: &[EventId],
        origin: &Origin,
        now: Timestamp,
        position: Position,
    ) -> Result<Self, FoldError> {
        let mut next = self.clone();
        for (event, &event_id) in events.into_iter().zip(ids) {
            let envelope = Envelope {
                event_id,
                stream: stream.clone(),
                revision: next.revision.map_or(Revision::FIRST, Revision::next),
                position,
                recorded_at: now,
                actor: origin.actor.clone(),
                request_id: origin.request_id.clone(),
                caused_by: None,
            };
            next.apply(&Recorded { envelope, event })?;
        }
        Ok(next)
    }
}

/// Remembered states, in two generations: when the younger is full it becomes the older, and the older
/// goes. What is used stays.
#[derive(Debug, Default)]
pub(super) struct States(Mutex<Generations>);

type Generation = HashMap<StreamName, Arc<dyn Any + Send + Sync>>;

#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

impl std::fmt::Debug for Generations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} + {} states", self.young.len(), self.old.len())
    }
}

impl States {
    pub(super) fn get<S: StreamState>(&self, stream: &StreamName) -> Option<Arc<Loaded<S>>> {
        self.lock().get(stream)
    }

    /// Remembers a state, unless a later one of the stream is remembered already.
    pub(super) fn put<S: StreamState>(&self, stream: StreamName, state: Arc<Loaded<S>>) {
        let mut generations = self.lock();
        let known = generations.get::<S>(&stream);
        if known.as_ref().is_none_or(|known| known.revision <= state.revision) {
            generations.remember(stream, state);
        }
        // Freeing what was known can wait until nobody waits for the lock.
        drop(generations);
        drop(known);
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn get<S: StreamState>(&mut self, stream: &StreamName) -> Option<Arc<Loaded<S>>> {
        if let Some(state) = self.old.remove(stream) {
            self.remember(stream.clone(), state);
        }
        Arc::clone(self.young.get(stream)?).downcast().ok()
    }

    fn remember(&mut self, stream: StreamName, state: Arc<dyn Any + Send + Sync>) {
        if self.young.len() >= MAX_STATES / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(stream, state);
    }
}
