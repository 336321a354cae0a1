//! What every store must do, as tests. Knows: the trait. Must not know: which store it tests.
//!
//! A store may be shared and full of other records: every test works on streams of its own with random
//! names, assumes nothing to be empty, and does no arithmetic on positions. `store_contract!(factory)`
//! makes one test of each function; the factory is an `async fn() -> (Arc<dyn Store>, Guard)` whose guard
//! lives as long as the test.

use std::sync::Arc;

use grantbook_events::{EventId, InstallationId, Position, Revision, StreamKind, StreamName, Timestamp};
use uuid::Uuid;

use super::{
    Append, ChainDigest, Expected, MAX_APPEND_BYTES, MAX_APPEND_EVENTS, MAX_EVENT_BYTES, NewRecord, Record,
    Signal, Store, StoreError, Subscription,
};

macro_rules! store_contract {
    ($factory:path) => {
        $crate::store::contract::store_contract!($factory:
            exact_revision, conflict_names_the_actual_revision, all_or_nothing, retry_is_harmless,
            retry_after_later_appends, partial_overlap_is_a_conflict, reads_a_stream_from_a_revision,
            reads_all_in_pages, newest_are_all_that_follow_or_none, subscription_hands_over_history_then_live, subscription_from_the_head,
            slow_subscriber_loses_nothing, dropped_subscription_harms_nobody,
            one_winner_for_each_revision, one_of_many_creates_the_stream, no_position_appears_late,
            limits_are_checked, digests_chain, text_comes_back_as_it_was, closed_refuses_appends
        );
    };
    ($factory:path: $($name:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _guard) = $factory().await;
                $crate::store::contract::$name(store).await;
            }
        )*
    };
}
pub(crate) use store_contract;

/// A stream nobody else has.
#[expect(clippy::disallowed_methods, reason = "streams of a shared store must not meet")]
pub(crate) fn fresh_stream() -> StreamName {
    StreamKind::Installation(InstallationId::new(Uuid::new_v4())).into()
}

/// A record nobody else has, with a payload.
#[expect(clippy::disallowed_methods, reason = "event ids are random per attempt")]
pub(crate) fn new_record(payload: &str) -> NewRecord {
    NewRecord {
        event_id: EventId::new(Uuid::new_v4()),
        type_name: "token-revoked".to_owned(),
        version: 1,
        recorded_at: Timestamp::from_micros(1_767_323_045_000_006),
        metadata: r#"{"actor":{"kind":"system","id":"contract"}}"#.to_owned(),
        payload: payload.to_owned(),
    }
}

