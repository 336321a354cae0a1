//! A cluster that loses what it had.

use eventstore::ExpectedRevision;
use tonic::Code;

use crate::asking::{
    self, Said, append, bare, client, event, forwards, next, numbered, plant, quiet, read, rest,
    subscription, three, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_is_put_back_to_an_older_state() {
    let double = three().await;
    let positions = plant(&double, "s", 0..5);
    append(&client(&double.url()), "s", ExpectedRevision::Any, vec![numbered(5)]).await.unwrap();
    plant(&double, "other", 6..7);
    double.append_foreign("$$s", "$metadata", r#"{"$tb":2}"#, "");
    double.hard_delete("ended");
    let last = plant(&double, "other", 8..12)[3];
    double.stop_node(2).await;
    let ports = [0, 1, 2].map(|index| double.port(index));
    let mut replies = bare(&double, 1).read(subscription(None, "s", 10)).await.unwrap().into_inner();
    until(&mut replies, Said::CaughtUp).await;
    double.cut_after(positions[2]).await.unwrap();
    assert!(rest(&mut replies).await.1.is_err(), "the subscription breaks");
    assert_eq!(ports, [0, 1, 2].map(|index| double.port(index)));
    let stopped = bare(&double, 2).read(asking::read_stream("s")).await.unwrap_err();
    assert_eq!(stopped.code(), Code::Unavailable, "what did not run does not run now");
    assert_eq!((double.events_of("s").len(), double.events_of("other").len()), (3, 0));
    assert!(double.all().iter().all(|event| event.position <= positions[2] || event.stream.starts_with('$')));
    for node in [0, 1] {
        let client = client(&double.node_url(node));
        assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1, 2], "its metadata is gone as well");
        assert!(read(&client, "other", &forwards()).await.is_err());
    }
    // What is appended is new, also with an id that was there, and takes the place of what was.
    let client = client(&double.node_url(1));
    plant(&double, "s", 20..22);
    append(&client, "s", ExpectedRevision::Any, vec![numbered(5)]).await.unwrap();
    append(&client, "ended", ExpectedRevision::NoStream, vec![numbered(7)]).await.unwrap();
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1, 2, 20, 21, 5]);
    let again = double.events_of("s")[5].position;
    assert!(again > positions[2] && again < last, "{again} {last} {positions:?}");
}

#[tokio::test]
async fn what_is_after_the_end_is_empty_until_something_comes() {
    let double = quiet().await;
    let positions = plant(&double, "s", 0..5);
    double.cut_after(positions[1]).await.unwrap();
    let end = double.all().last().unwrap().position;
    let mut all = bare(&double, 0).read(asking::read_all(Some(end + 1), 10)).await.unwrap().into_inner();
    let (said, end) = rest(&mut all).await;
    assert_eq!((said, end.is_ok()), (vec![], true));
    let mut replies =
        bare(&double, 0).read(subscription(Some(positions[4] + 1000), "s", 10)).await.unwrap().into_inner();
    assert_eq!(next(&mut replies).await.unwrap(), Some(Said::Confirmed));
    let mut numbers = 5..;
    // It says nothing of what has a smaller position than asked for.
    while double.all().last().unwrap().position <= positions[4] + 1000 {
        let number = numbers.next().unwrap();
        plant(&double, "s", number..number + 1);
    }
    let first = event(numbers.start - 1);
    let said = until(&mut replies, first.clone()).await;
    assert_eq!(said.iter().filter(|said| **said != Said::CaughtUp).collect::<Vec<_>>(), [&first]);
}
