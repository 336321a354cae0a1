//! Many callers at once. Knows: the trait. Must not know: which store it tests.

use super::*;

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
