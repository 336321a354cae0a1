//! What a subscriber gets, and when. Knows: the trait. Must not know: which store it tests.

use super::*;

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
            Signal::UpTo(_) => {}
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
                for record in records.iter() {
                    assert!(record.position > after, "positions must rise");
                    after = record.position;
                    if record.stream == stream {
                        assert_eq!(record.revision, Revision::new(next), "no gap, none twice");
                        next += 1;
                    }
                }
            }
            Signal::CaughtUp | Signal::UpTo(_) => {}
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
