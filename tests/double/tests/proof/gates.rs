//! Every gate holds up what its name says, and loses nothing.

use std::time::Duration;

use eventstore::{AppendToStreamOptions, Error, ExpectedRevision};
use grantbook_eventstore_double::ReadKind;

use crate::asking::{
    Said, append, bare, client, event, forwards, next, numbered, plant, quiet, read, subscription, three,
    until,
};

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
