//! What an append does, refuses and survives. Knows: the trait. Must not know: which store it tests.

use std::time::Duration;

use super::*;

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

/// A clock may be ahead and be put right: what was recorded then stays the latest until it gets there again. Where
/// several nodes append, each has a clock of its own, and a record is what it was sent as.
pub(crate) async fn one_writer_records_nothing_before_its_last_record(store: Arc<dyn Store>) {
    let new = || new_records(1).remove(0);
    let time = new().recorded_at;
    let (later, earlier) = (time.plus(Duration::from_secs(3600)), time);
    let (one, two) = (fresh_stream(), fresh_stream());
    let append_at = async |stream: &StreamName, expected, recorded_at, moved| {
        let record = NewRecord { recorded_at, moved, ..new() };
        let appended = store.append(stream, expected, vec![record]).await.unwrap();
        let Append::Appended { revision, recorded_at: said, .. } = appended else { panic!("{appended:?}") };
        let there = store.read_stream(stream, revision).await.unwrap().remove(0);
        assert!(there.is_intact());
        assert_eq!(said, there.recorded_at);
        said
    };
    let first = append_at(&one, Expected::NoStream, later, false).await;
    let second = append_at(&two, Expected::NoStream, earlier, false).await;
    let moved = append_at(&two, at(0), earlier, true).await;
    assert_eq!(moved, earlier, "what comes out of another store keeps its time");
    let third = append_at(&one, at(0), earlier, false).await;
    match store.latest_time() {
        Some(latest) => assert!(first >= later && second >= first && third >= second && latest >= third),
        None => assert_eq!((first, second, third), (later, earlier, earlier)),
    }
    // Also within what is written at once.
    let streams: Vec<_> = (0..40).map(|_| fresh_stream()).collect();
    let before = store.head().await.unwrap().position;
    let mut all = tokio::task::JoinSet::new();
    for (number, stream) in (0_u64..).zip(streams) {
        let record = NewRecord { recorded_at: later.plus(Duration::from_secs(number * 37 % 40)), ..new() };
        let store = Arc::clone(&store);
        all.spawn(async move { must_append(&*store, &stream, Expected::NoStream, vec![record]).await });
    }
    all.join_all().await;
    let written = all_after(&*store, before, 100).await;
    if store.latest_time().is_some() {
        assert!(written.is_sorted_by_key(|record| record.recorded_at));
    }
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
            Signal::CaughtUp | Signal::UpTo(_) => {}
            Signal::Lost(error) => break error,
        }
    };
    assert_eq!(seen, 2, "what was appended before the end is handed over");
    assert!(matches!(error, StoreError::Closed), "{error:?}");
}
