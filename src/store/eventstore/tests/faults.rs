//! What a cluster can do to us, and that nothing is lost, done twice or answered wrongly. Knows: the double's
//! faults and gates. Must not know: what the records mean.

use grantbook_eventstore_double::{AppendFault, ReadFault, ReadKind};

use super::*;
use crate::clock::Clock as _;
use crate::store::contract::{fresh_stream, new_record, new_records};
use crate::store::{ChainDigest, MAX_APPEND_BYTES, SeenMark, Signal};

pub(super) async fn double(nodes: usize) -> Double {
    Double::start(DoubleOptions { nodes, stats_every: 2, ..DoubleOptions::default() }).await.unwrap()
}

/// With a discovery that is quick to give up: these clusters are near.
pub(super) fn url_of(double: &Double) -> String {
    format!("{}&discoveryInterval=5&gossipTimeout=500", double.url())
}

/// Opens the ledger without heartbeats, which would meet faults that are meant for others.
pub(super) fn open_without_heartbeats(double: &Double) -> Arc<EventStore> {
    let target = Arc::new(Target::parse(&url_of(double)).unwrap());
    EventStore::open(target, None, Arc::new(SystemClock)).unwrap()
}

/// Appends as a caller that needs an answer does: until it is known.
pub(super) async fn append_surely(store: &EventStore, stream: &StreamName, expected: Expected) -> Revision {
    let records = new_records(1);
    loop {
        match store.append(stream, expected, records.clone()).await {
            Ok(Append::Appended { revision, .. }) => return revision,
            Ok(Append::Unknown { .. }) | Err(StoreError::Unavailable(_)) => {}
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn whatever_becomes_of_an_append_it_happens_once() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let stream = fresh_stream();
    let mut expected = Expected::NoStream;
    for fault in AppendFault::ALL {
        double.next_append(fault);
        let revision = append_surely(&store, &stream, expected).await;
        assert_eq!(revision, expected.next_revision(), "{fault:?}");
        expected = Expected::Exactly(revision);
    }
    let there = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    assert_eq!(there.len(), 10);
    assert_eq!(double.events_of(stream.as_str()).len(), 10);
}

#[tokio::test]
async fn an_append_that_may_have_happened_is_not_said_to_have_failed() {
    use AppendFault::*;
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    for fault in [CommitThenBreak, CommitThenDeadline, CommitThenTimedOut, Malformed] {
        double.next_append(fault);
        let outcome = store.append(&fresh_stream(), Expected::NoStream, new_records(1)).await;
        assert!(matches!(outcome, Ok(Append::Unknown { .. })), "{fault:?}: {outcome:?}");
    }
}

/// On one thread: a subscription that spins where the node ended it would never let this end.
#[tokio::test]
async fn a_subscription_goes_on_where_it_broke_off() {
    use ReadFault::*;
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    let stream = fresh_stream();
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    let (mut next, mut expected) = (0, Expected::NoStream);
    let faults = [
        EndCleanlyAfter(0),
        Unavailable,
        EndCleanlyAfter(2),
        BreakAfter(0),
        Malformed,
        BreakAfter(3),
        EndCleanlyAfter(1),
    ];
    for (number, fault) in faults.into_iter().enumerate() {
        double.next_read(ReadKind::Subscription, fault);
        // The subscription that runs is broken, so that the next meets the fault.
        double.stop_node(0).await;
        double.start_node(0).await.unwrap();
        for _ in 0..4 {
            expected = Expected::Exactly(append_surely(&store, &stream, expected).await);
        }
        let wanted = 4 * (number as u64 + 1);
        while next < wanted {
            match subscription.next().await {
                Signal::Records(records) => {
                    for record in records.iter().filter(|record| record.stream == stream) {
                        assert_eq!(
                            record.revision,
                            Revision::new(next),
                            "{fault:?}: none missing, none twice"
                        );
                        next += 1;
                    }
                }
                Signal::CaughtUp | Signal::UpTo(_) => {}
                Signal::Lost(error) => panic!("{fault:?}: {error}"),
            }
        }
    }
    assert!(store.counts().resubscribed >= 7, "{:?}", store.counts());
    assert_eq!(double.faults_left(), 0);
}

#[tokio::test]
async fn what_comes_after_a_checkpoint_is_not_lost() {
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    let stream = fresh_stream();
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    let gate = double.checkpoints_only(0);
    let records = new_records(3);
    store.append(&stream, Expected::NoStream, records.clone()).await.unwrap();
    for number in 0..600 {
        double.append_foreign(&format!("orders-{number}"), "order-placed", "{}", "");
    }
    // What broke off while only checkpoints came goes on behind the last of them.
    double.stop_node(0).await;
    double.start_node(0).await.unwrap();
    drop(gate);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        match subscription.next().await {
            Signal::Records(records) => seen.extend(records.iter().map(|record| record.event_id)),
            Signal::CaughtUp | Signal::UpTo(_) => {}
            Signal::Lost(error) => panic!("{error}"),
        }
    }
    assert_eq!(seen, records.iter().map(|record| record.event_id).collect::<Vec<_>>());
}

/// A node that says nothing and does not end it either.
#[tokio::test]
async fn a_subscription_that_falls_silent_is_taken_up_elsewhere() {
    let double = double(2).await;
    let target = Arc::new(Target::parse(&url_of(&double)).unwrap());
    let silent_for = std::time::Duration::from_millis(50);
    let store =
        EventStore::open_with(target, None, Arc::new(SystemClock), Evidence::default(), silent_for).unwrap();
    let stream = fresh_stream();
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    double.wait_for(|counts| counts.nodes[0].open_subscriptions > 0).await;
    let _silent = double.hold_subscriptions(0);
    append_surely(&store, &stream, Expected::NoStream).await;
    double.elect(1);
    loop {
        match subscription.next().await {
            Signal::Records(records) if records.iter().any(|record| record.stream == stream) => break,
            Signal::Records(_) | Signal::CaughtUp | Signal::UpTo(_) => {}
            Signal::Lost(error) => panic!("{error}"),
        }
    }
    assert!(store.counts().resubscribed > 0);
}

#[tokio::test]
async fn reads_are_made_again() {
    use ReadFault::*;
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    let stream = fresh_stream();
    store.append(&stream, Expected::NoStream, new_records(5)).await.unwrap();
    for fault in [Unavailable, BreakAfter(2), Malformed, BreakAfter(0)] {
        for kind in [ReadKind::Stream, ReadKind::All] {
            double.next_read(kind, fault);
        }
        assert_eq!(store.read_stream(&stream, Revision::FIRST).await.unwrap().len(), 5, "{fault:?}");
        assert_eq!(store.read_all(Position::START, 100).await.unwrap().len(), 5, "{fault:?}");
    }
}

#[tokio::test]
async fn a_cluster_goes_on_without_its_leader() {
    let double = double(3).await;
    for preference in ["leader", "random"] {
        let store = open_at(&format!("{}&nodePreference={preference}", url_of(&double)));
        let stream = fresh_stream();
        let mut subscription = store.subscribe(Position::START).await.unwrap();
        let mut expected = Expected::Exactly(append_surely(&store, &stream, Expected::NoStream).await);
        // Another leads, and the one that led says so.
        double.elect((double.leader() + 1) % 3);
        expected = Expected::Exactly(append_surely(&store, &stream, expected).await);
        // The leader is gone, and says nothing.
        let gone = double.leader();
        double.stop_node(gone).await;
        double.elect((gone + 1) % 3);
        append_surely(&store, &stream, expected).await;
        let mut seen = 0;
        while seen < 3 {
            match subscription.next().await {
                Signal::Records(records) => {
                    seen += records.iter().filter(|record| record.stream == stream).count();
                }
                Signal::CaughtUp | Signal::UpTo(_) => {}
                Signal::Lost(error) => panic!("{error}"),
            }
        }
        assert!(store.counts().reconnected > 0, "{preference}: {:?}", store.counts());
        double.start_node(gone).await.unwrap();
    }
}

#[tokio::test]
async fn a_follower_that_is_named_alone_leads_to_the_leader() {
    let double = double(3).await;
    let store = open_at(&double.node_url(2));
    let stream = fresh_stream();
    append_surely(&store, &stream, Expected::NoStream).await;
    let there = store.read_all(Position::START, 10).await.unwrap();
    assert_eq!(there.len(), 1);
    assert_eq!(store.head().await.unwrap().position, there[0].position);
    double.elect(1);
    assert_eq!(store.read_stream(&stream, Revision::FIRST).await.unwrap(), there);
    assert_eq!(store.read_all(Position::START, 10).await.unwrap(), there);
}

#[tokio::test]
async fn a_cluster_that_was_not_there_is_found_when_it_comes() {
    let double = double(3).await;
    for node in 0..3 {
        double.stop_node(node).await;
    }
    let store = open_at(&url_of(&double));
    let stream = fresh_stream();
    let outcome = store.append(&stream, Expected::NoStream, new_records(1)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    assert!(matches!(store.head().await, Err(StoreError::Unavailable(_))));
    for node in 0..3 {
        double.start_node(node).await.unwrap();
    }
    append_surely(&store, &stream, Expected::NoStream).await;
}

#[tokio::test]
async fn an_append_that_the_cluster_would_refuse_is_not_sent() {
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    let each = MAX_APPEND_BYTES / 256 - new_record("").metadata.len() - 2;
    let records: Vec<_> = (0..256).map(|_| new_record(&format!("\"{}\"", "x".repeat(each)))).collect();
    crate::store::check_limits(&records).unwrap();
    let outcome = store.append(&fresh_stream(), Expected::NoStream, records).await;
    assert!(matches!(outcome, Err(StoreError::TooLarge { .. })), "{outcome:?}");
}

#[tokio::test]
async fn who_asks_is_said_as_it_is_and_never_shown() {
    let credentials = Some(("admin".to_owned(), "p@ss:w%rd".to_owned()));
    let double = Double::start(DoubleOptions { credentials, ..DoubleOptions::default() }).await.unwrap();
    let at = |login: &str| url_of(&double).replace("esdb://", &format!("esdb://{login}@"));
    let store = open_at(&at("admin:p%40ss%3Aw%25rd"));
    let stream = fresh_stream();
    append_surely(&store, &stream, Expected::NoStream).await;
    assert_eq!(store.read_all(Position::START, 10).await.unwrap().len(), 1);
    assert!(!format!("{store:?}").contains("p@ss"));
    let store = open_at(&at("admin:hunter2"));
    for error in [
        store.append(&stream, Expected::NoStream, new_records(1)).await.unwrap_err(),
        store.read_all(Position::START, 1).await.unwrap_err(),
        store.head().await.unwrap_err(),
    ] {
        let text = error.to_string();
        assert!(text.contains("the password is another") && !text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn one_ledger_has_one_identity_and_readers_make_none() {
    let double = double(1).await;
    let target = Arc::new(Target::parse(&url_of(&double)).unwrap());
    let reader = EventStore::open(target, None, Arc::new(SystemClock)).unwrap();
    let error = reader.head().await.unwrap_err().to_string();
    assert!(error.contains("no ledger in this cluster"), "{error}");
    let (one, two) = (open_at(&url_of(&double)), open_at(&url_of(&double)));
    let (one, two) = tokio::join!(one.head(), two.head());
    assert_eq!(one.unwrap().identity, two.unwrap().identity);
    assert!(reader.head().await.is_ok());
    assert_eq!(double.events_of(identity::STREAM).len(), 1);
}

#[tokio::test]
async fn one_heartbeat_at_a_time_is_kept_up_and_few_are_kept() {
    let double = double(1).await;
    let stores: Vec<_> = (0..3).map(|_| open_at(&url_of(&double))).collect();
    let mut subscription = stores[0].subscribe(Position::START).await.unwrap();
    let mut times = Vec::new();
    while times.len() < 3 {
        match subscription.next().await {
            Signal::UpTo(time) => times.push(time),
            Signal::Records(_) | Signal::CaughtUp => {}
            Signal::Lost(error) => panic!("{error}"),
        }
    }
    assert!(times.is_sorted(), "{times:?}");
    let beats = double.events_of(heartbeat::STREAM);
    assert!(beats.iter().zip(0..).all(|(beat, revision)| beat.revision == revision), "one after the other");
    let metadata = double.events_of(&format!("$${}", heartbeat::STREAM));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata[0].data).unwrap();
    assert_eq!(metadata["$maxCount"], 16, "{metadata}");
}

#[tokio::test]
async fn a_heartbeat_of_the_future_makes_nobody_fresh_until_then() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    double.append_foreign(heartbeat::STREAM, "heartbeat", r#"{"at":"2999-01-01T00:00:00.000000Z"}"#, "");
    let mut times = Vec::new();
    while times.len() < 2 {
        match subscription.next().await {
            Signal::UpTo(time) => times.push(time),
            Signal::Records(_) | Signal::CaughtUp => {}
            Signal::Lost(error) => panic!("{error}"),
        }
    }
    assert!(times.iter().all(|time| *time <= SystemClock.now()), "{times:?}");
}

/// What holds for a whole process is looked at in one of its own.
fn in_a_process_of_its_own(test: &str, variables: &[(&str, &str)]) {
    let name = format!("store::eventstore::tests::faults::{test}");
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", &name, "--ignored", "--nocapture"]).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[test]
fn a_tls_provider_that_is_there_already_is_an_error_and_no_panic() {
    in_a_process_of_its_own("beside_another_provider", &[]);
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn beside_another_provider() {
    rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap();
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    // The client crate makes the ledger's identity; appends go without it.
    let error = store.head().await.unwrap_err();
    assert!(error.to_string().contains("TLS provider"), "{error}");
    append_surely(&store, &fresh_stream(), Expected::NoStream).await;
}

#[test]
fn a_client_that_was_let_go_leaves_nothing_behind() {
    in_a_process_of_its_own("with_many_clients", &[]);
}

/// Each client has one thread, which its task is on.
fn threads_of_clients() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("ledger-client")).count()
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn with_many_clients() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let mut last = None;
    for _ in 0..5 {
        double.next_append(AppendFault::Unavailable);
        store.0.append_own("own", "event", &1, last).await.unwrap_err();
        last = Some(store.0.append_own("own", "event", &1, last).await.unwrap());
    }
    assert_eq!(last, Some(4));
    while threads_of_clients() > 1 {
        tokio::task::yield_now().await;
    }
    drop(store);
    while threads_of_clients() > 0 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn a_bad_certificate_of_the_system_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bad.pem");
    std::fs::write(
        &path,
        "-----BEGIN CERTIFICATE-----\nbm90IGEgY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    in_a_process_of_its_own("with_a_bad_certificate", &[("SSL_CERT_FILE", path.to_str().unwrap())]);
}

#[tokio::test]
#[ignore = "run by the test above, in a process of its own"]
async fn with_a_bad_certificate() {
    let double = double(1).await;
    let store = open_at(&url_of(&double));
    append_surely(&store, &fresh_stream(), Expected::NoStream).await;
    // A node that does not speak TLS is no node.
    let store = open_at(&url_of(&double).replace("tls=false", "tls=true"));
    let outcome = store.append(&fresh_stream(), Expected::NoStream, new_records(1)).await;
    assert!(matches!(outcome, Err(StoreError::Unavailable(_)) | Ok(Append::Unknown { .. })), "{outcome:?}");
}

#[tokio::test]
async fn the_last_record_is_remembered_whatever_comes_late() {
    let store = open_without_heartbeats(&double(1).await);
    let (store, stream) = (&store.0, fresh_stream());
    let record = |revision| {
        let new = new_record("{}");
        new.place(stream.clone(), Revision::new(revision), Position::START, ChainDigest::NONE)
    };
    let (third, second) = (record(2), record(1));
    store.remember(&third);
    store.remember(&second);
    assert_eq!(store.remembered(&stream, Revision::new(2)), Some(third.digest));
    assert_eq!(store.remembered(&stream, Revision::new(1)), None);
    assert_eq!(store.remembered(&fresh_stream(), Revision::new(2)), None);
}

/// As a cluster answers a read from a position where no event begins any more.
#[tokio::test]
async fn what_was_seen_is_found_from_the_end_where_a_read_from_its_place_fails() {
    let double = double(1).await;
    let store = open_without_heartbeats(&double);
    let stream = fresh_stream();
    store.append(&stream, Expected::NoStream, new_records(3)).await.unwrap();
    let all = store.read_all(Position::START, 10).await.unwrap();
    let seen = |number: usize| SeenRecord {
        position: all[number].position,
        previous: all[number - 1].position,
        mark: SeenMark::Event(all[number].event_id),
    };
    let other = SeenRecord { mark: SeenMark::Event(all[0].event_id), ..seen(1) };
    for (asked, found) in [(seen(1), Found::There), (seen(2), Found::There), (other, Found::Another)] {
        (0..failure::MAX_TRIES).for_each(|_| double.next_read(ReadKind::All, ReadFault::Unavailable));
        assert_eq!(store.has(&asked).await.unwrap(), found);
    }
}
