//! Ledgers with a fault planted in them: a verification finds each, and says where and what.

use async_trait::async_trait;
use grantbook_events::{Revision, StreamName};
use tokio::sync::mpsc;

use super::*;
use crate::store::{Head, Signal, SqliteOptions, SqliteStore, Subscription};

/// Hands out these records, whatever they are.
#[derive(Debug)]
struct Planted {
    records: Vec<Record>,
    head: Position,
}

#[async_trait]
impl Store for Planted {
    async fn append(&self, _: &StreamName, _: Expected, _: Vec<NewRecord>) -> Result<Append, StoreError> {
        Err(StoreError::Closed)
    }

    async fn read_stream(&self, _: &StreamName, _: Revision) -> Result<Vec<Record>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn read_all(&self, _: Position, _: usize) -> Result<Vec<Record>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn subscribe(&self, _: Position) -> Result<Subscription, StoreError> {
        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(Signal::Records(Arc::new(self.records.clone()))).unwrap();
        sender.try_send(Signal::CaughtUp).unwrap();
        Ok(Subscription::new(receiver))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head { position: self.head, identity: Uuid::nil() })
    }

    async fn close(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

pub(super) async fn verified(records: Vec<Record>, head: Position) -> Verified {
    verify(&Planted { records, head }, Against::default(), |_| {}).await.unwrap()
}

/// A history with a fault planted in it, verified.
async fn with(plant: impl FnOnce(&mut Vec<Record>)) -> Verified {
    let (_, store) = history(23).await;
    let mut records = everything(&*store).await;
    let head = records[records.len() - 1].position;
    plant(&mut records);
    verified(records, head).await
}

#[track_caller]
fn assert_found(verified: &Verified, position: u64, what: &str) {
    assert!(!verified.is_sound() && verified.found >= verified.findings.len() as u64);
    let found = verified.findings.iter().find(|found| found.position == Some(Position::new(position)));
    let found = found.unwrap_or_else(|| panic!("nothing at {position}: {:?}", verified.findings));
    assert!(found.what.contains(what), "{found}");
}

/// The index of a record in the middle of its stream.
fn in_the_middle(records: &[Record]) -> usize {
    let follows = |at: usize| records[at + 1..].iter().any(|later| later.stream == records[at].stream);
    (10..records.len()).find(|&at| records[at].revision.as_u64() > 1 && follows(at)).unwrap()
}

#[tokio::test]
async fn a_sound_ledger_is_sound_and_folds_to_what_is_served() {
    for seed in 1..=5 {
        let (ledger, store) = history(seed).await;
        let verified = verify(&*store, Against::default(), |_| {}).await.unwrap();
        assert!(verified.is_sound(), "{:?}", verified.findings);
        assert_eq!(verified.live.digest(), ledger.live().digest());
        assert_eq!(verified.events, everything(&*store).await.len() as u64);
    }
    assert!(verified(Vec::new(), Position::START).await.is_sound());
}

#[tokio::test]
async fn every_changed_field_is_found_by_its_digest() {
    let changes: [fn(&mut Record); 5] = [
        |record| record.payload.push(' '),
        |record| record.metadata.push(' '),
        |record| record.event_id = EventId::new(Uuid::from_u128(5)),
        |record| record.recorded_at = record.recorded_at.plus(HOUR),
        |record| record.version += 1,
    ];
    for change in changes {
        let found = with(|records| change(&mut records[7])).await;
        assert_found(&found, 8, "not what was written");
    }
}

/// The digest is made to fit, by an attacker who knows how: the next record of the stream tells.
#[tokio::test]
async fn a_record_that_was_forged_with_its_digest_is_found_by_the_one_after_it() {
    let mut next = 0;
    let found = with(|records| {
        let at = in_the_middle(records);
        let stream = records[at].stream.clone();
        next = (at + 1..records.len()).find(|&later| records[later].stream == stream).unwrap() as u64 + 1;
        records[at].recorded_at = records[at].recorded_at.plus(HOUR);
        records[at].digest = records[at].computed_digest();
    })
    .await;
    assert_found(&found, next, "was not written after what is before it");
}

#[tokio::test]
async fn a_hole_in_a_stream_is_found() {
    let mut next = 0;
    let found = with(|records| {
        let at = in_the_middle(records);
        let stream = records.remove(at).stream;
        next = records[at..].iter().find(|later| later.stream == stream).unwrap().position.as_u64();
    })
    .await;
    assert_found(&found, next, "is due");
}

#[tokio::test]
async fn records_out_of_order_are_found() {
    let mut second = 0;
    let found = with(|records| {
        second = records[20].position.as_u64();
        records.swap(20, 21);
    })
    .await;
    assert_found(&found, second, "it comes after position");
}

#[tokio::test]
async fn an_event_id_that_is_there_twice_is_found() {
    let mut last = 0;
    let found = with(|records| {
        let end = records.len() - 1;
        last = records[end].position.as_u64();
        records[end].event_id = records[3].event_id;
        records[end].digest = records[end].computed_digest();
    })
    .await;
    assert_found(&found, last, "has the id of the event at position 4");
}

#[tokio::test]
async fn a_record_that_is_no_event_is_found_and_its_stream_is_folded_no_further() {
    let found = with(|records| {
        records.truncate(1);
        let record = &mut records[0];
        record.type_name = "app-exploded".to_owned();
        record.digest = record.computed_digest();
        let mut next = record.clone();
        (next.position, next.revision) = (Position::new(2), Revision::new(1));
        (next.event_id, next.previous_digest) = (EventId::new(Uuid::from_u128(6)), record.digest);
        next.digest = next.computed_digest();
        records.push(next);
    })
    .await;
    assert_found(&found, 1, "app-exploded");
    assert!(
        found
            .findings
            .iter()
            .all(|found| !found.what.contains("app-exploded") || found.position == Some(Position::new(1)))
    );
}

#[tokio::test]
async fn an_event_that_cannot_follow_is_found() {
    // The same registration once more, well chained.
    let (_, store) = history(23).await;
    let mut records = everything(&*store).await;
    let mut again = records[0].clone();
    let position = Position::new(records.len() as u64 + 1);
    let end = records.iter().rfind(|record| record.stream == again.stream).unwrap();
    (again.position, again.event_id) = (position, EventId::new(Uuid::from_u128(7)));
    (again.revision, again.previous_digest) = (end.revision.next(), end.digest);
    again.digest = again.computed_digest();
    records.push(again);
    let found = verified(records, position).await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), "cannot be folded");
}

