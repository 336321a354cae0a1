//! One command at a time, and many at once on one stream.

use std::sync::Arc;

use grantbook_events::{AccountId, Event, InstallationEvent};
use tokio::task::JoinSet;

use super::*;
use crate::decisions::InstallationRefusal;
use crate::store::MemoryStore;
use crate::store::lying::{Fault, LyingStore, Script};

fn account() -> AccountId {
    "acme".parse().unwrap()
}

/// A store that lies in one way, every time, once the ledger is open and an app is there.
async fn given_lies(script: Script) -> (TestLedger, Arc<LyingStore>, Arc<MemoryStore>, ClientId) {
    let inner = MemoryStore::new(secrets::new_ledger_identity());
    let lying = LyingStore::new(Arc::clone(&inner) as _, Script::default(), 1);
    let given = TestLedger::over(Arc::clone(&lying) as _).await;
    let app = given.app().await;
    lying.change(script);
    (given, lying, inner, app)
}

#[tokio::test]
async fn what_was_answered_is_durable_and_visible() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let granted = grant(given.app().await, &account());
    given.settle(&granted).await.unwrap().unwrap();
    let exchanged = exchange(&granted);
    given.settle(&exchanged).await.unwrap().unwrap();
    assert!(given.is_valid(exchanged.token_digest));
    assert_eq!(given.ledger.progress().position, Position::new(3));
    let events = given.ledger.events_of(&stream(exchanged.installation_id)).await.unwrap();
    assert_eq!(events, all(&*store).await[1..]);
    let revisions: Vec<_> = events.iter().map(|event| event.envelope.revision.as_u64()).collect();
    assert_eq!(revisions, [0, 1]);
}

#[tokio::test]
async fn c2_of_64_exchanges_at_once_one_is_granted_and_the_code_counts_as_replayed() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = Arc::new(TestLedger::over(Arc::clone(&store) as _).await);
    let granted = grant(given.app().await, &account());
    given.settle(&granted).await.unwrap().unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let (given, exchange) = (Arc::clone(&given), exchange(&granted));
        callers.spawn(async move { given.settle(&exchange).await.unwrap() });
    }
    let answers = callers.join_all().await;
    let granted: Vec<_> = answers.iter().filter(|answer| answer.is_ok()).collect();
    assert_eq!(granted.len(), 1);
    let is_of_a_replay = |no: &InstallationRefusal| {
        matches!(no, InstallationRefusal::CodeSpent | InstallationRefusal::CodeReplayed { .. })
    };
    assert!(answers.iter().flat_map(|answer| answer.as_ref().err()).all(is_of_a_replay));
    let exchanges = all(&*store).await;
    let is_exchange =
        |event: &Event| matches!(event, Event::Installation(InstallationEvent::CodeExchanged(_)));
    assert_eq!(exchanges.iter().filter(|recorded| is_exchange(&recorded.event)).count(), 1);
}

#[tokio::test]
async fn a_stream_that_another_node_moved_on_is_read_before_a_refusal_is_believed() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let (here, there) = (TestLedger::over(Arc::clone(&store) as _).await, TestLedger::over(store).await);
    let granted = grant(here.app().await, &account());
    // This node remembers that there is no such grant; the other one makes it.
    here.settle(&exchange(&granted)).await.unwrap().unwrap_err();
    there.settle(&granted).await.unwrap().unwrap();
    here.settle(&exchange(&granted)).await.unwrap().unwrap();
    let replayed = there.settle(&exchange(&granted)).await.unwrap();
    assert!(matches!(replayed, Err(InstallationRefusal::CodeReplayed { tokens: 1, .. })), "{replayed:?}");
}

#[tokio::test(start_paused = true)]
async fn an_append_that_fails_is_an_error_and_leaves_nothing() {
    let (given, lying, inner, app) = given_lies(Script { append_fails: 1, ..Script::default() }).await;
    let granted = grant(app, &account());
    let error = given.settle(&granted).await.unwrap_err();
    assert!(matches!(error, LedgerError::Store(_)), "{error:?}");
    assert_eq!(all(&*inner).await.len(), 1);
    lying.repent();
    given.settle(&granted).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_append_of_unknown_outcome_that_happened_is_found_and_is_there_once() {
    let (given, lying, inner, app) = given_lies(Script { unknown_and_done: 1, ..Script::default() }).await;
    given.settle(&grant(app, &account())).await.unwrap().unwrap();
    assert_eq!(all(&*inner).await.len(), 2);
    assert_eq!(lying.told(), [Fault::UnknownAndDone]);
}

#[tokio::test(start_paused = true)]
async fn an_append_of_unknown_outcome_that_never_comes_out_is_said_to_be_unknown() {
    let (given, lying, inner, app) = given_lies(Script { unknown_and_lost: 1, ..Script::default() }).await;
    let granted = grant(app, &account());
    let error = given.settle(&granted).await.unwrap_err();
    assert!(matches!(error, LedgerError::OutcomeUnknown(_)), "{error:?}");
    assert_eq!(all(&*inner).await.len(), 1);
    lying.repent();
    given.settle(&granted).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_always_conflicts_is_given_up() {
    let (given, _, inner, app) = given_lies(Script { append_conflicts: 1, ..Script::default() }).await;
    let error = given.settle(&grant(app, &account())).await.unwrap_err();
    assert!(matches!(error, LedgerError::Contended(_)), "{error:?}");
    assert_eq!(all(&*inner).await.len(), 1);
}

#[tokio::test]
async fn recorded_time_never_runs_backwards_within_a_stream() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let granted = grant(given.app().await, &account());
    given.settle(&granted).await.unwrap().unwrap();
    given.clock.set(Timestamp::EPOCH);
    given.settle(&exchange(&granted)).await.unwrap().unwrap();
    let times: Vec<_> = all(&*store).await.iter().map(|event| event.envelope.recorded_at).collect();
    assert_eq!(times, [START; 3]);
}

/// A line ends when no command waits in it, and the next one begins another. Few callers, so that it ends often.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_caller_of_a_stream_is_answered_while_its_line_ends_and_begins() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = Arc::new(TestLedger::over(Arc::clone(&store) as _).await);
    let app = given.app().await;
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..3 {
        let given = Arc::clone(&given);
        callers.spawn(async move {
            for _ in 0..1000 {
                let user = format!("user-{caller}").parse().unwrap();
                let granted = GrantAccess { user_id: user, ..grant(app, &account()) };
                given.settle(&granted).await.unwrap().unwrap();
            }
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller.unwrap();
    }
    assert_eq!(all(&*store).await.len(), 1 + 3 * 1000);
}
