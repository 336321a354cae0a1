//! An operator's word to go on without what is missing is in the ledger before anything is answered, once.

use std::fs;

use grantbook_events::{EventId, LedgerEvent, LedgerId, LossAccepted, StreamKind};
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::store::{AcceptedLoss, MemoryStore, SeenMark, SeenRecord};

const LEDGER: u128 = 7;

/// A ledger with one event, and a directory in which a word is kept.
async fn with_word(seen: impl FnOnce(&Recorded) -> SeenRecord) -> (Arc<MemoryStore>, TempDir) {
    let (store, dir) = (MemoryStore::new(Uuid::from_u128(LEDGER)), tempfile::tempdir().unwrap());
    TestLedger::over(Arc::clone(&store) as _).await.app().await;
    let seen = seen(&all(&*store).await[0]);
    keep(&dir, seen);
    (store, dir)
}

fn keep(dir: &TempDir, seen: SeenRecord) {
    let (by, seen_by) = ("ana".to_owned(), "history-1.db".to_owned());
    AcceptedLoss { by, last_position: Position::new(1), seen, seen_by }.keep(dir.path()).unwrap();
}

fn missing(first: &Recorded) -> SeenRecord {
    let previous = first.envelope.position;
    SeenRecord { position: Position::new(2), previous, mark: SeenMark::Event(EventId::new(Uuid::nil())) }
}

fn options(dir: &TempDir) -> LedgerOptions {
    LedgerOptions { data_dir: Some(dir.path().to_owned()), ..LedgerOptions::default() }
}

#[tokio::test]
async fn it_is_recorded_once() {
    let (store, dir) = with_word(missing).await;
    let given = TestLedger::with(Arc::clone(&store) as _, options(&dir)).await;
    assert_eq!(given.ledger.live().position(), Position::new(2));
    let recorded = all(&*store).await.pop().unwrap();
    let ledger = StreamKind::Ledger(LedgerId::new(Uuid::from_u128(LEDGER)));
    assert_eq!(recorded.envelope.stream, ledger.into());
    assert_eq!(recorded.envelope.actor, Actor { kind: ActorKind::Operator, id: "ana".to_owned() });
    let (last_position, seen_position) = (Position::new(1), Position::new(2));
    let loss = LossAccepted { last_position, seen_position, seen_by: "history-1.db".to_owned() };
    assert_eq!(recorded.event, LedgerEvent::LossAccepted(loss).into());
    assert_eq!(AcceptedLoss::read(dir.path()).unwrap(), None);
    // As after a crash between the event and the removal of the file.
    let second = SeenRecord { previous: Position::new(1), ..missing(&recorded) };
    keep(&dir, second);
    TestLedger::with(Arc::clone(&store) as _, options(&dir)).await;
    assert_eq!(all(&*store).await.len(), 2);
    assert_eq!(AcceptedLoss::read(dir.path()).unwrap(), None);
    // Another loss is another event.
    let third = SeenRecord { position: Position::new(9), ..second };
    keep(&dir, third);
    TestLedger::with(Arc::clone(&store) as _, options(&dir)).await;
    let revisions: Vec<_> =
        all(&*store).await.iter().map(|recorded| recorded.envelope.revision.as_u64()).collect();
    assert_eq!(revisions, [0, 0, 1]);
}

#[tokio::test]
async fn nothing_is_recorded_if_what_was_missing_was_put_back() {
    let (store, dir) = with_word(|first| SeenRecord {
        position: first.envelope.position,
        previous: Position::START,
        mark: SeenMark::Event(first.envelope.event_id),
    })
    .await;
    TestLedger::with(Arc::clone(&store) as _, options(&dir)).await;
    assert_eq!(all(&*store).await.len(), 1);
    assert_eq!(AcceptedLoss::read(dir.path()).unwrap(), None);
}

#[tokio::test]
async fn a_word_that_cannot_be_read_is_not_forgotten() {
    let (store, dir) = with_word(missing).await;
    let file = dir.path().join(AcceptedLoss::FILE);
    fs::write(&file, "{").unwrap();
    let ledger = Ledger::open_with(store, Arc::new(ManualClock::at(START)), options(&dir));
    let stopped = ledger.caught_up().await.unwrap_err().stopped.unwrap().to_string();
    assert!(stopped.contains("loss.accepted cannot be read"), "{stopped}");
    assert!(file.exists());
}
