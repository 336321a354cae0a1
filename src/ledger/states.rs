//! The states of the streams that were decided on lately, so that a code granted a moment ago is
//! exchanged without reading its stream again. A remembered state may be behind: the append at its exact
//! revision, or a look at the store, decides.

use std::any::Any;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::{Envelope, Event, EventId, Position, Recorded, Revision, StreamName, Timestamp};
use grantbook_projections::{FoldError, StreamState};
use lru::LruCache;

use super::Origin;

/// How many states are remembered.
const MAX_STATES: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

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

/// Remembered states.
#[derive(Debug)]
pub(super) struct States(Mutex<LruCache<StreamName, AnyState>>);

/// The state of a stream of any kind.
#[derive(Clone)]
struct AnyState(Arc<dyn Any + Send + Sync>);

impl std::fmt::Debug for AnyState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AnyState(…)")
    }
}

impl Default for States {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_STATES)))
    }
}

impl States {
    pub(super) fn get<S: StreamState>(&self, stream: &StreamName) -> Option<Arc<Loaded<S>>> {
        of_kind(self.lock().get(stream)?)
    }

    /// Remembers a state, unless a later one of the stream is remembered already.
    pub(super) fn put<S: StreamState>(&self, stream: StreamName, state: Arc<Loaded<S>>) {
        let mut states = self.lock();
        let known = states.get(&stream).and_then(of_kind::<S>);
        if known.as_ref().is_none_or(|known| known.revision <= state.revision) {
            states.put(stream, AnyState(state));
        }
        // Freeing what was known can wait until nobody waits for the lock.
        drop(states);
        drop(known);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<StreamName, AnyState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of_kind<S: StreamState>(state: &AnyState) -> Option<Arc<Loaded<S>>> {
    Arc::clone(&state.0).downcast().ok()
}
