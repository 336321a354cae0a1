//! What is read is what was written. Knows: the trait. Must not know: which store it tests.

use super::*;

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

pub(crate) async fn has_what_was_seen_in_it(store: Arc<dyn Store>) {
    let start = store.head().await.unwrap().position;
    must_append(&*store, &fresh_stream(), Expected::NoStream, new_records(2)).await;
    must_append(&*store, &fresh_stream(), Expected::NoStream, new_records(2)).await;
    let mut previous = start;
    let mut last = None;
    for record in all_after(&*store, start, 100).await {
        let (position, mark) = (record.position, SeenMark::Event(record.event_id));
        let seen = SeenRecord { position, previous, mark };
        assert_eq!(store.has(&seen).await.unwrap(), Found::There);
        (previous, last) = (position, Some(seen));
    }
    let seen = last.unwrap();
    let other = SeenRecord { mark: SeenMark::Event(new_record("{}").event_id), ..seen };
    assert_eq!(store.has(&other).await.unwrap(), Found::Another);
    let beyond = SeenRecord { position: Position::new(1 << 62), previous, ..seen };
    let found = store.has(&beyond).await.unwrap();
    assert!(matches!(found, Found::EndsBefore(end) if end >= previous), "{found:?}");
}

/// Also where that is in the midst of what was appended at once.
pub(crate) async fn nothing_up_to_a_position_follows_it(store: Arc<dyn Store>) {
    let stream = fresh_stream();
    must_append(&*store, &stream, Expected::NoStream, new_records(3)).await;
    let first = store.read_stream(&stream, Revision::FIRST).await.unwrap()[0].position;
    let follow = |records: &[Record]| assert!(records.iter().all(|record| record.position > first));
    follow(&store.read_all(first, 10).await.unwrap());
    let mut subscription = store.subscribe(first).await.unwrap();
    while let Signal::Records(records) = subscription.next().await {
        follow(&records);
    }
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
    record.moved = true;
    must_append(&*store, &stream, Expected::NoStream, vec![record.clone()]).await;
    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    let mut placed = record.place(stream, Revision::FIRST, stored[0].position, ChainDigest::NONE);
    placed.link = stored[0].link;
    assert_eq!(stored, [placed]);
}