/// Some records with payloads that tell them apart.
pub(crate) fn new_records(count: usize) -> Vec<NewRecord> {
    (0..count).map(|number| new_record(&format!(r#"{{"number":{number}}}"#))).collect()
}

async fn must_append(
    store: &dyn Store,
    stream: &StreamName,
    expected: Expected,
    records: Vec<NewRecord>,
) -> (Revision, Position) {
    match store.append(stream, expected, records).await {
        Ok(Append::Appended { revision, position }) => (revision, position),
        other => panic!("expected to append at {expected:?}: {other:?}"),
    }
}

fn ids(records: &[Record]) -> Vec<EventId> {
    records.iter().map(|record| record.event_id).collect()
}

fn new_ids(records: &[NewRecord]) -> Vec<EventId> {
    records.iter().map(|record| record.event_id).collect()
}

async fn stream_ids(store: &dyn Store, stream: &StreamName) -> Vec<EventId> {
    ids(&store.read_stream(stream, Revision::FIRST).await.unwrap())
}

const fn at(revision: u64) -> Expected {
    Expected::Exactly(Revision::new(revision))
}

pub(crate) async fn exact_revision(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let records = new_records(3);
    let mut last = store.head().await.unwrap().position;
    for (number, record) in records.iter().enumerate() {
        let expected = Expected::after(number.checked_sub(1).map(|n| Revision::new(n as u64)));
        let (revision, position) = must_append(&*store, &stream, expected, vec![record.clone()]).await;
        assert_eq!(revision, Revision::new(number as u64));
        assert!(position > last, "{position} must be beyond {last}");
        assert!(store.head().await.unwrap().position >= position);
        last = position;
    }
    assert_eq!(stream_ids(&*store, &stream).await, new_ids(&records));
}

pub(crate) async fn conflict_names_the_actual_revision(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let conflict = |actual| Append::Conflict { actual };
    let try_at = |expected| store.append(&stream, expected, new_records(1));
    assert_eq!(try_at(at(0)).await.unwrap(), conflict(None));
    assert_eq!(stream_ids(&*store, &stream).await, []);

    must_append(&*store, &stream, Expected::NoStream, new_records(2)).await;
    for wrong in [Expected::NoStream, at(0), at(2), at(u64::MAX / 4)] {
        assert_eq!(try_at(wrong).await.unwrap(), conflict(Some(Revision::new(1))), "{wrong:?}");
    }
    assert_eq!(stream_ids(&*store, &stream).await.len(), 2);
    must_append(&*store, &stream, at(1), new_records(1)).await;
}

pub(crate) async fn all_or_nothing(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let (first, second) = (new_records(5), new_records(4));
    let (revision, position) = must_append(&*store, &stream, Expected::NoStream, first.clone()).await;
    assert_eq!(revision, Revision::new(4));
    let refused = store.append(&stream, at(3), second.clone()).await.unwrap();
    assert_eq!(refused, Append::Conflict { actual: Some(Revision::new(4)) });
    must_append(&*store, &stream, at(4), second.clone()).await;

    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    assert_eq!(ids(&stored), [new_ids(&first), new_ids(&second)].concat());
    assert!(stored.iter().zip(0..).all(|(record, n)| record.revision == Revision::new(n)));
    assert!(stored.is_sorted_by(|a, b| a.position < b.position));
    assert_eq!(stored[4].position, position);
}

pub(crate) async fn retry_is_harmless(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let first = new_records(3);
    let place = must_append(&*store, &stream, Expected::NoStream, first.clone()).await;
    assert_eq!(must_append(&*store, &stream, Expected::NoStream, first.clone()).await, place);
    let second = new_records(2);
    let place = must_append(&*store, &stream, at(2), second.clone()).await;
    assert_eq!(must_append(&*store, &stream, at(2), second.clone()).await, place);
    assert_eq!(stream_ids(&*store, &stream).await, [new_ids(&first), new_ids(&second)].concat());
}

pub(crate) async fn retry_after_later_appends(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let (first, second) = (new_records(2), new_records(2));
    let first_place = must_append(&*store, &stream, Expected::NoStream, first.clone()).await;
    let second_place = must_append(&*store, &stream, at(1), second.clone()).await;
    for number in 3..40 {
        must_append(&*store, &stream, at(number), new_records(1)).await;
    }
    assert_eq!(must_append(&*store, &stream, Expected::NoStream, first).await, first_place);
    assert_eq!(must_append(&*store, &stream, at(1), second).await, second_place);
    assert_eq!(stream_ids(&*store, &stream).await.len(), 41);
}

pub(crate) async fn partial_overlap_is_a_conflict(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let stored = new_records(3);
    must_append(&*store, &stream, Expected::NoStream, stored.clone()).await;
    let conflict = Append::Conflict { actual: Some(Revision::new(2)) };
    let longer: Vec<_> = stored.iter().cloned().chain(new_records(1)).collect();
    let swapped: Vec<_> = stored.iter().rev().cloned().collect();
    let half_new: Vec<_> = stored[..2].iter().cloned().chain(new_records(1)).collect();
    for overlapping in [longer, swapped, half_new, stored[1..].to_vec()] {
        let outcome = store.append(&stream, Expected::NoStream, overlapping).await.unwrap();
        assert_eq!(outcome, conflict);
    }
    assert_eq!(stream_ids(&*store, &stream).await, new_ids(&stored));
}

pub(crate) async fn reads_a_stream_from_a_revision(store: Arc<dyn Store>) {
    let (stream, other) = (fresh_stream(), fresh_stream());
    let records = new_records(6);
    must_append(&*store, &stream, Expected::NoStream, records[..4].to_vec()).await;
    must_append(&*store, &other, Expected::NoStream, new_records(2)).await;
    must_append(&*store, &stream, at(3), records[4..].to_vec()).await;
    for from in 0..8 {
        let stored = store.read_stream(&stream, Revision::new(from as u64)).await.unwrap();
        assert_eq!(ids(&stored), new_ids(&records[from.min(6)..]), "from {from}");
        assert!(stored.iter().all(|record| record.stream == stream));
    }
    assert_eq!(store.read_stream(&fresh_stream(), Revision::FIRST).await.unwrap(), []);
}

pub(crate) async fn reads_all_in_pages(store: Arc<dyn Store>) {
    let (one, two) = (fresh_stream(), fresh_stream());
    let start = store.head().await.unwrap().position;
    let (a, b, c) = (new_records(3), new_records(3), new_records(3));
    must_append(&*store, &one, Expected::NoStream, a.clone()).await;
    must_append(&*store, &two, Expected::NoStream, b.clone()).await;
    must_append(&*store, &one, at(2), c.clone()).await;
    let expected = [new_ids(&a), new_ids(&b), new_ids(&c)].concat();
    for limit in [1, 2, 4, usize::MAX] {
        let stored = all_after(&*store, start, limit).await;
        assert!(stored.is_sorted_by(|a, b| a.position < b.position), "limit {limit}");
        let mine: Vec<_> =
            stored.into_iter().filter(|record| record.stream == one || record.stream == two).collect();
        assert_eq!(ids(&mine), expected, "limit {limit}");
    }
    let end = store.read_stream(&one, Revision::FIRST).await.unwrap()[5].position;
    assert!(store.read_all(end, 10).await.unwrap().iter().all(|record| record.position > end));
    assert_eq!(store.read_all(Position::new(u64::MAX), 10).await.unwrap(), []);
}

async fn all_after(store: &dyn Store, mut after: Position, limit: usize) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let page = store.read_all(after, limit).await.unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        after = last.position;
        all.extend(page);
    }
}

/// Reads a subscription until it has given as many records of a stream as asked for; counts `CaughtUp`.
async fn take(subscription: &mut Subscription, stream: &StreamName, count: usize) -> (Vec<Record>, usize) {
    let (mut taken, mut caught_up) = (Vec::new(), 0);
    while taken.len() < count {
        match subscription.next().await {
            Signal::Records(records) => {
                taken.extend(records.into_iter().filter(|record| record.stream == *stream));
            }
            Signal::CaughtUp => caught_up += 1,
            Signal::Lost(error) => panic!("lost: {error}"),
        }
    }
    (taken, caught_up)
}

pub(crate) async fn newest_are_all_that_follow_or_none(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let before = store.head().await.unwrap().position;
    let records = new_records(3);
    must_append(&*store, &stream, Expected::NoStream, records.clone()).await;
    if let Some(newest) = store.newest(before) {
        assert!(newest.is_sorted_by(|a, b| a.position < b.position));
        assert!(newest.iter().all(|record| record.position > before));
        let ours: Vec<_> = newest.into_iter().filter(|record| record.stream == stream).collect();
        assert_eq!(ids(&ours), new_ids(&records));
    }
}

pub(crate) async fn subscription_hands_over_history_then_live(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let start = store.head().await.unwrap().position;
    let (history, live) = (new_records(5), new_records(3));
    must_append(&*store, &stream, Expected::NoStream, history.clone()).await;
    let mut subscription = store.subscribe(start).await.unwrap();
    let (taken, caught_up) = take(&mut subscription, &stream, 5).await;
    assert_eq!((ids(&taken), caught_up), (new_ids(&history), 0), "history comes before CaughtUp");
    loop {
        match subscription.next().await {
            Signal::CaughtUp => break,
            // Others may write to a shared store.
            Signal::Records(records) => assert!(records.iter().all(|record| record.stream != stream)),
            Signal::Lost(error) => panic!("lost: {error}"),
        }
    }
    for (number, record) in live.iter().enumerate() {
        must_append(&*store, &stream, at(4 + number as u64), vec![record.clone()]).await;
    }
    let (taken, caught_up) = take(&mut subscription, &stream, 3).await;
    assert_eq!((ids(&taken), caught_up), (new_ids(&live), 0), "CaughtUp is said once");
}

pub(crate) async fn subscription_from_the_head(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    must_append(&*store, &stream, Expected::NoStream, new_records(3)).await;
    let head = store.head().await.unwrap().position;
    let mut subscription = store.subscribe(head).await.unwrap();
    let records = new_records(2);
    must_append(&*store, &stream, at(2), records.clone()).await;
    let (taken, caught_up) = take(&mut subscription, &stream, 2).await;
    assert_eq!(ids(&taken), new_ids(&records));
    assert_eq!(caught_up, 1);
    assert!(taken.iter().all(|record| record.position > head));
}

/// Far more than any channel holds, with a subscriber that reads nothing until all is written.
pub(crate) async fn slow_subscriber_loses_nothing(store: Arc<dyn Store>) {
    const APPENDS: u64 = 300;
    const EACH: u64 = 64;
    let stream = fresh_stream();
    let mut after = store.head().await.unwrap().position;
    let mut subscription = store.subscribe(after).await.unwrap();
    let mut expected = Expected::NoStream;
    for _ in 0..APPENDS {
        let (revision, _) = must_append(&*store, &stream, expected, new_records(EACH as usize)).await;
        expected = Expected::Exactly(revision);
    }
    let mut next = 0;
    while next < APPENDS * EACH {
        match subscription.next().await {
            Signal::Records(records) => {
                for record in records {
                    assert!(record.position > after, "positions must rise");
                    after = record.position;
                    if record.stream == stream {
                        assert_eq!(record.revision, Revision::new(next), "no gap, none twice");
                        next += 1;
                    }
                }
            }
            Signal::CaughtUp => {}
            // A store may give up on a slow subscriber, which then goes on where it was.
            Signal::Lost(_) => subscription = store.subscribe(after).await.unwrap(),
        }
    }
}

pub(crate) async fn dropped_subscription_harms_nobody(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let start = store.head().await.unwrap().position;
    drop(store.subscribe(start).await.unwrap());
    must_append(&*store, &stream, Expected::NoStream, new_records(3)).await;
    drop(store.subscribe(start).await.unwrap());
    must_append(&*store, &stream, at(2), new_records(1)).await;
    let mut subscription = store.subscribe(start).await.unwrap();
    assert_eq!(take(&mut subscription, &stream, 4).await.0.len(), 4);
}

pub(crate) async fn one_winner_for_each_revision(store: Arc<dyn Store>) {
    const CALLERS: usize = 8;
    const ROUNDS: usize = 25;
    let stream = fresh_stream();
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (store, stream) = (Arc::clone(&store), stream.clone());
            tokio::spawn(async move {
                let (mut won, mut expected) = (Vec::new(), Expected::NoStream);
                while won.len() < ROUNDS {
                    let record = new_record("{}");
                    let id = record.event_id;
                    match store.append(&stream, expected, vec![record]).await.unwrap() {
                        Append::Appended { revision, .. } => {
                            won.push((revision, id));
                            expected = Expected::Exactly(revision);
                        }
                        Append::Conflict { actual } => expected = Expected::after(actual),
                        Append::Unknown { reason } => panic!("unknown: {reason}"),
                    }
                }
                won
            })
        })
        .collect();
    let mut won = Vec::new();
    for caller in callers {
        won.extend(caller.await.unwrap());
    }
    won.sort_unstable();
    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    let stored: Vec<_> = stored.iter().map(|record| (record.revision, record.event_id)).collect();
    assert_eq!(stored, won, "every revision was won once, by whom the store says");
    assert_eq!(won.len(), CALLERS * ROUNDS);
}

