//! What others do to grantbook's streams: events that it did not write, deleting, cutting, scavenging. Knows: the double's
//! handles. Must not know: what the records mean.

use super::faults::{double, open_without_heartbeats, url_of};
use super::*;
use crate::store::Signal;
use crate::store::contract::{fresh_stream, new_records};

/// Every record of the ledger, with its fault.
async fn faults(store: &EventStore) -> Vec<(StreamName, Option<String>)> {
    let records = store.read_all(Position::START, 100).await.unwrap();
    records.into_iter().map(|record| (record.stream, record.fault.map(Into::into))).collect()
}

/// The same, from a subscription that lasts until there are so many.
async fn pushed(store: &EventStore, count: usize) -> Vec<(StreamName, Option<String>)> {
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < count {
        match subscription.next().await {
            Signal::Records(records) => {
                let fault = |fault: &Option<Box<str>>| fault.as_deref().map(str::to_owned);
                seen.extend(records.iter().map(|record| (record.stream.clone(), fault(&record.fault))));
            }
            Signal::CaughtUp | Signal::UpTo(_) => {}
            Signal::Lost(error) => panic!("{error}"),
        }
    }
    seen
}

#[track_caller]
fn assert_says(fault: &(StreamName, Option<String>), stream: &StreamName, words: &str) {
    let (of, Some(said)) = fault else { panic!("{fault:?}") };
    assert!(of == stream && said.contains(words), "{of}: {said}");
}

#[tokio::test]
async fn what_grantbook_did_not_write_is_named_and_all_else_is_read() {
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    // Streams of others may begin alike.
    double.append_foreign("app-of-somebody-else", "thing-done", "{}", "");
    double.append_foreign("installation-7", "thing-done", "{}", "");
    double.append_foreign("$$app-of-somebody-else", "$metadata", r#"{"$tb":1}"#, "");
    assert_eq!(store.read_all(Position::START, 10).await.unwrap(), []);
    let [changed, foreign, forged, sound] = std::array::from_fn(|_| fresh_stream());
    store.append(&changed, Expected::NoStream, new_records(1)).await.unwrap();
    double.append_foreign(foreign.as_str(), "order-placed", "{}", r#"{"by":"shop"}"#);
    store.append(&sound, Expected::NoStream, new_records(1)).await.unwrap();
    double.tamper(changed.as_str(), 0, |event| event.data = "{\"number\":7}".into());
    // A record of another stream does not pass for one of this.
    let theirs = double.events_of(sound.as_str())[0].clone();
    let (data, metadata) = (theirs.data.clone(), theirs.custom_metadata.clone());
    double.append_foreign(forged.as_str(), &theirs.event_type, data, metadata);
    store.append(&sound, Expected::Exactly(Revision::FIRST), new_records(1)).await.unwrap();

    let all = faults(&store).await;
    assert_says(&all[0], &changed, "its digest differs");
    assert_says(&all[1], &foreign, "grantbook did not write it");
    assert_eq!(all[2], (sound.clone(), None));
    assert_says(&all[3], &forged, "its digest differs");
    assert_eq!(all[4..], [(sound.clone(), None)]);
    assert_eq!(pushed(&store, 5).await, all);
    // A store that has not written any of them itself.
    let store = open_without_heartbeats(&double);
    for stream in [&changed, &foreign, &forged] {
        let read = store.read_stream(stream, Revision::FIRST).await;
        assert!(matches!(read, Err(StoreError::Damaged { .. })), "{read:?}");
        let appended = store.append(stream, Expected::Exactly(Revision::FIRST), new_records(1)).await;
        assert!(appended.is_err(), "{appended:?}");
        assert_eq!(double.events_of(stream.as_str()).len(), 1);
    }
    assert_eq!(store.read_stream(&sound, Revision::FIRST).await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_stream_that_was_deleted_for_good_is_named_and_never_appended_to() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let (deleted, sound) = (fresh_stream(), fresh_stream());
    for stream in [&deleted, &sound] {
        store.append(stream, Expected::NoStream, new_records(1)).await.unwrap();
    }
    double.hard_delete(deleted.as_str());
    let all = faults(&store).await;
    assert_eq!(all[..2], [(deleted.clone(), None), (sound.clone(), None)]);
    assert_says(&all[2], &deleted, "deleted from the cluster for good");
    assert_eq!(pushed(&store, 3).await, all);
    for expected in [Expected::NoStream, Expected::Exactly(Revision::FIRST)] {
        let refused = store.append(&deleted, expected, new_records(1)).await;
        assert!(matches!(refused, Err(StoreError::Damaged { .. })), "{refused:?}");
    }
    assert!(matches!(store.read_stream(&deleted, Revision::FIRST).await, Err(StoreError::Damaged { .. })));
    double.scavenge();
    let all = faults(&store).await;
    assert_says(&all[1], &deleted, "deleted from the cluster for good");
    assert_eq!((all[0].clone(), all.len()), ((sound, None), 2), "the events of the other are gone");
}

#[tokio::test]
async fn a_stream_that_was_deleted_or_cut_is_named() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let [deleted, cut, limited, allowed] = std::array::from_fn(|_| fresh_stream());
    for stream in [&deleted, &cut, &limited, &allowed] {
        store.append(stream, Expected::NoStream, new_records(2)).await.unwrap();
    }
    double.soft_delete(deleted.as_str());
    for (stream, metadata) in
        [(&cut, r#"{"$tb":1}"#), (&limited, r#"{"$maxCount":1}"#), (&allowed, r#"{"$acl":{"$r":"ops"}}"#)]
    {
        double.append_foreign(&format!("$${stream}"), "$metadata", metadata, "");
    }
    let all = faults(&store).await;
    assert!(all[..8].iter().all(|(_, fault)| fault.is_none()), "{all:?}");
    assert_says(&all[8], &deleted, "was deleted from the cluster");
    assert_says(&all[9], &cut, "cut off before revision 1");
    assert_says(&all[10], &limited, "$maxCount");
    assert_eq!(all.len(), 11);
    assert_eq!(pushed(&store, 11).await, all);
    // One that has not heard of it is not let begin the stream again.
    let refused = store.append(&deleted, Expected::NoStream, new_records(1)).await;
    assert!(
        matches!(&refused, Err(StoreError::Damaged { detail, .. }) if detail.contains("was deleted")),
        "{refused:?}"
    );
    assert!(matches!(store.read_stream(&cut, Revision::FIRST).await, Err(StoreError::Damaged { .. })));
}
