//! Streams that are deleted, truncated, or written by others, and what a scavenge takes.

use eventstore::{
    Client, DeleteStreamOptions, Error, EventData, ExpectedRevision, ReadStreamOptions, StreamPosition,
    TombstoneStreamOptions,
};
use grantbook_eventstore_double::Double;
use tonic::Code;

use crate::asking::{
    self, Said, append, bare, client, event, forwards, numbered, plant, quiet, read, rest, subscription,
    three, until,
};
use crate::batching::{self, Batch};

/// Revisions and data of what `$all` has of a stream.
fn in_all(double: &Double, stream: &str) -> Vec<(u64, String)> {
    let of_stream = double.all().into_iter().filter(|event| &*event.stream == stream);
    of_stream.map(|event| (event.revision, String::from_utf8(event.data.to_vec()).unwrap())).collect()
}

fn numbers(range: std::ops::Range<u64>) -> Vec<(u64, String)> {
    range.map(|number| (number, number.to_string())).collect()
}

async fn is_not_found(client: &Client, stream: &str) -> bool {
    matches!(read(client, stream, &forwards()).await, Err(Error::ResourceNotFound))
}

#[tokio::test]
async fn a_deleted_stream_is_not_found_and_may_be_continued() {
    let double = quiet().await;
    let client = client(&double.url());
    plant(&double, "s", 0..3);
    client.delete_stream("s", &DeleteStreamOptions::default()).await.unwrap();
    assert!(is_not_found(&client, "s").await);
    assert_eq!(in_all(&double, "$$s"), [(0, format!(r#"{{"$tb":{}}}"#, i64::MAX))]);
    assert_eq!(double.events_of("$$s")[0].event_type, "$metadata");
    assert_eq!(in_all(&double, "s"), numbers(0..3));
    let absent = append(&client, "s", ExpectedRevision::StreamExists, vec![numbered(9)]).await.unwrap_err();
    assert!(matches!(absent, Error::WrongExpectedVersion { .. }), "{absent}");
    for (expected, first) in
        [(ExpectedRevision::NoStream, 3), (ExpectedRevision::Any, 5), (ExpectedRevision::Exact(6), 7)]
    {
        let events = vec![numbered(first), numbered(first + 1)];
        let written = append(&client, "s", expected, events).await.unwrap();
        assert_eq!(written.next_expected_version, first as u64 + 1);
        assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [first, first + 1]);
        assert_eq!(in_all(&double, "$$s").last().unwrap().1, format!(r#"{{"$tb":{first}}}"#));
        double.soft_delete("s");
        assert!(is_not_found(&client, "s").await);
    }
    assert_eq!(in_all(&double, "s").len(), 9);
}

#[tokio::test]
async fn a_stream_that_has_ended_refuses_everything() {
    let double = quiet().await;
    let client = client(&double.url());
    plant(&double, "s", 0..2);
    client.tombstone_stream("s", &TombstoneStreamOptions::default()).await.unwrap();
    double.hard_delete("other");
    let [tombstone] = &double.events_of("s")[2..] else { panic!("one tombstone") };
    assert_eq!((tombstone.event_type.as_str(), tombstone.revision), ("$streamDeleted", i64::MAX as u64));
    assert_eq!((tombstone.data.len(), tombstone.custom_metadata.len()), (0, 0));
    let mut all =
        bare(&double, 0).read(asking::read_all(Some(tombstone.position), 1)).await.unwrap().into_inner();
    let seen = all.message().await.unwrap().unwrap();
    assert!(format!("{seen:?}").contains(&format!("stream_revision: {}", i64::MAX)), "{seen:?}");
    let status = bare(&double, 0).read(asking::read_stream("s")).await.unwrap_err();
    let trailer = |name| status.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(trailer("exception").as_deref(), Some("stream-deleted"));
    assert_eq!(trailer("stream-name").as_deref(), Some("s"));
    let mut batch = Batch::open(&double, 0);
    for stream in ["s", "$$s", "other"] {
        for expected in [ExpectedRevision::Any, ExpectedRevision::NoStream, ExpectedRevision::Exact(1)] {
            let error = append(&client, stream, expected, vec![numbered(9)]).await.unwrap_err();
            assert!(matches!(error, Error::ResourceDeleted), "{error}");
        }
        batch.send(batching::append(9, stream, batching::any()));
        assert_eq!(batch.next().await, (9, batching::Said::Error(5, "StreamDeleted".to_owned())));
    }
    let again = client.delete_stream("s", &DeleteStreamOptions::default()).await.unwrap_err();
    assert!(matches!(again, Error::ResourceDeleted), "{again}");
    assert_eq!(double.events_of("s").len(), 3);
}

#[tokio::test]
async fn a_deletion_is_refused_where_an_append_would_be() {
    let double = three().await;
    let client = client(&double.node_url(1));
    plant(&double, "s", 0..2);
    let options =
        |revision| DeleteStreamOptions::default().expected_revision(ExpectedRevision::Exact(revision));
    let error = client.delete_stream("s", &options(0)).await.unwrap_err();
    assert!(matches!(error, Error::Grpc { code: Code::FailedPrecondition, .. }), "{error}");
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1]);
    let position = client.delete_stream("s", &options(1)).await.unwrap().unwrap();
    assert_eq!(position.commit, double.events_of("$$s")[0].position);
    double.stop_node(0).await;
    client.tombstone_stream("s", &TombstoneStreamOptions::default()).await.unwrap_err();
    assert_eq!(double.events_of("s").len(), 2);
}

#[tokio::test]
async fn a_scavenge_takes_what_can_no_longer_be_read() {
    let double = quiet().await;
    let client = client(&double.url());
    for stream in ["kept", "truncated", "deleted", "ended"] {
        plant(&double, stream, 0..5);
    }
    let before: Vec<_> = double.all().iter().map(|event| (event.id, event.position)).collect();
    double.append_foreign("$$truncated", "$metadata", r#"{"$tb":2}"#, "");
    double.append_foreign("$$truncated", "$metadata", r#"{"$tb":3}"#, "");
    double.soft_delete("deleted");
    double.hard_delete("ended");
    for stream in ["kept", "truncated", "deleted", "ended"] {
        assert_eq!(in_all(&double, stream)[..5], numbers(0..5), "{stream}");
    }
    double.scavenge();
    double.scavenge();
    assert_eq!(in_all(&double, "kept"), numbers(0..5));
    assert_eq!(in_all(&double, "truncated"), numbers(3..5));
    assert_eq!(in_all(&double, "deleted"), numbers(4..5), "the last one says where the stream goes on");
    assert_eq!(in_all(&double, "ended"), [(i64::MAX as u64, String::new())]);
    assert_eq!(in_all(&double, "$$truncated"), [(1, r#"{"$tb":3}"#.to_owned())]);
    assert_eq!(in_all(&double, "$$deleted").len(), 1);
    let left = double.all();
    assert!(
        left.iter().all(|event| {
            before.iter().all(|(id, position)| *id != event.id || *position == event.position)
        })
    );
    // What is left is read as before, in each way.
    assert_eq!(read(&client, "truncated", &forwards()).await.unwrap(), [3, 4]);
    assert!(is_not_found(&client, "deleted").await);
    let from = double.events_of("truncated")[0].position - 1;
    let mut all = bare(&double, 0).read(asking::read_all(Some(from), 2)).await.unwrap().into_inner();
    assert_eq!(rest(&mut all).await.0, [event(3), event(4)]);
    let mut all = bare(&double, 0).read(subscription(None, "deleted", 1000)).await.unwrap().into_inner();
    let said = until(&mut all, Said::CaughtUp).await;
    assert_eq!(said[..2], [Said::Confirmed, event(4)]);
    let next = append(&client, "deleted", ExpectedRevision::NoStream, vec![numbered(5)]).await.unwrap();
    assert_eq!(next.next_expected_version, 5);
    assert_eq!(until(&mut all, event(5)).await.last(), Some(&event(5)));
    assert_eq!(read(&client, "deleted", &forwards()).await.unwrap(), [5]);
    let ended = append(&client, "ended", ExpectedRevision::Any, vec![numbered(5)]).await.unwrap_err();
    assert!(matches!(ended, Error::ResourceDeleted), "{ended}");
}

#[tokio::test]
async fn others_write_into_any_stream() {
    let double = quiet().await;
    let client = client(&double.url());
    append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap();
    let foreign = double.append_foreign("s", "order-placed", "1", "");
    assert_eq!((foreign.revision, &*foreign.custom_metadata), (1, &b""[..]));
    let late = append(&client, "s", ExpectedRevision::Exact(0), vec![numbered(2)]).await.unwrap_err();
    assert!(matches!(late, Error::WrongExpectedVersion { .. }), "{late}");
    append(&client, "s", ExpectedRevision::Exact(1), vec![numbered(2)]).await.unwrap();
    assert_eq!(double.append_foreign("new", "order-placed", "3", "").revision, 0);
    append(&client, "new", ExpectedRevision::Exact(0), vec![numbered(4)]).await.unwrap();
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1, 2]);
    let options = ReadStreamOptions::default().position(StreamPosition::Start).max_count(1);
    let mut events = client.read_stream("new", &options).await.unwrap();
    let first = events.next().await.unwrap().unwrap();
    assert_eq!(first.get_original_event().event_type, "order-placed");
    let theirs = EventData::binary("theirs", "5".into());
    append(&client, "new", ExpectedRevision::Any, vec![theirs]).await.unwrap();
    let data: Vec<_> = double.all().iter().skip(1).map(|event| event.data.clone()).collect();
    assert_eq!(data, ["0", "1", "2", "3", "4", "5"], "they are in $all in their order");
}
