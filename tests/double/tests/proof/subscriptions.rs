//! Subscriptions to `$all`: history, being caught up, checkpoints, and falling behind.

use eventstore::{
    ExpectedRevision, StreamPosition, SubscribeToAllOptions, SubscriptionEvent, SubscriptionFilter,
};
use grantbook_eventstore_double::{Double, Options};

use crate::asking::{Said, append, bare, client, event, next, numbered, plant, quiet, subscription, until};

#[tokio::test]
async fn the_client_sees_history_and_then_what_is_new() {
    let double = quiet().await;
    let client = client(&double.url());
    plant(&double, "s-1", 0..1);
    plant(&double, "other", 1..2);
    let filter = SubscriptionFilter::on_stream_name().add_prefix("s-");
    let options = SubscribeToAllOptions::default().position(StreamPosition::Start).filter(filter);
    let mut events = client.subscribe_to_all(&options).await;
    let mut said = vec![];
    while said.last() != Some(&"caught up".to_owned()) {
        said.push(match events.next_subscription_event().await.unwrap() {
            SubscriptionEvent::Confirmed(_) => "confirmed".to_owned(),
            SubscriptionEvent::EventAppeared(event) => event.get_original_event().stream_id.clone(),
            SubscriptionEvent::Checkpoint(_) => "checkpoint".to_owned(),
            SubscriptionEvent::CaughtUp => "caught up".to_owned(),
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(said, ["confirmed", "s-1", "checkpoint", "caught up"]);
    append(&client, "s-2", ExpectedRevision::Any, vec![numbered(2)]).await.unwrap();
    assert_eq!(events.next().await.unwrap().get_original_event().stream_id, "s-2");
    assert_eq!(double.counts().nodes[0].subscriptions, 1);
}

#[tokio::test]
async fn checkpoints_say_how_far_was_looked() {
    let double = quiet().await;
    let first = plant(&double, "s-1", 0..2);
    let passed = plant(&double, "other", 2..27);
    let mut replies =
        bare(&double, 0).read(subscription(Some(first[0]), "s-", 10)).await.unwrap().into_inner();
    let said = until(&mut replies, Said::CaughtUp).await;
    let checkpoints =
        [Said::Checkpoint(passed[9]), Said::Checkpoint(passed[19]), Said::Checkpoint(passed[24])];
    assert_eq!(said[..2], [Said::Confirmed, event(1)]);
    assert_eq!(said[2..5], checkpoints);
    assert_eq!(said[5..], [Said::CaughtUp]);
    let live = plant(&double, "other", 27..47);
    plant(&double, "s-1", 47..48);
    let said = until(&mut replies, event(47)).await;
    assert_eq!(said, [Said::Checkpoint(live[9]), Said::Checkpoint(live[19]), event(47)]);
}

#[tokio::test]
async fn a_subscription_from_the_end_has_no_history() {
    use grantbook_eventstore_double::protocol::Empty;
    use grantbook_eventstore_double::protocol::streams::read_req::options::all_options::AllOption;
    use grantbook_eventstore_double::protocol::streams::read_req::options::{
        AllOptions, FilterOption, StreamOption,
    };
    let double = quiet().await;
    plant(&double, "s", 0..3);
    let mut request = subscription(None, "s", 1);
    let options = request.options.as_mut().unwrap();
    options.stream_option =
        Some(StreamOption::All(AllOptions { all_option: Some(AllOption::End(Empty {})) }));
    options.filter_option = Some(FilterOption::NoFilter(Empty {}));
    let mut replies = bare(&double, 0).read(request).await.unwrap().into_inner();
    assert_eq!(until(&mut replies, Said::CaughtUp).await, [Said::Confirmed, Said::CaughtUp]);
    plant(&double, "s", 3..5);
    assert_eq!(until(&mut replies, event(4)).await, [event(3), event(4)]);
}

#[tokio::test]
async fn a_subscription_behind_the_last_event_has_nothing_to_say_but_that() {
    let double = quiet().await;
    let last = plant(&double, "s", 0..3)[2];
    let mut replies = bare(&double, 0).read(subscription(Some(last), "s", 1)).await.unwrap().into_inner();
    assert_eq!(until(&mut replies, Said::CaughtUp).await, [Said::Confirmed, Said::CaughtUp]);
}

#[tokio::test]
async fn who_falls_behind_is_told_so_and_loses_nothing() {
    let double =
        Double::start(Options { live_buffer: 20, stats_every: 0, ..Options::default() }).await.unwrap();
    let mut replies = bare(&double, 0).read(subscription(None, "s", 1000)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    let gate = double.hold_subscriptions(0);
    let seen = plant(&double, "s", 0..20)[19];
    gate.open();
    let within: Vec<_> = (0..20).map(event).collect();
    assert_eq!(until(&mut replies, event(19)).await, within, "the buffer holds that many");
    let gate = double.hold_subscriptions(0);
    let last = plant(&double, "s", 20..41)[20];
    gate.open();
    let mut wanted = vec![Said::FellBehind, Said::Checkpoint(seen)];
    wanted.extend((20..41).map(event));
    wanted.extend([Said::Checkpoint(last), Said::CaughtUp]);
    assert_eq!(until(&mut replies, Said::CaughtUp).await, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_listen_at_once_and_leave() {
    let double = quiet().await;
    plant(&double, "s", 0..10_000);
    let mut listeners = vec![];
    for _ in 0..20 {
        let mut replies = bare(&double, 0).read(subscription(None, "s", 100)).await.unwrap().into_inner();
        listeners.push(tokio::spawn(async move {
            let mut events = 0;
            while events < 10_001 {
                events += usize::from(matches!(next(&mut replies).await.unwrap(), Some(Said::Event(_))));
            }
        }));
    }
    double.wait_for(|counts| counts.nodes[0].open_subscriptions == 20).await;
    plant(&double, "s", 10_000..10_001);
    for listener in listeners {
        listener.await.unwrap();
    }
    double.wait_for(|counts| counts.nodes[0].open_subscriptions == 0).await;
}
