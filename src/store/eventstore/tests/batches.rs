//! Many appends over one call. Knows: the double's gates and counts. Must not know: what the records mean.

use futures_util::future::join_all;
use grantbook_eventstore_double::AppendFault;

use super::faults::{append_surely, double, open_without_heartbeats};
use super::*;
use crate::store::contract::{fresh_stream, new_records};

#[tokio::test]
async fn a_conflict_is_an_answer_and_does_not_end_the_call() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let stream = fresh_stream();
    append_surely(&store, &stream, Expected::NoStream).await;
    let gate = double.hold_appends();
    let streams: Vec<_> = (0..20).map(|_| fresh_stream()).collect();
    let appends = join_all(streams.iter().map(|other| async {
        tokio::join!(
            store.append(&stream, Expected::NoStream, new_records(1)),
            store.append(other, Expected::NoStream, new_records(1)),
        )
    }));
    let release = async {
        double.waiting_appends(40).await;
        drop(gate);
    };
    let (outcomes, ()) = tokio::join!(appends, release);
    for (conflict, appended) in outcomes {
        assert_eq!(conflict.unwrap(), Append::Conflict { actual: Some(Revision::FIRST) });
        assert!(matches!(appended, Ok(Append::Appended { .. })), "{appended:?}");
    }
    assert_eq!(store.counts().reconnected, 0, "all by one call");
}

#[tokio::test]
async fn a_call_that_broke_off_leaves_no_append_without_an_answer() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    append_surely(&store, &fresh_stream(), Expected::NoStream).await;
    let gate = double.hold_replies();
    let streams: Vec<_> = (0..20).map(|_| fresh_stream()).collect();
    let appends =
        join_all(streams.iter().map(|stream| store.append(stream, Expected::NoStream, new_records(1))));
    let breaks = async {
        double.waiting_appends(20).await;
        double.stop_node(0).await;
        drop(gate);
        double.start_node(0).await.unwrap();
    };
    let (outcomes, ()) = tokio::join!(appends, breaks);
    for outcome in outcomes {
        assert!(matches!(outcome, Ok(Append::Unknown { .. })), "{outcome:?}");
    }
    append_surely(&store, &fresh_stream(), Expected::NoStream).await;
    assert!(store.counts().reconnected > 0);
}

/// A leader that takes an append and hands it on only after another leads must not make it a refusal.
#[tokio::test]
async fn a_leader_that_changes_is_followed() {
    let double = double(3).await;
    let store = open_without_heartbeats(&double);
    let stream = fresh_stream();
    append_surely(&store, &stream, Expected::NoStream).await;
    double.next_append(AppendFault::NotLeader);
    let appended = store.append(&stream, Expected::Exactly(Revision::FIRST), new_records(1)).await;
    assert!(matches!(appended, Ok(Append::Appended { .. })), "{appended:?}");
    double.elect(2);
    let last = Expected::Exactly(Revision::new(1));
    let appended = store.append(&stream, last, new_records(1)).await;
    assert!(matches!(appended, Ok(Append::Appended { .. })), "{appended:?}");
}

#[tokio::test]
async fn copies_are_in_order_and_many_under_way() {
    let (source, target) = (double(1).await, double(1).await);
    let from = open_without_heartbeats(&source);
    let streams: Vec<_> = (0..40).map(|_| fresh_stream()).collect();
    for round in 0..3 {
        for stream in &streams {
            let expected = Expected::before(Revision::new(round * 2));
            from.append(stream, expected, new_records(2)).await.unwrap();
        }
    }
    let records = from.read_all(Position::START, 1000).await.unwrap();
    let to = open_without_heartbeats(&target);
    let gate = target.hold_appends();
    let runs = records.chunk_by(|one, next| one.stream == next.stream).map(|records| Run {
        stream: records[0].stream.clone(),
        expected: Expected::before(records[0].revision),
        records: records.to_vec(),
    });
    let release = async {
        target.waiting_appends(120).await;
        drop(gate);
    };
    let (copied, ()) = tokio::join!(to.copy_in(runs.collect()), release);
    copied.unwrap();
    let copy = to.read_all(Position::START, 1000).await.unwrap();
    let digests = |records: &[Record]| records.iter().map(|record| record.digest).collect::<Vec<_>>();
    assert_eq!(digests(&copy), digests(&records));
}