/// A history with an event of a type.
async fn history_of(type_name: &str) -> Vec<Record> {
    for seed in 23..40 {
        let (_, store) = history(seed).await;
        let records = everything(&*store).await;
        if records.iter().any(|record| record.type_name == type_name) {
            return records;
        }
    }
    panic!("no history has an event {type_name}");
}

/// The ledger with one more record, well chained: one of these changed as said, at the end of its stream.
async fn with_another(type_name: &str, change: impl FnOnce(&mut Record)) -> (Position, Position, Verified) {
    let mut records = history_of(type_name).await;
    let first = records.iter().find(|record| record.type_name == type_name).unwrap();
    let (mut again, position) = (first.clone(), Position::new(records.len() as u64 + 1));
    let end = records.iter().rfind(|record| record.stream == again.stream).unwrap();
    let first = first.position;
    (again.position, again.event_id) = (position, EventId::new(Uuid::from_u128(7)));
    (again.revision, again.previous_digest) = (end.revision.next(), end.digest);
    change(&mut again);
    again.digest = again.computed_digest();
    records.push(again);
    (first, position, verified(records, position).await)
}

/// Gives a field of a payload another value.
fn set(record: &mut Record, field: &str, value: &str) {
    let mut payload: Value = serde_json::from_str(&record.payload).unwrap();
    payload[field] = value.into();
    record.payload = payload.to_string();
}

