//! Several nodes: who leads, who runs, and who lags.

use eventstore::{Error, ExpectedRevision};
use grantbook_eventstore_double::protocol::Empty;
use grantbook_eventstore_double::protocol::gossip::gossip_client::GossipClient;
use grantbook_eventstore_double::protocol::gossip::member_info::VNodeState;
use tonic::transport::Endpoint;

use crate::asking::{
    self, Said, append, bare, client, client_of_leader, event, forwards, next, numbered, plant, quiet, read,
    rest, subscription, three, until,
};

#[tokio::test]
async fn a_client_finds_the_leader_by_gossip() {
    let double = three().await;
    double.elect(1);
    let client = client_of_leader(&double.url());
    append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap();
    let appends: Vec<_> = double.counts().nodes.iter().map(|node| node.appends).collect();
    assert_eq!(appends, [0, 1, 0]);
    assert!(double.counts().sum(|node| node.gossips) > 0);
}

#[tokio::test]
async fn gossip_says_who_leads_and_who_runs() {
    let double = three().await;
    double.elect(2);
    double.stop_node(1).await;
    let address = format!("http://127.0.0.1:{}", double.port(0));
    let channel = Endpoint::from_shared(address).unwrap().connect_lazy();
    let members = GossipClient::new(channel).read(Empty {}).await.unwrap().into_inner().members;
    let said: Vec<_> = members
        .iter()
        .map(|member| (member.state, member.is_alive, member.http_end_point.as_ref().unwrap().port))
        .collect();
    let (follower, leader) = (VNodeState::Follower as i32, VNodeState::Leader as i32);
    let port = |index| u32::from(double.port(index));
    assert_eq!(said, [(follower, true, port(0)), (follower, false, port(1)), (leader, true, port(2))]);
}

#[tokio::test]
async fn who_asks_a_follower_for_the_leader_is_sent_there() {
    let double = three().await;
    let client = client_of_leader(&double.node_url(1));
    let error = append(&client, "s", ExpectedRevision::Any, vec![numbered(0)]).await.unwrap_err();
    match error {
        Error::NotLeaderException(leader) => assert_eq!(leader.port, u32::from(double.port(0))),
        error => panic!("{error}"),
    }
    // The client goes there by itself.
    append(&client, "s", ExpectedRevision::Any, vec![numbered(0)]).await.unwrap();
    assert_eq!(double.counts().nodes[0].appends, 1);
}

#[tokio::test]
async fn a_follower_hands_appends_on_to_the_leader_while_there_is_one() {
    let double = three().await;
    let follower = client(&double.node_url(2));
    append(&follower, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap();
    double.stop_node(0).await;
    let error = append(&follower, "s", ExpectedRevision::Exact(0), vec![numbered(1)]).await.unwrap_err();
    assert!(matches!(error, Error::ServerError(_)), "{error}");
    double.elect(1);
    append(&follower, "s", ExpectedRevision::Exact(0), vec![numbered(1)]).await.unwrap();
    assert_eq!(read(&follower, "s", &forwards()).await.unwrap(), [0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_killed_breaks_off_and_comes_back_with_what_it_had() {
    let double = quiet().await;
    plant(&double, "s", 0..3);
    let mut replies = bare(&double, 0).read(subscription(None, "s", 10)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    let (url, port) = (double.url(), double.port(0));
    double.stop_node(0).await;
    assert!(rest(&mut replies).await.1.is_err(), "the subscription breaks");
    let refused = bare(&double, 0).read(asking::read_stream("s")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable);
    double.wait_for(|counts| counts.nodes[0].open_subscriptions == 0).await;
    double.start_node(0).await.unwrap();
    assert_eq!((double.url(), double.port(0)), (url, port));
    assert_eq!(read(&client(&double.url()), "s", &forwards()).await.unwrap(), [0, 1, 2]);
}

#[tokio::test]
async fn what_a_killed_node_had_not_written_it_never_writes() {
    let double = quiet().await;
    let gate = double.hold_appends();
    let client = client(&double.url());
    let pending =
        tokio::spawn(async move { append(&client, "s", ExpectedRevision::Any, vec![numbered(0)]).await });
    double.waiting_appends(1).await;
    double.stop_node(0).await;
    assert!(pending.await.unwrap().is_err());
    gate.open();
    double.start_node(0).await.unwrap();
    double.wait_for(|counts| counts.nodes[0].waiting_appends == 0).await;
    assert_eq!(double.events_of("s").len(), 0);
}

#[tokio::test]
async fn a_follower_that_lags_answers_from_what_it_has() {
    let double = three().await;
    plant(&double, "s", 0..2);
    let mut replies = bare(&double, 1).read(subscription(None, "s", 10)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    let gate = double.hold_replication(1);
    let (leader, lagging) = (client(&double.node_url(0)), client(&double.node_url(1)));
    append(&lagging, "s", ExpectedRevision::Exact(1), vec![numbered(2)]).await.unwrap();
    append(&leader, "new", ExpectedRevision::NoStream, vec![numbered(3)]).await.unwrap();
    assert_eq!(read(&leader, "s", &forwards()).await.unwrap(), [0, 1, 2]);
    assert_eq!(read(&lagging, "s", &forwards()).await.unwrap(), [0, 1]);
    let absent = read(&lagging, "new", &forwards()).await.unwrap_err();
    assert!(matches!(absent, Error::ResourceNotFound), "{absent}");
    gate.open();
    assert_eq!(next(&mut replies).await.unwrap(), Some(event(2)));
    assert_eq!(read(&lagging, "s", &forwards()).await.unwrap(), [0, 1, 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_outlives_any_number_of_kills() {
    let double = quiet().await;
    let (url, mut acknowledged) = (double.url(), 0);
    let appending = tokio::spawn(async move {
        let mut numbers = vec![];
        let mut leader = client(&url);
        for number in 0..200 {
            match append(&leader, "s", ExpectedRevision::Any, vec![numbered(number)]).await {
                Ok(_) => numbers.push(number),
                // The client crate gives up for good when it cannot reconnect.
                Err(_) => leader = client(&url),
            }
        }
        numbers
    });
    for _ in 0..10 {
        let before = double.counts().nodes[0].appends;
        double.wait_for(|counts| counts.nodes[0].appends >= (before + 5).min(150)).await;
        double.stop_node(0).await;
        double.start_node(0).await.unwrap();
    }
    let stored = double.events_of("s");
    for number in appending.await.unwrap() {
        let id = uuid::Uuid::from_u128(number as u128 + 1);
        assert_eq!(double.events_of("s").iter().filter(|event| event.id == id).count(), 1, "{number}");
        acknowledged += 1;
    }
    assert!(acknowledged > 0 && stored.len() <= 200);
}

#[tokio::test]
async fn nothing_listens_once_the_double_is_gone() {
    let double = three().await;
    let mut replies = bare(&double, 1).read(subscription(None, "s", 10)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    let mut late = bare(&double, 1);
    drop(double);
    assert!(rest(&mut replies).await.1.is_err());
    assert_eq!(late.read(asking::read_stream("s")).await.unwrap_err().code(), tonic::Code::Unavailable);
}
