//! A cluster that was put back to an older state. Knows: the double. Must not know: what the records mean.

use super::faults::{append_surely, double, open_without_heartbeats};
use super::*;
use crate::store::Signal;
use crate::store::contract::{fresh_stream, new_records};

/// A subscription that has handed over everything there is.
async fn caught_up(store: &EventStore, records: usize) -> Subscription {
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    let mut seen = 0;
    while seen < records {
        if let Signal::Records(records) = subscription.next().await {
            seen += records.len();
        }
    }
    subscription
}

async fn lost(subscription: &mut Subscription) -> String {
    loop {
        if let Signal::Lost(error) = subscription.next().await {
            assert!(matches!(error, StoreError::EndsEarly(_)), "{error:?}");
            return error.to_string();
        }
    }
}

#[tokio::test]
async fn one_that_ends_before_what_was_seen_is_not_followed_and_takes_nothing() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let (kept, gone) = (fresh_stream(), fresh_stream());
    append_surely(&store, &kept, Expected::NoStream).await;
    let end = store.read_all(Position::START, 10).await.unwrap()[0].position;
    append_surely(&store, &gone, Expected::NoStream).await;
    let mut subscription = caught_up(&store, 2).await;
    double.cut_after(end.as_u64()).await.unwrap();
    let said = lost(&mut subscription).await;
    for words in [&format!("ends at position {end}"), "put back to an older state", "--accept-loss"] {
        assert!(said.contains(words), "{said}");
    }
    let refused = loop {
        match store.append(&kept, Expected::Exactly(Revision::FIRST), new_records(1)).await {
            Err(StoreError::EndsEarly(refused)) => break refused,
            Err(StoreError::Unavailable(_)) | Ok(Append::Unknown { .. }) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refused, said);
    assert_eq!(double.events_of(kept.as_str()).len(), 1);
}

/// By another node, which had not seen what is gone.
#[tokio::test]
async fn one_that_has_grown_again_is_known_by_its_events() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let stream = fresh_stream();
    let mut expected = Expected::NoStream;
    for _ in 0..3 {
        expected = Expected::Exactly(append_surely(&store, &stream, expected).await);
    }
    let first = store.read_all(Position::START, 10).await.unwrap()[0].position;
    let mut subscription = caught_up(&store, 3).await;
    let gate = double.hold_subscriptions(0);
    double.cut_after(first.as_u64()).await.unwrap();
    let other = open_without_heartbeats(&double);
    let mut expected = Expected::Exactly(Revision::FIRST);
    for _ in 0..4 {
        expected = Expected::Exactly(append_surely(&other, &stream, expected).await);
    }
    drop(gate);
    let said = lost(&mut subscription).await;
    assert!(said.contains("has another event at position"), "{said}");
}