#[tokio::test]
async fn a_code_that_is_exchanged_twice_is_found() {
    let (_, position, found) = with_another("code-exchanged", |record| {
        set(record, "token_id", "019a0000-0000-7000-8000-000000000000");
        set(record, "token_digest", &"a".repeat(64));
    })
    .await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), "the code was spent or ended before");
}

#[tokio::test]
async fn a_code_that_was_never_granted_or_twice_is_found() {
    let never = "019a0000-0000-7000-8000-000000000000";
    let (_, position, found) = with_another("code-exchanged", |record| {
        set(record, "token_id", never);
        set(record, "token_digest", &"a".repeat(64));
        set(record, "grant_id", never);
    })
    .await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), "the grant does not exist");

    let (_, position, found) = with_another("code-replayed", |record| set(record, "grant_id", never)).await;
    assert_found(&found, position.as_u64(), "presented again that was never exchanged");

    let (_, position, found) = with_another("access-granted", |_| {}).await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), "the grant was recorded before");
}

/// The ledger up to the first exchange of a code, which is changed, and may have an uninstall before it.
async fn exchange_changed(change: impl Fn(&mut Record), after_uninstall: bool) -> Vec<String> {
    let (_, store) = history(23).await;
    let mut records = everything(&*store).await;
    let at = records.iter().position(|record| record.type_name == "code-exchanged").unwrap();
    records.truncate(at + 1);
    let mut exchanged = records.pop().unwrap();
    if after_uninstall {
        let mut first = exchanged.clone();
        let mut payload: Value = serde_json::from_str(&first.payload).unwrap();
        payload.as_object_mut().unwrap().retain(|name, _| name == "client_id" || name == "account_id");
        (payload["reason"], payload["tokens"], payload["epoch"]) =
            ("user".into(), Value::Array(vec![]), 0.into());
        (first.type_name, first.payload) = ("app-uninstalled".to_owned(), payload.to_string());
        first.event_id = EventId::new(Uuid::from_u128(7));
        first.digest = first.computed_digest();
        exchanged.position = Position::new(exchanged.position.as_u64() + 1);
        (exchanged.revision, exchanged.previous_digest) = (exchanged.revision.next(), first.digest);
        records.push(first);
    }
    change(&mut exchanged);
    exchanged.digest = exchanged.computed_digest();
    let end = exchanged.position;
    records.push(exchanged);
    let found = verified(records, end).await;
    assert!(found.findings.iter().all(|found| found.position == Some(end)), "{:?}", found.findings);
    found.findings.into_iter().map(|found| found.what).collect()
}

#[tokio::test]
async fn a_code_that_was_exchanged_for_something_else_or_too_late_is_found() {
    let refused = |found: Vec<String>, words: &str| {
        assert!(matches!(found.as_slice(), [one] if one.contains(words)), "{words}: {found:?}");
    };
    assert_eq!(exchange_changed(|_| {}, false).await, [""; 0]);
    let other = "it issues a token for another user, scopes or time than was granted";
    refused(exchange_changed(|it| set(it, "user_id", "eve"), false).await, other);
    refused(exchange_changed(|it| set(it, "granted_at", "2020-01-01T00:00:00.000000Z"), false).await, other);
    let more = |it: &mut Record| it.payload = it.payload.replace("\"scopes\":[", "\"scopes\":[\"all\",");
    refused(exchange_changed(more, false).await, other);
    let late = |it: &mut Record| it.recorded_at = it.recorded_at.plus(24 * HOUR);
    refused(exchange_changed(late, false).await, "its code is exchanged after its end at");
    let found = exchange_changed(|_| {}, true).await;
    refused(found, "the code was spent or ended before");
}

