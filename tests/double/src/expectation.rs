//! Whether an append is right, and whether it was made before. Knows: the server's rules of idempotency. Must not
//! know: messages and connections.

use std::sync::Arc;

use crate::event::{Event, Proposed};
use crate::log::Log;
use crate::retention::metadata_stream_of;

/// What an append expects its stream to be like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expected {
    Exactly(u64),
    NoStream,
    Any,
    StreamExists,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Its last event is there, newly or since an earlier try. Revision and position.
    Written { revision: u64, position: u64 },
    /// Its last event is there since an earlier try, and nobody says where.
    Replayed { revision: u64 },
    /// It had no events. The revision that the stream ends with.
    Nothing { current: Option<u64> },
    /// The stream is elsewhere. The revision that it ends with.
    Conflict { current: Option<u64> },
    /// The stream has ended for good.
    Deleted,
}

/// What is to be done with an append.
pub(crate) enum Verdict {
    Write,
    Answer(Outcome),
}

/// Judges an append by what is in the log.
pub(crate) fn judge(log: &Log, stream: &str, expected: Expected, proposed: &[Proposed]) -> Verdict {
    if log.is_buried(stream, usize::MAX) {
        return Verdict::Answer(Outcome::Deleted);
    }
    let current = log.last_revision(stream);
    let conflict = Verdict::Answer(Outcome::Conflict { current });
    let is_deleted = log.retention(stream).is_deleted();
    let next = match expected {
        Expected::StreamExists if is_deleted || !exists(log, stream) => return conflict,
        Expected::Any | Expected::StreamExists => return judge_anywhere(log, stream, proposed),
        Expected::NoStream => 0,
        Expected::Exactly(revision) => revision.saturating_add(1),
    };
    let now = current.map_or(0, |revision| revision + 1);
    if next > now {
        return conflict;
    }
    if next == now {
        return if proposed.is_empty() {
            Verdict::Answer(Outcome::Nothing { current })
        } else {
            Verdict::Write
        };
    }
    // The expectation is behind: right only if this very append was made then.
    let there = |(new, revision): (&Proposed, u64)| {
        log.event(stream, revision).filter(|event| event.id == new.id).cloned()
    };
    match replay(proposed.iter().zip(next..).map(there)) {
        Some(outcome) => Verdict::Answer(outcome),
        None if is_deleted && expected == Expected::NoStream => Verdict::Write,
        None => conflict,
    }
}

/// A stream exists for the server also if it has nothing but metadata.
fn exists(log: &Log, stream: &str) -> bool {
    log.last_revision(stream).or_else(|| log.last_revision(&metadata_stream_of(stream))).is_some()
}

/// An append without a revision was made before if all its ids are in the stream. If only some are, it is refused;
/// of those the first decides.
fn judge_anywhere(log: &Log, stream: &str, proposed: &[Proposed]) -> Verdict {
    let current = log.last_revision(stream);
    let there = |new: &Proposed| log.event_with(new.id).filter(|event| &*event.stream == stream).cloned();
    let Some(first) = proposed.first() else { return Verdict::Answer(Outcome::Nothing { current }) };
    if there(first).is_none() {
        return Verdict::Write;
    }
    let outcome = replay(proposed.iter().map(there)).unwrap_or(Outcome::Conflict { current });
    Verdict::Answer(outcome)
}

/// The place of the last one, if all are there.
fn replay(there: impl Iterator<Item = Option<Arc<Event>>>) -> Option<Outcome> {
    let mut last = None;
    for event in there {
        last = Some(event?);
    }
    last.map(|event| Outcome::Written { revision: event.revision, position: event.position })
}
