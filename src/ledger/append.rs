//! Appends, and finds out how they ended. Knows: the store, records. Must not know: what was decided, or why.

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::codec::{EncodeError, Metadata};
use grantbook_events::{Actor, Event, EventId, Position, RequestId, StreamName, Timestamp};
use grantbook_projections::Head;
use tokio::time::Instant;

use super::recorded;
use super::written::WrittenEvent;
use super::{Ledger, LedgerError};
use crate::store::{Append, Expected, NewRecord, Store};

/// How often the outcome of one append is asked for.
const MAX_UNKNOWNS: u32 = 6;
/// The pause before asking again, doubled each time.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(20);
/// How long an answer waits until its events are visible here.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

/// Who asks, through which request: what the envelope of every event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub actor: Actor,
    pub request_id: RequestId,
}

/// Events with ids, to be appended together, all or none.
struct Attempt {
    events: Vec<(EventId, Arc<WrittenEvent>)>,
    recorded_at: Timestamp,
}

impl Attempt {
    /// The events of some commands, each beside the number of its command.
    fn new(events: Vec<(usize, Event)>, origins: &[&Origin], recorded_at: Timestamp) -> Self {
        let mut first: Option<(usize, EventId)> = None;
        let with_id = |(number, event): (usize, Event)| {
            let event_id = crate::secrets::new_event_id();
            // What one decision says after its first event follows from that event.
            let caused_by = first.filter(|(command, _)| *command == number).map(|(_, id)| id);
            if caused_by.is_none() {
                first = Some((number, event_id));
            }
            let origin = origins.get(number)?;
            let (actor, request_id) = (origin.actor.clone(), origin.request_id.clone());
            let metadata = Metadata { actor, request_id, caused_by };
            Some((event_id, Arc::new(WrittenEvent { event, metadata })))
        };
        Self { events: events.into_iter().filter_map(with_id).collect(), recorded_at }
    }

    /// The same records each time, so that appending them again is harmless.
    fn records(&self) -> Result<Vec<NewRecord>, EncodeError> {
        let record = |(id, written): &(EventId, Arc<WrittenEvent>)| {
            recorded::write(*id, &written.event, &written.metadata, self.recorded_at)
        };
        self.events.iter().map(record).collect()
    }
}

impl Ledger {
    /// Appends the events of commands that were decided where a stream is, and waits until they are visible; `false` if
    /// the stream is elsewhere.
    pub(super) async fn append_together(
        &self,
        stream: &StreamName,
        head: Option<Head>,
        events: Vec<(usize, Event)>,
        origins: &[&Origin],
        now: Option<Timestamp>,
    ) -> Result<bool, LedgerError> {
        let attempt = Attempt::new(events, origins, now.unwrap_or_else(|| self.recorded_now()));
        for (event_id, event) in &attempt.events {
            self.written.keep(*event_id, Arc::clone(event));
        }
        let expected = Expected::after(head.map(|head| head.revision));
        let Some(position) = append(&*self.store, stream, expected, &attempt).await? else {
            return Ok(false);
        };
        self.wait_until_visible(position).await?;
        Ok(true)
    }

    async fn wait_until_visible(&self, position: Position) -> Result<(), LedgerError> {
        let max_staleness = self.consistent.freshness().max_staleness;
        let longest = if self.store.is_shared() { max_staleness } else { VISIBLE_WITHIN };
        let by = Instant::now() + longest;
        loop {
            let fresh_for = self.staleness().map_or(longest, |behind| max_staleness.saturating_sub(behind));
            let fresh_until = Instant::now() + fresh_for;
            match tokio::time::timeout_at(by.min(fresh_until), self.reached(position)).await {
                Ok(true) => return Ok(()),
                // Once this node is too stale, nothing is allowed from what is folded here: there is nothing to wait for.
                Err(_) if self.store.is_shared() && (fresh_for.is_zero() || by <= Instant::now()) => {
                    return Ok(());
                }
                Err(_) if Instant::now() < by => {}
                Ok(false) | Err(_) => return Err(LedgerError::NotVisible(position)),
            }
        }
    }
}

/// Appends, and finds out how it ended: the position of the last event, or `None` for a conflict.
async fn append(
    store: &dyn Store,
    stream: &StreamName,
    expected: Expected,
    attempt: &Attempt,
) -> Result<Option<Position>, LedgerError> {
    let mut pause = UNKNOWN_PAUSE;
    let mut unknown = None;
    for _ in 0..MAX_UNKNOWNS {
        // Retrying with the same ids is harmless by the store's contract.
        match store.append(stream, expected, attempt.records()?).await {
            Ok(Append::Appended { position, .. }) => return Ok(Some(position)),
            Ok(Append::Conflict { .. }) if unknown.is_none() => return Ok(None),
            Ok(Append::Conflict { .. }) => {}
            Ok(Append::Unknown { reason }) => unknown = Some(reason),
            // Before anything was unknown, an error means that nothing was appended.
            Err(error) if unknown.is_none() => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%stream, %error, "an append of unknown outcome could not be retried");
            }
        }
        if let Ok(there) = store.read_stream(stream, expected.next_revision()).await
            && let Some(first) = there.first()
        {
            if attempt.events.first().is_none_or(|(id, _)| first.event_id != *id) {
                return Ok(None);
            }
            let last = there.get(attempt.events.len().saturating_sub(1));
            return Ok(last.map(|last| last.position));
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    Err(LedgerError::OutcomeUnknown(unknown.unwrap_or_default()))
}

/// Appends one event that no command decided.
pub(super) async fn append_once(
    store: &dyn Store,
    stream: &StreamName,
    expected: Expected,
    event: Event,
    origin: &Origin,
    now: Timestamp,
) -> Result<Option<Position>, LedgerError> {
    append(store, stream, expected, &Attempt::new(vec![(0, event)], &[origin], now)).await
}