/// The ledger up to the first event of a type in these, which is changed.
async fn first_changed(type_name: &str, change: impl FnOnce(&mut Value, &mut Record)) -> Vec<String> {
    let mut records = history_of(type_name).await;
    let at = records.iter().position(|record| record.type_name == type_name).unwrap();
    records.truncate(at + 1);
    let record = records.last_mut().unwrap();
    let mut payload: Value = serde_json::from_str(&record.payload).unwrap();
    change(&mut payload, record);
    record.payload = payload.to_string();
    record.digest = record.computed_digest();
    let end = record.position;
    let found = verified(records, end).await;
    assert!(found.findings.iter().all(|found| found.position == Some(end)), "{:?}", found.findings);
    found.findings.into_iter().map(|found| found.what).collect()
}

#[track_caller]
fn assert_one(found: &[String], words: &str) {
    assert!(matches!(found, [one] if one.contains(words)), "{words}: {found:?}");
}

#[tokio::test]
async fn r2_a_refresh_of_a_token_that_was_spent_or_never_issued_is_found() {
    let never = "019a0000-0000-7000-8000-000000000000";
    let again = |record: &mut Record| {
        set(record, "token_id", never);
        set(record, "token_digest", &"a".repeat(64));
        let mut payload: Value = serde_json::from_str(&record.payload).unwrap();
        payload["refresh"]["token_id"] = "019a0000-0000-7000-8000-000000000001".into();
        record.payload = payload.to_string();
    };
    let (_, position, found) = with_another("token-refreshed", again).await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), "the refresh token was spent or ended before");
    let found = first_changed("token-refreshed", |event, _| event["spent_token_id"] = never.into()).await;
    assert_one(&found, "the refresh token was spent or ended before");
    let found = first_changed("token-refreshed", |event, _| event["grant_id"] = never.into()).await;
    assert_one(&found, "the grant does not exist");
    let found = first_changed("token-refreshed", |event, _| {
        event["refresh"]["family_digest"] = "a".repeat(64).into();
    });
    assert_one(&found.await, "the refresh token was spent or ended before");
}

#[tokio::test]
async fn r2_a_refresh_too_late_or_for_longer_than_refreshing_goes_on_is_found() {
    assert_eq!(first_changed("token-refreshed", |_, _| {}).await, [""; 0]);
    let late = |_: &mut Value, record: &mut Record| record.recorded_at = record.recorded_at.plus(24 * HOUR);
    assert_one(&first_changed("token-refreshed", late).await, "its refresh token is used after its end at");
    for end in [Value::Null, "2036-01-01T00:00:00.000000Z".into()] {
        let found = first_changed("token-refreshed", |event, _| event["refresh"]["expires_at"] = end).await;
        assert_one(&found, "it gets a refresh token that outlives the end of refreshing at");
    }
}

#[tokio::test]
async fn r4_a_refresh_for_more_than_was_granted_is_found() {
    let wider = "it issues a token for another user, scope or resource than was granted";
    let more = |event: &mut Value, _: &mut Record| event["scopes"] = vec!["faqs", "secrets"].into();
    assert_one(&first_changed("token-refreshed", more).await, wider);
    let other = |event: &mut Value, _: &mut Record| event["user_id"] = "eve".into();
    assert_one(&first_changed("token-refreshed", other).await, wider);
}

#[tokio::test]
async fn r3_r7_the_end_of_a_grant_that_leaves_a_token_or_ends_nothing_is_found() {
    for type_name in ["refresh-replayed", "grant-revoked"] {
        let none = |event: &mut Value, _: &mut Record| event["tokens"] = Value::Array(vec![]);
        assert_one(&first_changed(type_name, none).await, "it does not end every token of its grant");
    }
    let none = |record: &mut Record| {
        let mut payload: Value = serde_json::from_str(&record.payload).unwrap();
        payload["tokens"] = Value::Array(vec![]);
        record.payload = payload.to_string();
    };
    let (_, position, found) = with_another("refresh-replayed", none).await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), "presented again of a grant that has no token any more");
}

