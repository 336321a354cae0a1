//! A replay against what is served, and against a ledger that ends where the replay does.

mod against;
mod planted;
mod random;
mod rebuild;
mod what_if;

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::{EventId, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::*;
use crate::ledger::Snapshots;
use crate::ledger::tests::simulation::history;
use crate::ledger::tests::{START, TestLedger, exchange, grant, installation, revoke};
use crate::store::{Append, Expected, MemoryStore, NewRecord, Record, Store};

const HOUR: Duration = Duration::from_secs(3600);

async fn replay(store: &dyn Store, until: Until) -> Replayed {
    run(store, until, |_| {}).await.unwrap()
}

/// A directory without snapshots.
fn nowhere() -> Snapshots {
    Snapshots::new("no-such-directory".into())
}

async fn everything(store: &dyn Store) -> Vec<Record> {
    store.read_all(Position::START, usize::MAX).await.unwrap()
}

/// A ledger that ends with the last of these records.
async fn ledger_of(records: &[Record]) -> Arc<MemoryStore> {
    let store = MemoryStore::new(Uuid::from_u128(2));
    for record in records.iter().cloned() {
        let expected = Expected::before(record.revision);
        let stream = record.stream.clone();
        let new = record.unplaced();
        let appended = store.append(&stream, expected, vec![new]).await.unwrap();
        assert!(matches!(appended, Append::Appended { .. }));
    }
    store
}

#[tokio::test]
async fn a_replay_does_not_go_on_beyond_the_end() {
    let (_, store) = history(11).await;
    let end = store.head().await.unwrap().position;
    assert!(run(&*store, Until::Position(end), |_| {}).await.is_ok());
    let beyond = Until::Position(Position::new(end.as_u64() + 1));
    let refused = run(&*store, beyond, |_| {}).await.unwrap_err();
    assert!(matches!(refused, ReplayError::NotYet(_)), "{refused}");
    let refused = run_history::<ReplayError>(&*store, beyond, |_| {}, |_| Ok(())).await.unwrap_err();
    assert!(matches!(refused, ReplayError::NotYet(_)), "{refused}");
}

#[tokio::test]
async fn a_replay_results_in_what_is_served() {
    for seed in 1..=5 {
        let (ledger, store) = history(seed).await;
        let mut steps = Vec::new();
        let replayed = run(&*store, Until::Head, |step| steps.push(step)).await.unwrap();
        assert_eq!(replayed.live.digest(), ledger.live().digest(), "seed {seed}");
        assert_eq!(replayed.reading.position, ledger.live().position());
        let records = everything(&*store).await;
        assert_eq!(replayed.reading.events, records.len() as u64);
        let granted = records.iter().filter(|record| record.type_name == "access-granted").count();
        assert_eq!(replayed.types["access-granted"], granted as u64);
        let last = steps.last().unwrap();
        assert_eq!((last.position, last.head), (replayed.reading.position, replayed.reading.position));
    }
}

#[tokio::test]
async fn a_replay_until_a_position_is_the_ledger_cut_there() {
    let (_, store) = history(11).await;
    let records = everything(&*store).await;
    for end in (0..=records.len()).step_by(17) {
        let cut = replay(&*ledger_of(&records[..end]).await, Until::Head).await;
        let position = records[..end].last().map_or(Position::START, |last| last.position);
        let replayed = replay(&*store, Until::Position(position)).await;
        assert_eq!(replayed.live.digest(), cut.live.digest(), "cut after {end}");
        assert_eq!(replayed.types, cut.types);
    }
}

/// An app that was installed for an hour, and then not.
async fn an_hour() -> (Arc<MemoryStore>, TestLedger) {
    let store = MemoryStore::new(Uuid::from_u128(3));
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let app = given.app().await;
    let account = "acme".parse().unwrap();
    given.clock.set(START.plus(HOUR));
    let granted = grant(app, &account);
    let exchanged = exchange(&granted);
    given.settle(&granted).await.unwrap().unwrap();
    given.settle(&exchanged).await.unwrap().unwrap();
    given.clock.set(START.plus(2 * HOUR));
    given.settle(&revoke(installation(app, &account), exchanged.token_id)).await.unwrap().unwrap();
    (store, given)
}

async fn dumped(store: &dyn Store, time: Timestamp) -> Vec<Value> {
    let replayed = replay(store, Until::Time(time)).await;
    let mut text = String::new();
    let write = |lines: &str| -> Result<(), ReplayError> {
        text.push_str(lines);
        Ok(())
    };
    dump(&replayed.live, time, write).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn the_state_as_of_a_time_is_what_was_true_then() {
    let (store, _given) = an_hour().await;
    let micro = Duration::from_micros(1);
    let just_before = |time: Timestamp| Timestamp::from_micros(time.as_micros() - 1);
    assert_eq!(dumped(&*store, just_before(START)).await, Vec::<Value>::new());
    let registered = dumped(&*store, just_before(START.plus(HOUR))).await;
    assert_eq!(registered.len(), 1);
    assert_eq!((&registered[0]["row"], &registered[0]["status"]), (&"app".into(), &"active".into()));
    for time in [START.plus(HOUR), START.plus(HOUR + micro), just_before(START.plus(2 * HOUR))] {
        let rows = dumped(&*store, time).await;
        assert_eq!(rows[1]["installed"], true, "{rows:?}");
        assert_eq!(rows[1]["account_id"], "acme");
        assert_eq!(rows[1]["tokens"][0]["user_id"], "ana");
    }
    let ended = dumped(&*store, START.plus(2 * HOUR)).await;
    assert_eq!((&ended[1]["installed"], &ended[1]["tokens"]), (&false.into(), &Value::Array(vec![])));
    assert_eq!(ended[1]["ended_at"], START.plus(2 * HOUR).to_string());
    let text = serde_json::to_string(&ended).unwrap();
    let digests = everything(&*store).await.into_iter().filter(|record| record.payload.contains("digest"));
    assert!(digests.count() > 0 && !text.contains("digest"), "{text}");
}

#[tokio::test]
async fn a_plan_counts_what_a_replay_folds() {
    let (_, store) = history(3).await;
    let replayed = replay(&*store, Until::Head).await;
    let plan = plan(&*store, &nowhere(), |_| {}).await.unwrap();
    let types = plan.types.iter().map(|of| (of.type_name.clone(), of.events)).collect();
    assert_eq!(plan.events, replayed.reading.events);
    assert_eq!(replayed.types, types);
    assert_eq!(plan.position, Some(replayed.live.position()));
    assert!(plan.bytes > 0 && plan.estimated_seconds > 0.0);
    let empty = MemoryStore::new(Uuid::from_u128(4));
    assert_eq!(super::plan(&*empty, &nowhere(), |_| {}).await.unwrap().events, 0);
}

#[tokio::test]
async fn what_is_no_event_is_in_quarantine_where_a_replay_reaches_it() {
    let (store, _given) = an_hour().await;
    let records = everything(&*store).await;
    let last = &records[records.len() - 1];
    let nonsense = NewRecord {
        event_id: EventId::new(Uuid::from_u128(9)),
        type_name: "app-exploded".to_owned(),
        version: 1,
        recorded_at: last.recorded_at,
        metadata: "{}".to_owned(),
        payload: "{}".to_owned(),
        moved: false,
    };
    store.append(&last.stream, Expected::Exactly(last.revision), vec![nonsense]).await.unwrap();
    let quarantined = replay(&*store, Until::Head).await.live.quarantined();
    let reason = &quarantined[0].reason;
    assert!(reason.contains("position 5") && reason.contains("app-exploded"), "{reason}");
    assert_eq!(replay(&*store, Until::Position(last.position)).await.live.quarantined(), []);
}
