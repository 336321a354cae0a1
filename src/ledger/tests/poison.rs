//! A record that is no event: its stream is in quarantine, or nothing is served.

use super::*;
use crate::decisions::UninstallApp;
use crate::store::{Expected, MemoryStore, NewRecord};
use grantbook_events::{Revision, StreamKind, UninstallReason};

/// A record that no grantbook has ever written.
pub(crate) fn foreign() -> NewRecord {
    NewRecord {
        event_id: secrets::new_event_id(),
        type_name: "app-teleported".to_owned(),
        version: 1,
        recorded_at: START,
        metadata: r#"{"actor":{"kind":"system","id":"x"},"$correlationId":"r-1"}"#.to_owned(),
        payload: "{}".to_owned(),
        moved: false,
    }
}

/// A ledger with two installations of one app, and a foreign record after the exchange of the first.
async fn poisoned() -> (Arc<MemoryStore>, [ExchangeCode; 2]) {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let app = given.app().await;
    let grants = ["acme", "globex"].map(|account| grant(app, &account.parse().unwrap()));
    let exchanges = grants.each_ref().map(exchange);
    for (granted, exchanged) in grants.iter().zip(&exchanges) {
        given.settle(granted).await.unwrap().unwrap();
        given.settle(exchanged).await.unwrap().unwrap();
    }
    let at = Expected::Exactly(Revision::new(1));
    store.append(&stream(exchanges[0].installation_id), at, vec![foreign()]).await.unwrap();
    (store, exchanges)
}

#[tokio::test]
async fn its_stream_is_in_quarantine_and_every_other_goes_on() {
    let (store, [poisoned, sound]) = poisoned().await;
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    assert!(given.ledger.is_ready());
    assert!(!given.is_valid(poisoned.token_digest) && given.is_valid(sound.token_digest));
    let quarantined = given.ledger.live().quarantined();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].position, Position::new(6));
    let reason = &quarantined[0].reason;
    assert!(reason.contains("position 6") && reason.contains("app-teleported"), "{reason}");

    // Nothing can be decided on a stream that is not understood, and the reason is said.
    let uninstall =
        |installation_id| UninstallApp { installation_id, reason: UninstallReason::Operator, note: None };
    let refused = given.settle(&uninstall(poisoned.installation_id)).await.unwrap_err();
    assert!(matches!(refused, LedgerError::Quarantined(_)) && !refused.may_pass(), "{refused:?}");
    assert!(refused.to_string().contains("position 6"), "{refused}");
    given.settle(&uninstall(sound.installation_id)).await.unwrap().unwrap();
    assert_eq!(all_but_foreign(&*store).await, 6);
}

async fn all_but_foreign(store: &dyn Store) -> usize {
    let records = store.read_all(Position::START, usize::MAX).await.unwrap();
    records.iter().filter(|record| super::super::read(record).is_ok()).count()
}

#[tokio::test]
async fn a_poisoned_app_takes_its_installations_out_of_the_count() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let (app, other) = (given.app().await, given.app().await);
    let mut tokens = Vec::new();
    for app in [app, other] {
        let granted = grant(app, &"acme".parse().unwrap());
        let exchanged = exchange(&granted);
        given.settle(&granted).await.unwrap().unwrap();
        given.settle(&exchanged).await.unwrap().unwrap();
        tokens.push(exchanged.token_digest);
    }
    let name = StreamKind::App(app).into();
    store.append(&name, Expected::Exactly(Revision::FIRST), vec![foreign()]).await.unwrap();
    // While it is served, too.
    given.app().await;
    assert!(!given.is_valid(tokens[0]) && given.is_valid(tokens[1]));
    let again = TestLedger::over(Arc::clone(&store) as _).await;
    assert!(!again.is_valid(tokens[0]) && again.is_valid(tokens[1]));
    assert_eq!(again.ledger.live().digest(), given.ledger.live().digest());
}

#[tokio::test]
async fn strictly_it_stops_the_fold_and_names_its_position() {
    let (store, _) = poisoned().await;
    let options = LedgerOptions { strict: true, ..LedgerOptions::default() };
    let again = Ledger::open_with(store, Arc::new(ManualClock::at(START)), options);
    let stopped = again.caught_up().await.unwrap_err().stopped.unwrap().to_string();
    assert!(stopped.contains("position 6") && stopped.contains("app-teleported"), "{stopped}");
    assert!(!again.is_ready());
}
