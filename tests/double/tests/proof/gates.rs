//! Every gate holds up what its name says, and loses nothing.

use std::time::Duration;

use eventstore::{AppendToStreamOptions, Error, ExpectedRevision};
use grantbook_eventstore_double::ReadKind;

use crate::asking::{
    Said, append, bare, client, event, forwards, next, numbered, plant, quiet, read, subscription, three,
    until,
};
use crate::batching::{self, Batch, Said as Answer, any, not_ready, stored};

#[tokio::test]
async fn appends_wait_before_they_are_written() {
    let double = quiet().await;
    let client = client(&double.url());
    let gate = double.hold_appends();
    let second = double.hold_appends();
    let appending = [0, 1].map(|number| {
        let (client, stream) = (client.clone(), format!("s-{number}"));
        tokio::spawn(
            async move { append(&client, &stream, ExpectedRevision::Any, vec![numbered(number)]).await },
        )
    });
    double.waiting_appends(2).await;
    assert_eq!((double.events_of("s-0").len(), double.counts().nodes[0].appends), (0, 2));
    gate.open();
    assert_eq!(double.counts().nodes[0].waiting_appends, 2, "the other gate still stands");
    drop(second);
    for appended in appending {
        appended.await.unwrap().unwrap();
    }
    assert_eq!((double.events_of("s-0").len(), double.counts().nodes[0].waiting_appends), (1, 0));
}

#[tokio::test]
async fn an_append_is_written_though_nobody_waits_for_it_any_more() {
    let double = quiet().await;
    let client = client(&double.url());
    let gate = double.hold_appends();
    let options = AppendToStreamOptions::default().deadline(Duration::from_millis(20));
    let error = client.append_to_stream("s", &options, numbered(0)).await.unwrap_err();
    assert!(matches!(error, Error::DeadlineExceeded), "{error}");
    double.waiting_appends(1).await;
    gate.open();
    double.wait_for(|counts| counts.nodes[0].waiting_appends == 0).await;
    // It is written by the time the next one is answered.
    append(&client, "other", ExpectedRevision::Any, vec![numbered(1)]).await.unwrap();
    assert_eq!(double.events_of("s").len(), 1);
}

#[tokio::test]
async fn replies_wait_behind_what_is_written() {
    let double = quiet().await;
    let client = client(&double.url());
    let gate = double.hold_replies();
    let appending = {
        let client = client.clone();
        tokio::spawn(async move { append(&client, "s", ExpectedRevision::Any, vec![numbered(0)]).await })
    };
    double.waiting_appends(1).await;
    assert_eq!((double.events_of("s").len(), double.counts().nodes[0].waiting_replies), (1, 1));
    assert!(!appending.is_finished());
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0]);
    gate.open();
    appending.await.unwrap().unwrap();
}

#[tokio::test]
async fn reads_wait_before_they_begin() {
    let double = three().await;
    plant(&double, "s", 0..1);
    let client = client(&double.node_url(1));
    let gate = double.hold_reads(ReadKind::Stream);
    let reading = {
        let client = client.clone();
        tokio::spawn(async move { read(&client, "s", &forwards()).await })
    };
    double.wait_for(|counts| counts.nodes[1].waiting_reads == 1).await;
    plant(&double, "s", 1..2);
    gate.open();
    assert_eq!(reading.await.unwrap().unwrap(), [0, 1]);
    let _elsewhere = double.hold_reads_at(0, ReadKind::Stream);
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1]);
}

#[tokio::test]
async fn the_subscriptions_of_one_node_wait() {
    let double = three().await;
    let mut held = bare(&double, 1).read(subscription(None, "s", 1000)).await.unwrap().into_inner();
    let mut free = bare(&double, 2).read(subscription(None, "s", 1000)).await.unwrap().into_inner();
    until(&mut held, Said::CaughtUp).await;
    until(&mut free, Said::CaughtUp).await;
    let gate = double.hold_subscriptions(1);
    plant(&double, "s", 0..3);
    assert_eq!(until(&mut free, event(2)).await.len(), 3);
    let early = tokio::time::timeout(Duration::from_millis(20), next(&mut held)).await;
    assert!(early.is_err(), "{early:?}");
    gate.open();
    assert_eq!(until(&mut held, event(2)).await, [event(0), event(1), event(2)]);
}

