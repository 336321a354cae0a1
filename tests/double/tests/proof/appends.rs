//! Appends: what is expected, what is there already, and what is refused.

use std::time::{Duration, Instant};

use eventstore::{CurrentRevision, Error, EventData, ExpectedRevision};
use grantbook_eventstore_double::{Double, Options};

use crate::asking::{append, client, forwards, numbered, quiet, read};

fn conflict(error: Error) -> (ExpectedRevision, CurrentRevision) {
    match error {
        Error::WrongExpectedVersion { expected, current } => (expected, current),
        error => panic!("no conflict: {error}"),
    }
}

#[tokio::test]
async fn a_stream_grows_as_expected() {
    let double = quiet().await;
    let client = client(&double.url());
    let first = append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap();
    assert_eq!(first.next_expected_version, 0);
    let second =
        append(&client, "s", ExpectedRevision::Exact(0), vec![numbered(1), numbered(2)]).await.unwrap();
    assert_eq!(second.next_expected_version, 2);
    append(&client, "s", ExpectedRevision::Any, vec![numbered(3)]).await.unwrap();
    append(&client, "s", ExpectedRevision::StreamExists, vec![numbered(4)]).await.unwrap();
    assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0, 1, 2, 3, 4]);
    let events = double.events_of("s");
    assert_eq!(second.position.commit, events[2].position);
    assert!(first.position.commit > 0);
    assert!(events.windows(2).all(|pair| pair[0].position + 1 < pair[1].position), "positions have gaps");
}

#[tokio::test]
async fn what_is_not_as_expected_is_a_conflict() {
    let double = quiet().await;
    let client = client(&double.url());
    let ahead = append(&client, "s", ExpectedRevision::Exact(3), vec![numbered(0)]).await.unwrap_err();
    assert_eq!(conflict(ahead), (ExpectedRevision::Exact(3), CurrentRevision::NoStream));
    let absent = append(&client, "s", ExpectedRevision::StreamExists, vec![numbered(0)]).await.unwrap_err();
    assert_eq!(conflict(absent), (ExpectedRevision::StreamExists, CurrentRevision::NoStream));
    append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0), numbered(1)]).await.unwrap();
    let there = append(&client, "s", ExpectedRevision::NoStream, vec![numbered(2)]).await.unwrap_err();
    assert_eq!(conflict(there), (ExpectedRevision::NoStream, CurrentRevision::Current(1)));
    let behind = append(&client, "s", ExpectedRevision::Exact(0), vec![numbered(2)]).await.unwrap_err();
    assert_eq!(conflict(behind), (ExpectedRevision::Exact(0), CurrentRevision::Current(1)));
    assert_eq!(double.events_of("s").len(), 2);
}

#[tokio::test]
async fn an_append_made_before_is_answered_as_it_was() {
    let double = quiet().await;
    let client = client(&double.url());
    let first =
        append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0), numbered(1)]).await.unwrap();
    append(&client, "s", ExpectedRevision::Exact(1), vec![numbered(2)]).await.unwrap();
    for expected in [ExpectedRevision::NoStream, ExpectedRevision::Any, ExpectedRevision::StreamExists] {
        let again = append(&client, "s", expected, vec![numbered(0), numbered(1)]).await.unwrap();
        assert_eq!((again.next_expected_version, again.position.commit), (1, first.position.commit));
    }
    // Not in order, in part, or at another place: it is another append.
    let swapped = append(&client, "s", ExpectedRevision::NoStream, vec![numbered(1), numbered(0)]).await;
    let longer =
        append(&client, "s", ExpectedRevision::Exact(1), vec![numbered(2), numbered(3)]).await.unwrap_err();
    let elsewhere = append(&client, "s", ExpectedRevision::Exact(0), vec![numbered(2)]).await.unwrap_err();
    for error in [swapped.unwrap_err(), longer, elsewhere] {
        assert_eq!(conflict(error).1, CurrentRevision::Current(2));
    }
    // Where the revision is right the ids do not matter, and they are nothing to another stream.
    append(&client, "s", ExpectedRevision::Exact(2), vec![numbered(0)]).await.unwrap();
    append(&client, "other", ExpectedRevision::Any, vec![numbered(0)]).await.unwrap();
    assert_eq!((double.events_of("s").len(), double.events_of("other").len()), (4, 1));
}

#[tokio::test]
async fn an_append_made_before_may_be_answered_without_its_position() {
    let options = Options { replays_say_position: false, ..Options::default() };
    let double = Double::start(options).await.unwrap();
    let client = client(&double.url());
    for is_new in [true, false] {
        let answer = append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap();
        assert_eq!((answer.next_expected_version, answer.position.commit > 0), (0, is_new));
    }
}

#[tokio::test]
async fn an_append_has_a_limit() {
    const LIMIT: usize = 1024 * 1024;
    let double = quiet().await;
    let client = client(&double.url());
    // What the type takes counts, too.
    let sized = |size: usize| EventData::binary("sized", vec![b'x'; size - 2 * "sized".len()].into());
    append(&client, "s", ExpectedRevision::Any, vec![sized(LIMIT / 2), sized(LIMIT / 2)]).await.unwrap();
    for events in [vec![sized(LIMIT + 1)], vec![sized(LIMIT), sized(10)], vec![sized(5 * LIMIT)]] {
        let error = append(&client, "s", ExpectedRevision::Any, events).await.unwrap_err();
        assert!(matches!(error, Error::Grpc { code: tonic::Code::InvalidArgument, .. }), "{error}");
    }
    let error = append(&client, "s", ExpectedRevision::Any, vec![EventData::binary("", "x".into())]).await;
    assert!(matches!(error.unwrap_err(), Error::Grpc { code: tonic::Code::InvalidArgument, .. }));
    assert_eq!(double.events_of("s").len(), 2);
}

#[tokio::test]
async fn a_user_can_be_asked_for() {
    let credentials = Some(("admin".to_owned(), "changeit".to_owned()));
    let double = Double::start(Options { credentials, ..Options::default() }).await.unwrap();
    for (user, is_let_in) in [("", false), ("admin:wrong@", false), ("admin:changeit@", true)] {
        let client = client(&double.url().replace("esdb://", &format!("esdb://{user}")));
        let result = append(&client, "s", ExpectedRevision::Any, vec![numbered(0)]).await;
        match result {
            Ok(_) => assert!(is_let_in, "{user}"),
            Err(Error::AccessDenied) => assert!(!is_let_in, "{user}"),
            Err(error) => panic!("{error}"),
        }
    }
}

/// How long an append takes, by a client that leaves Nagle's algorithm on and sends it in two writes.
async fn usual_time(acknowledges_at_once: bool) -> Duration {
    let double = Double::start(Options { acknowledges_at_once, ..Options::default() }).await.unwrap();
    let client = client(&double.url());
    let mut times = vec![];
    for number in 0..11 {
        let begin = Instant::now();
        append(&client, "s", ExpectedRevision::Any, vec![numbered(number)]).await.unwrap();
        times.push(begin.elapsed());
    }
    times.sort();
    times[if acknowledges_at_once { 0 } else { 5 }]
}

#[tokio::test]
#[cfg_attr(not(target_os = "linux"), ignore = "other systems acknowledge as they like")]
async fn a_client_that_waits_for_acknowledgements_waits_for_them() {
    const SOON: Duration = Duration::from_millis(30);
    let (by_default, at_once) =
        (usual_time(Options::default().acknowledges_at_once).await, usual_time(true).await);
    assert!(by_default > SOON && at_once < SOON, "{by_default:?} and {at_once:?}");
}
