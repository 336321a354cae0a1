//! Reading streams and `$all`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use eventstore::{Error, ExpectedRevision, ReadAllOptions, ReadStreamOptions, StreamPosition};
use grantbook_eventstore_double::protocol::streams::ReadReq;
use grantbook_eventstore_double::protocol::streams::read_req::Options;
use grantbook_eventstore_double::protocol::streams::read_req::options::{ControlOption, CountOption};
use grantbook_eventstore_double::{Clock, Double, Options as DoubleOptions};
use tonic::Code;
use uuid::Uuid;

use crate::asking::{self, Said, append, bare, client, event, forwards, numbered, plant, quiet, read, rest};

#[tokio::test]
async fn a_stream_is_read_in_both_directions() {
    let double = quiet().await;
    let client = client(&double.url());
    plant(&double, "s", 0..200);
    let at = |revision| StreamPosition::Position(revision);
    let options = ReadStreamOptions::default;
    let cases = [
        (options().forwards(), (0..200).collect::<Vec<_>>()),
        (options().position(at(150)).forwards().max_count(2), vec![150, 151]),
        (options().forwards().position(at(199)), vec![199]),
        (options().forwards().position(at(500)), vec![]),
        (options().position(StreamPosition::End).forwards(), vec![]),
        (options().backwards().position(StreamPosition::End).max_count(3), vec![199, 198, 197]),
        (options().backwards().position(StreamPosition::End), (0..200).rev().collect()),
        (options().backwards().position(at(1)), vec![1, 0]),
        (options().position(StreamPosition::Start).backwards(), vec![0]),
    ];
    for (case, (options, wanted)) in cases.into_iter().enumerate() {
        assert_eq!(read(&client, "s", &options).await.unwrap(), wanted, "case {case}");
    }
    let absent = read(&client, "absent", &forwards()).await.unwrap_err();
    assert!(matches!(absent, Error::ResourceNotFound), "{absent}");
    assert_eq!(double.counts().nodes[0].stream_reads, 10);
}

#[tokio::test]
async fn an_event_is_read_as_it_was_written() {
    let now = UNIX_EPOCH + Duration::from_micros(1_700_000_000_123_456);
    let double =
        Double::start(DoubleOptions { clock: Clock::new(move || now), ..Default::default() }).await.unwrap();
    let client = client(&double.url());
    let new = numbered(7).metadata("beside".into());
    let written = append(&client, "s", ExpectedRevision::Any, vec![new]).await.unwrap();
    let mut events = client.read_stream("s", &forwards()).await.unwrap();
    let event = events.next().await.unwrap().unwrap();
    let event = event.get_original_event();
    assert_eq!((event.id, event.revision), (Uuid::from_u128(8), 0));
    assert_eq!((&event.data[..], &event.custom_metadata[..]), (&b"7"[..], &b"beside"[..]));
    assert_eq!((event.event_type.as_str(), event.is_json), ("numbered", false));
    assert_eq!(event.position, written.position);
    assert_eq!(
        (event.position.commit, event.position.prepare),
        (event.position.prepare, event.position.commit)
    );
    assert_eq!(event.created.timestamp(), 1_700_000_000);
    let stored = double.events_of("s")[0].clone();
    assert_eq!(
        (stored.id, stored.position, stored.created),
        (event.id, event.position.commit, 17_000_000_001_234_560)
    );
    assert!(double.tamper("s", 0, |event| event.data = "8".into()));
    assert!(!double.tamper("s", 1, |_| {}));
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [8]);
}

#[tokio::test]
async fn all_is_read_in_both_directions_with_what_the_system_writes() {
    let double = Double::start(DoubleOptions { stats_every: 2, ..Default::default() }).await.unwrap();
    let client = client(&double.url());
    plant(&double, "s", 0..150);
    let everything: Vec<_> = double.all().iter().map(|event| event.position).collect();
    assert_eq!(everything.len(), 1 + 150 + 75);
    assert!(double.all()[0].stream.starts_with('$'), "it begins with the system");
    let read = async |options: ReadAllOptions| {
        let mut events = client.read_all(&options).await.unwrap();
        let mut positions = vec![];
        while let Some(event) = events.next().await.unwrap() {
            positions.push(event.get_original_event().position.commit);
        }
        positions
    };
    let at = |index: usize| {
        StreamPosition::Position(eventstore::Position {
            commit: everything[index],
            prepare: everything[index],
        })
    };
    let options = || ReadAllOptions::default().max_count(1000);
    let backwards: Vec<_> = everything.iter().rev().copied().collect();
    assert_eq!(read(options().forwards()).await, everything);
    assert_eq!(read(options().forwards().position(at(5)).max_count(2)).await, everything[5..7]);
    assert_eq!(read(options().position(StreamPosition::End).forwards()).await, [0; 0]);
    assert_eq!(read(options().backwards().position(StreamPosition::End)).await, backwards);
    assert_eq!(read(options().backwards().position(at(3))).await, backwards[backwards.len() - 3..]);
    assert_eq!(read(options().position(StreamPosition::Start).backwards()).await, [0; 0]);
}