#[tokio::test]
async fn checkpoints_do_not_pass_events_that_wait() {
    let double = quiet().await;
    let mut replies = bare(&double, 0).read(subscription(None, "s", 5)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    let gate = double.checkpoints_only(0);
    let before = plant(&double, "other", 0..12);
    plant(&double, "s", 12..14);
    let between = plant(&double, "other", 14..20);
    plant(&double, "s", 20..21);
    let wanted = [Said::Checkpoint(before[4]), Said::Checkpoint(before[9])];
    assert_eq!(until(&mut replies, wanted[1].clone()).await, wanted);
    let early = tokio::time::timeout(Duration::from_millis(20), next(&mut replies)).await;
    assert!(early.is_err(), "{early:?}");
    gate.open();
    let said = until(&mut replies, event(20)).await;
    assert_eq!(said, [event(12), event(13), Said::Checkpoint(between[2]), event(20)]);
}

/// Nothing comes of something for a while.
async fn is_silent(work: &mut (impl Future + Unpin)) -> bool {
    tokio::time::timeout(Duration::from_millis(20), work).await.is_err()
}

#[tokio::test]
async fn a_frozen_node_does_what_was_sent_to_it_afterwards() {
    let double = quiet().await;
    let patient = client(&double.url());
    append(&patient, "s", ExpectedRevision::Any, vec![numbered(0)]).await.unwrap();
    let mut batch = Batch::open(&double, 0);
    batch.send(batching::append(1, "s", any()));
    batch.next().await;
    let mut replies = bare(&double, 0).read(subscription(None, "s", 10)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    let before = double.counts();
    let gate = double.freeze(0);
    batch.send(batching::append(2, "s", any()));
    // The port takes connections: this one is new.
    let connection = tokio::net::TcpStream::connect(("127.0.0.1", double.port(0))).await.unwrap();
    let mut other = bare(&double, 0);
    let mut reading = Box::pin(other.read(crate::asking::read_stream("s")));
    plant(&double, "s", 3..4);
    assert!(is_silent(&mut reading).await);
    assert!(is_silent(&mut Box::pin(batch.next())).await);
    assert!(is_silent(&mut Box::pin(next(&mut replies))).await);
    assert_eq!(
        (double.counts().nodes[0].appends, stored(&double, "s")),
        (before.nodes[0].appends, vec!["0".into(), "1".into(), "3".into()])
    );
    drop(connection);
    gate.open();
    assert_eq!(batch.next().await, (2, Answer::Written(3, true)));
    assert_eq!(until(&mut replies, event(2)).await, [event(3), event(2)]);
    reading.await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_leader_leads_until_another_is_elected() {
    let double = three().await;
    let gate = double.freeze(0);
    let (mut forwarded, follower) = (Batch::open(&double, 1), client(&double.node_url(2)));
    forwarded.send(batching::append(1, "s", any()));
    let mut appending =
        tokio::spawn(async move { append(&follower, "s", ExpectedRevision::Any, vec![numbered(2)]).await });
    double.waiting_appends(2).await;
    assert!(is_silent(&mut appending).await);
    assert_eq!((double.leader(), double.events_of("s").len()), (0, 0));
    double.elect(1);
    assert_eq!(forwarded.next().await, (1, not_ready()));
    appending.await.unwrap().unwrap_err();
    forwarded.send(batching::append(3, "s", any()));
    assert_eq!(forwarded.next().await, (3, Answer::Written(0, true)));
    let mut deposed = Batch::with(&double, 0, &[("requires-leader", "true")]);
    deposed.send(batching::append(4, "s", any()));
    gate.open();
    assert_eq!(deposed.rest().await.1.unwrap_err().code(), tonic::Code::NotFound);
    // One that is only slow is waited for, and writes.
    let gate = double.freeze(1);
    let mut handed_on = Batch::open(&double, 0);
    handed_on.send(batching::append(5, "s", any()));
    double.waiting_appends(1).await;
    gate.open();
    assert_eq!(handed_on.next().await, (5, Answer::Written(1, true)));
    let _frozen = double.freeze(1);
    double.stop_node(1).await;
    assert_eq!(stored(&double, "s"), ["3", "5"]);
}