pub(crate) async fn one_of_many_creates_the_stream(store: Arc<dyn Store>) {
    for _ in 0..10 {
        let stream = fresh_stream();
        let callers: Vec<_> = (0..16)
            .map(|_| {
                let (store, stream) = (Arc::clone(&store), stream.clone());
                tokio::spawn(async move { store.append(&stream, Expected::NoStream, new_records(2)).await })
            })
            .collect();
        let mut winners = 0;
        for caller in callers {
            match caller.await.unwrap().unwrap() {
                Append::Appended { revision, .. } => {
                    assert_eq!(revision, Revision::new(1));
                    winners += 1;
                }
                outcome => assert_eq!(outcome, Append::Conflict { actual: Some(Revision::new(1)) }),
            }
        }
        assert_eq!(winners, 1);
        assert_eq!(stream_ids(&*store, &stream).await.len(), 2);
    }
}

/// A reader that follows the head while many write must never have to go back.
pub(crate) async fn no_position_appears_late(store: Arc<dyn Store>) {
    let start = store.head().await.unwrap().position;
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (store, stream) = (Arc::clone(&store), fresh_stream());
            tokio::spawn(async move {
                let mut expected = Expected::NoStream;
                for _ in 0..40 {
                    let (revision, _) = must_append(&*store, &stream, expected, new_records(2)).await;
                    expected = Expected::Exactly(revision);
                }
                stream
            })
        })
        .collect();
    let (mut after, mut seen) = (start, Vec::new());
    while callers.iter().any(|caller| !caller.is_finished()) {
        for record in store.read_all(after, 7).await.unwrap() {
            assert!(record.position > after);
            after = record.position;
            seen.push(record.position);
        }
        tokio::task::yield_now().await;
    }
    seen.extend(all_after(&*store, after, 100).await.iter().map(|record| record.position));
    for caller in callers {
        caller.await.unwrap();
    }
    let again: Vec<_> = all_after(&*store, start, 100).await.iter().map(|record| record.position).collect();
    // A shared store may have gone on in between.
    assert_eq!(seen, again[..seen.len()], "what was read while it grew is what is there");
    assert!(seen.len() >= 8 * 40 * 2);
}

