//! An operator's word to go on without what a ledger has lost becomes an event, before anything is folded or answered.
//! Knows: the file that the word is kept in until then, the ledger's own stream. Must not know: how a loss is noticed.
//!
//! The word is in the file before anything is changed, and the file is removed once the event is durable. So it is not
//! lost, whenever the process ends; and it is recorded once.

use std::io;
use std::path::Path;

use grantbook_events::{
    Actor, ActorKind, Event, LedgerEvent, LedgerId, LossAccepted, Revision, StreamKind, StreamName,
};

use super::append::{Origin, append_once};
use super::{FollowError, LedgerError, read};
use crate::clock::Clock;
use crate::secrets;
use crate::store::{AcceptedLoss, Expected, Found, Store};

/// Records the word that is kept in a directory, if there is one.
///
/// # Errors
/// If it cannot be recorded now, or cannot be read.
pub(super) async fn record(
    store: &dyn Store,
    ledger: LedgerId,
    clock: &dyn Clock,
    dir: &Path,
) -> Result<(), FollowError> {
    let Some(word) = AcceptedLoss::read(dir).map_err(|error| unreadable(dir, &error))? else {
        return Ok(());
    };
    // What was missing may have been put back before anything went on without it.
    if store.has(&word.seen).await? != Found::There {
        append(store, ledger, clock, word).await?;
    }
    AcceptedLoss::forget(dir).map_err(|error| FollowError::Failed(error.to_string()))
}

async fn append(
    store: &dyn Store,
    ledger: LedgerId,
    clock: &dyn Clock,
    word: AcceptedLoss,
) -> Result<(), FollowError> {
    let stream = StreamName::from(StreamKind::Ledger(ledger));
    let event = Event::Ledger(LedgerEvent::LossAccepted(LossAccepted {
        last_position: word.last_position,
        seen_position: word.seen.position,
        seen_by: word.seen_by,
    }));
    let before = store.read_stream(&stream, Revision::FIRST).await?;
    if before.iter().any(|record| read(record).is_ok_and(|recorded| recorded.event == event)) {
        return Ok(());
    }
    let last = before.last();
    let now = last.map_or(clock.now(), |last| clock.now().max(last.recorded_at));
    let actor = Actor { kind: ActorKind::Operator, id: word.by };
    let origin = Origin { actor, request_id: secrets::new_request_id() };
    let expected = Expected::after(last.map(|last| last.revision));
    match append_once(store, &stream, expected, event, &origin, now).await {
        Ok(Some(position)) => {
            tracing::warn!(%position, "that the operator goes on without what is missing is recorded");
            Ok(())
        }
        Ok(None) => Err(FollowError::Failed(format!("another node appended to stream {stream} meanwhile"))),
        Err(LedgerError::Store(error)) => Err(FollowError::Store(error)),
        Err(error) => Err(FollowError::Failed(error.to_string())),
    }
}

fn unreadable(dir: &Path, error: &io::Error) -> FollowError {
    FollowError::Stopped(format!(
        "{} cannot be read: {error}; it says that an operator accepted a loss, which was not recorded yet. If it is \
         damaged, move it away",
        dir.join(AcceptedLoss::FILE).display()
    ))
}