#[tokio::test]
async fn all_is_read_through_a_filter() {
    let double = quiet().await;
    plant(&double, "a-1", 0..100);
    plant(&double, "b-1", 100..200);
    let last = plant(&double, "a-2", 200..203);
    let mut request = asking::read_all(None, 102);
    let filtered = asking::subscription(None, "a-", 10);
    request.options.as_mut().unwrap().filter_option = filtered.options.unwrap().filter_option;
    let mut replies = bare(&double, 0).read(request).await.unwrap().into_inner();
    let wanted: Vec<_> = (0..100).chain(200..202).map(event).collect();
    let (said, end) = rest(&mut replies).await;
    assert_eq!(said, wanted);
    end.unwrap();
    let mut replies = bare(&double, 0).read(asking::read_all(Some(last[1]), 9)).await.unwrap().into_inner();
    assert_eq!(rest(&mut replies).await.0, [event(201), event(202)]);
}

#[tokio::test]
async fn who_understands_it_is_told_where_a_stream_ends() {
    let double = quiet().await;
    plant(&double, "s", 0..3);
    let mut request = asking::read_stream("s");
    let options = request.options.as_mut().unwrap();
    options.count_option = Some(CountOption::Count(1));
    options.control_option = Some(ControlOption { compatibility: 1 });
    let mut replies = bare(&double, 0).read(request).await.unwrap().into_inner();
    assert_eq!(rest(&mut replies).await.0, [event(0), Said::Last(2)]);
}

#[tokio::test]
async fn a_request_that_leaves_something_open_is_refused() {
    let double = quiet().await;
    let whole = asking::read_all(None, 1).options.unwrap();
    let parts = [
        Options { filter_option: None, ..whole.clone() },
        Options { count_option: None, ..whole.clone() },
        Options { stream_option: None, ..whole.clone() },
        Options { uuid_option: None, ..whole.clone() },
    ];
    for options in parts {
        let status = bare(&double, 0).read(ReadReq { options: Some(options) }).await.unwrap_err();
        assert!(matches!(status.code(), Code::InvalidArgument | Code::Unknown), "{status}");
    }
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_said_in_a_message() {
    let double = quiet().await;
    let mut replies = bare(&double, 0).read(asking::read_stream("absent")).await.unwrap().into_inner();
    let (said, end) = rest(&mut replies).await;
    assert_eq!(said, [Said::NotFound]);
    end.unwrap();
}

#[tokio::test]
async fn metadata_hides_old_events_from_a_stream() {
    let seconds = Arc::new(AtomicU64::new(1000));
    let told = Arc::clone(&seconds);
    let clock = Clock::new(move || UNIX_EPOCH + Duration::from_secs(told.load(Ordering::SeqCst)));
    let double = Double::start(DoubleOptions { clock, stats_every: 0, ..Default::default() }).await.unwrap();
    let client = client(&double.url());
    let backwards = || ReadStreamOptions::default().backwards().position(StreamPosition::End);
    plant(&double, "s", 0..5);
    double.append_foreign("$$s", "$metadata", r#"{"$maxCount":2}"#, "");
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [3, 4]);
    assert_eq!(read(&client, "s", &backwards()).await.unwrap(), [4, 3]);
    plant(&double, "s", 5..6);
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [4, 5]);
    assert_eq!(double.events_of("s").len(), 6, "a scavenge has not been");
    assert_eq!(double.all().iter().filter(|event| &*event.stream == "s").count(), 6);
    double.append_foreign("$$s", "$metadata", r#"{"$maxAge":10}"#, "");
    seconds.fetch_add(8, Ordering::SeqCst);
    plant(&double, "s", 6..7);
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1, 2, 3, 4, 5, 6]);
    seconds.fetch_add(8, Ordering::SeqCst);
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [6]);
    assert_eq!(read(&client, "s", &backwards()).await.unwrap(), [6]);
}