pub(crate) async fn limits_are_checked(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let sized = |size: usize| {
        let mut record = new_record("");
        record.payload = format!("{:?}", "x".repeat(size - record.metadata.len() - 2));
        assert_eq!(record.size(), size);
        record
    };
    let full = MAX_APPEND_BYTES / MAX_EVENT_BYTES;
    let rest = MAX_APPEND_BYTES % MAX_EVENT_BYTES;
    let largest: Vec<_> = (0..full).map(|_| sized(MAX_EVENT_BYTES)).chain([sized(rest)]).collect();
    let mut too_large = largest.clone();
    too_large.push(new_record("{}"));
    for refused in [vec![sized(MAX_EVENT_BYTES + 1)], new_records(MAX_APPEND_EVENTS + 1), too_large] {
        let outcome = store.append(&stream, Expected::NoStream, refused).await;
        assert!(matches!(outcome, Err(StoreError::TooLarge { .. })), "{outcome:?}");
    }
    let outcome = store.append(&stream, Expected::NoStream, Vec::new()).await;
    assert!(matches!(outcome, Err(StoreError::EmptyAppend)), "{outcome:?}");
    assert_eq!(stream_ids(&*store, &stream).await, []);

    let (revision, _) = must_append(&*store, &stream, Expected::NoStream, largest.clone()).await;
    let many = new_records(MAX_APPEND_EVENTS);
    must_append(&*store, &stream, Expected::Exactly(revision), many.clone()).await;
    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    assert_eq!(ids(&stored), [new_ids(&largest), new_ids(&many)].concat());
    assert!(stored.iter().all(Record::is_intact));
}