/// A random history with a refresh, and an event of some type after it: where each is.
async fn refreshed_and_then(type_name: &str) -> (Vec<Record>, usize, usize) {
    for seed in 23..40 {
        let (_, store) = history(seed).await;
        let records = everything(&*store).await;
        let Some(spends) = records.iter().position(|record| record.type_name == "token-refreshed") else {
            continue;
        };
        if let Some(at) = (spends + 1..records.len()).find(|&at| records[at].type_name == type_name) {
            return (records, spends, at);
        }
    }
    panic!("no history has a refresh, and then an event {type_name}");
}

/// The fold knows a token only while it is there.
#[tokio::test]
async fn a_token_id_that_is_issued_again_after_its_end_is_found() {
    for (issues, place) in [("code-exchanged", "/token_id"), ("token-refreshed", "/refresh/token_id")] {
        let (records, spends, at) = refreshed_and_then(issues).await;
        let spent: Value = serde_json::from_str(&records[spends].payload).unwrap();
        let mut cut = records[..=at].to_vec();
        let last = cut.last_mut().unwrap();
        let mut payload: Value = serde_json::from_str(&last.payload).unwrap();
        *payload.pointer_mut(place).unwrap() = spent["spent_token_id"].clone();
        last.payload = payload.to_string();
        last.digest = last.computed_digest();
        let position = last.position;
        let found = verified(cut, position).await;
        assert_eq!(found.found, 1, "{:?}", found.findings);
        assert_found(&found, position.as_u64(), "a grant or token ");
    }
}

/// The fold knows a grant only in its installation, and while something can depend on it.
#[tokio::test]
async fn a_grant_that_another_installation_has_is_found() {
    let (_, store) = history(23).await;
    let mut records = everything(&*store).await;
    let granted = |record: &&Record| record.type_name == "access-granted";
    let first = records.iter().find(granted).unwrap().clone();
    let id: Value = serde_json::from_str(&first.payload).unwrap();
    let at = records.iter().rposition(|record| granted(&record) && record.stream != first.stream).unwrap();
    records.truncate(at + 1);
    let last = records.last_mut().unwrap();
    set(last, "grant_id", id["grant_id"].as_str().unwrap());
    last.digest = last.computed_digest();
    let position = last.position;
    let found = verified(records, position).await;
    assert_eq!(found.found, 1, "{:?}", found.findings);
    assert_found(&found, position.as_u64(), &format!("was recorded at position {} already", first.position));
}

/// However wide a hole is, what is after it is read, and the hole is found.
#[tokio::test]
async fn what_is_after_a_wide_hole_is_read() {
    let (_, store) = history(23).await;
    let records = everything(&*store).await;
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions { identity: Uuid::from_u128(8), now: START };
    let ledger = SqliteStore::open(dir.path(), options).unwrap();
    for record in records.iter().cloned() {
        let (stream, expected) = (record.stream.clone(), Expected::before(record.revision));
        ledger.append(&stream, expected, vec![record.unplaced()]).await.unwrap();
    }
    ledger.close().await.unwrap();
    drop(ledger);
    let conn = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    conn.execute("UPDATE log SET position = -position - 50000 WHERE position > 20", ()).unwrap();
    conn.execute("UPDATE log SET position = -position WHERE position < 0", ()).unwrap();
    conn.execute("VACUUM", ()).unwrap();
    conn.close().unwrap();
    let ledger = SqliteStore::open_read_only(dir.path()).unwrap();
    let found = verify(&*ledger, Against::default(), |_| {}).await.unwrap();
    assert_found(&found, 20, "the record after it is missing; the next one is 50021");
    assert_eq!(found.events, records.len() as u64);
}

#[tokio::test]
async fn a_ledger_without_its_end_is_found() {
    let mut end = 0;
    let found = with(|records| {
        records.pop();
        end = records[records.len() - 1].position.as_u64();
    })
    .await;
    assert_found(&found, end, "goes on to");
}