pub(crate) async fn digests_chain(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let start = store.head().await.unwrap().position;
    must_append(&*store, &stream, Expected::NoStream, new_records(3)).await;
    must_append(&*store, &fresh_stream(), Expected::NoStream, new_records(1)).await;
    must_append(&*store, &stream, at(2), new_records(2)).await;
    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    let mut previous = ChainDigest::NONE;
    for record in &stored {
        assert_eq!(record.previous_digest, previous);
        assert!(record.is_intact());
        previous = record.digest;
    }
    let mut all = all_after(&*store, start, 100).await;
    all.retain(|record| record.stream == stream);
    assert_eq!(all, stored, "read_all and read_stream give the same records");
}

pub(crate) async fn text_comes_back_as_it_was(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let mut record =
        new_record("{\"text\":\"ä€𐍈 \\u0000 \\\" \u{7f}\",\"big\":12345678901234567890,\"b\":1,\"a\":2.50}");
    record.version = u16::MAX;
    record.recorded_at = Timestamp::from_micros(-1);
    must_append(&*store, &stream, Expected::NoStream, vec![record.clone()]).await;
    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    let placed = record.place(stream, Revision::FIRST, stored[0].position, ChainDigest::NONE);
    assert_eq!(stored, [placed]);
}

pub(crate) async fn closed_refuses_appends(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    let start = store.head().await.unwrap().position;
    let mut subscription = store.subscribe(start).await.unwrap();
    must_append(&*store, &stream, Expected::NoStream, new_records(2)).await;
    store.close().await.unwrap();
    let outcome = store.append(&stream, at(1), new_records(1)).await;
    assert!(matches!(outcome, Err(StoreError::Closed)), "{outcome:?}");
    assert!(store.close().await.is_ok(), "closing twice is closing once");
    let mut seen = 0;
    let error = loop {
        match subscription.next().await {
            Signal::Records(records) => {
                seen += records.iter().filter(|record| record.stream == stream).count();
            }
            Signal::CaughtUp => {}
            Signal::Lost(error) => break error,
        }
    };
    assert_eq!(seen, 2, "what was appended before the end is handed over");
    assert!(matches!(error, StoreError::Closed), "{error:?}");
}
