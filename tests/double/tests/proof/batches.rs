//! `BatchAppend`: many appends in one call, each with an answer of its own.

use std::time::{Duration, UNIX_EPOCH};

use eventstore::{BatchAppendOptions, ExpectedRevision};
use grantbook_eventstore_double::protocol;
use grantbook_eventstore_double::protocol::streams::batch_append_req::options::DeadlineOption;
use grantbook_eventstore_double::protocol::wrong_expected_version::ExpectedStreamPositionOption as Wanted;
use grantbook_eventstore_double::{AppendFault, Clock, Double, Options};
use tonic::Code;

use crate::asking::{client, numbered, quiet, three};
use crate::batching::{
    Batch, Said, any, append, before, not_ready, proposed, stored, timeout, wanted, within,
};

const NEVER: Duration = Duration::from_secs(3600);

/// One node on which nothing takes too long.
async fn patient() -> Double {
    let options = Options { stats_every: 0, write_timeout: NEVER, ..Options::default() };
    Double::start(options).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_of_a_call_are_taken_in_order() {
    let double = patient().await;
    let mut batch = Batch::open(&double, 0);
    for number in 0..500 {
        batch.send(append(number, "s", before(number)));
    }
    for number in 0..500 {
        assert_eq!(batch.next().await, (number, Said::Written(number, true)));
    }
    let gate = double.hold_appends();
    for number in 500..600 {
        batch.send(append(number, "s", before(number)));
    }
    double.waiting_appends(100).await;
    gate.open();
    batch.send(append(600, "s", before(600)));
    for number in 500..601 {
        assert_eq!(batch.next().await, (number, Said::Written(number, true)));
    }
    let counts = double.counts().nodes[0];
    assert_eq!((counts.appends, counts.waiting_appends, counts.connections), (601, 0, 1));
    batch.close();
    assert_eq!(batch.rest().await.0, []);
}

#[tokio::test]
async fn a_conflict_is_an_answer_and_the_call_goes_on() {
    let double = quiet().await;
    let mut batch = Batch::open(&double, 0);
    batch.send(append(0, "s", before(1)));
    batch.send(append(1, "s", before(0)));
    batch.send(append(2, "s", before(0)));
    // What was appended before is answered as it was then.
    batch.send(append(1, "s", before(0)));
    let conflict = batch.whole().await.unwrap().unwrap();
    assert_eq!(&conflict.stream_identifier.as_ref().unwrap().stream_name[..], b"s");
    assert_eq!(wanted(conflict), Wanted::ExpectedStreamPosition(0));
    assert_eq!(batch.next().await, (1, Said::Written(0, true)));
    assert_eq!(batch.next().await, (2, Said::Conflict(Some(0))));
    assert_eq!(batch.next().await, (1, Said::Written(0, true)));
    batch.send(append(3, "s", before(3)));
    assert_eq!(batch.next().await, (3, Said::Conflict(Some(0))));
    batch.send(append(4, "other", before(3)));
    assert_eq!(batch.next().await, (4, Said::Conflict(None)));
    assert_eq!(stored(&double, "s"), ["1"]);
}

#[tokio::test]
async fn the_client_crate_appends_so() {
    let double = quiet().await;
    let client = client(&double.url());
    let batch = client.batch_append(&BatchAppendOptions::default()).await.unwrap();
    let written = batch.append_to_stream("s", ExpectedRevision::NoStream, vec![numbered(0), numbered(1)]);
    let written = written.await.unwrap();
    assert_eq!((written.stream_name(), written.current_revision()), ("s", Some(1)));
    assert_eq!(written.current_position().unwrap().commit, double.events_of("s")[1].position);
}

#[tokio::test]
async fn an_append_may_come_in_parts() {
    let double = quiet().await;
    let mut batch = Batch::open(&double, 0);
    let part = |number: u64, event: u64, is_final| protocol::streams::BatchAppendReq {
        options: None,
        proposed_messages: vec![proposed(event, event.to_string())],
        is_final,
        ..append(number, "", any())
    };
    let first = |number, stream| protocol::streams::BatchAppendReq {
        is_final: false,
        ..append(number, stream, before(0))
    };
    batch.send(first(0, "s"));
    batch.send(first(10, "other"));
    batch.send(part(0, 1, false));
    // It has no beginning, so it is nothing.
    batch.send(part(20, 21, true));
    batch.send(part(10, 11, true));
    assert_eq!(batch.next().await, (10, Said::Written(1, true)));
    assert_eq!(double.events_of("s").len(), 0);
    batch.send(part(0, 2, true));
    assert_eq!(batch.next().await, (0, Said::Written(2, true)));
    assert_eq!(
        (stored(&double, "s"), stored(&double, "other").len()),
        (vec!["0".into(), "1".into(), "2".into()], 2)
    );
    // What has not come in whole when the call ends is not written.
    batch.send(first(30, "half"));
    batch.close();
    assert_eq!(batch.rest().await.0, []);
    assert_eq!((double.events_of("half").len(), double.counts().nodes[0].appends), (0, 2));
}

#[tokio::test]
async fn what_the_server_does_not_take_is_answered() {
    let double = quiet().await;
    let mut batch = Batch::open(&double, 0);
    let invalid = |name: &str| Said::Error(3, name.to_owned());
    let mut large = append(0, "s", any());
    large.proposed_messages = vec![proposed(0, "x".repeat(1024 * 1024))];
    batch.send(large);
    assert_eq!(batch.next().await, (0, invalid("MaximumAppendSizeExceeded")));
    let mut nameless = append(1, "s", any());
    nameless.options.as_mut().unwrap().stream_identifier = None;
    batch.send(nameless);
    assert_eq!(batch.next().await, (1, invalid("BadRequest")));
    let mut open = append(2, "s", any());
    open.options.as_mut().unwrap().expected_stream_position = None;
    batch.send(open);
    assert_eq!(batch.next().await, (2, invalid("BadRequest")));
    let mut typeless = append(3, "s", any());
    typeless.proposed_messages[0].metadata.remove("type");
    batch.send(within(Duration::from_millis(20), typeless));
    assert_eq!(batch.next().await, (3, invalid("BadRequest")));
    // The server goes on waiting for the end of it.
    assert_eq!(batch.next().await, (3, timeout()));
    batch.send(append(4, "s", before(0)));
    assert_eq!(batch.next().await, (4, Said::Written(0, true)));
}

#[tokio::test]
async fn a_deadline_ends_an_append_that_waits_to_be_written() {
    let double = patient().await;
    let mut batch = Batch::open(&double, 0);
    let gate = double.hold_appends();
    batch.send(append(0, "s", any()));
    batch.send(within(Duration::from_millis(20), append(1, "s", any())));
    batch.send(append(2, "s", any()));
    assert_eq!(batch.next().await, (1, timeout()));
    double.wait_for(|counts| counts.nodes[0].waiting_appends == 2).await;
    gate.open();
    assert_eq!(batch.next().await, (0, Said::Written(0, true)));
    assert_eq!(batch.next().await, (2, Said::Written(1, true)));
    assert_eq!(stored(&double, "s"), ["0", "2"]);
}

#[tokio::test]
async fn a_deadline_ends_an_append_that_is_written_and_waits_for_its_answer() {
    let double = patient().await;
    let mut batch = Batch::open(&double, 0);
    let gate = double.hold_replies();
    batch.send(append(0, "s", any()));
    batch.send(within(Duration::from_millis(20), append(1, "s", any())));
    assert_eq!(batch.next().await, (1, timeout()));
    assert_eq!(double.counts().nodes[0].waiting_replies, 1);
    gate.open();
    assert_eq!(batch.next().await, (0, Said::Written(0, true)));
    assert_eq!(stored(&double, "s"), ["0", "1"]);
}

#[tokio::test]
async fn the_deadline_is_the_smaller_of_the_one_asked_for_and_the_servers_own() {
    let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let write_timeout = Duration::from_millis(20);
    let clock = Clock::new(move || now);
    let double = Double::start(Options { write_timeout, clock, ..Options::default() }).await.unwrap();
    let mut batch = Batch::open(&double, 0);
    let dated = |number, seconds| {
        let mut append = append(number, "s", any());
        let at = DeadlineOption::Deadline21100(protocol::Timestamp { seconds, nanos: 0 });
        append.options.as_mut().unwrap().deadline_option = Some(at);
        append
    };
    let mut negative = append(0, "s", any());
    let ago = protocol::Duration { seconds: -1, nanos: 0 };
    negative.options.as_mut().unwrap().deadline_option = Some(DeadlineOption::Deadline(ago));
    for late in [negative, within(Duration::ZERO, append(0, "s", any())), dated(0, 1_699_999_999)] {
        batch.send(late);
        assert_eq!(batch.next().await, (0, timeout()));
    }
    assert_eq!(double.counts().nodes[0].appends, 0, "they are not looked at");
    let gate = double.hold_appends();
    for long in [append(1, "s", any()), within(NEVER, append(1, "s", any())), dated(1, 1_700_003_600)] {
        batch.send(long);
        assert_eq!(batch.next().await, (1, timeout()));
    }
    gate.open();
    assert_eq!(double.events_of("s").len(), 0);
}

#[tokio::test]
async fn nothing_is_said_before_the_first_answer() {
    let double = patient().await;
    let mut batch = Batch::open(&double, 0);
    let gate = double.hold_replies();
    batch.send(append(0, "s", any()));
    double.waiting_appends(1).await;
    let early = tokio::time::timeout(Duration::from_millis(20), batch.begin()).await;
    assert!(early.is_err(), "{early:?}");
    gate.open();
    assert_eq!(batch.next().await, (0, Said::Written(0, true)));
}

#[tokio::test]
async fn what_has_arrived_is_written_though_the_client_has_gone() {
    let double = patient().await;
    let batch = Batch::open(&double, 0);
    let gate = double.hold_appends();
    batch.send(append(0, "s", any()));
    batch.send(append(1, "s", any()));
    double.waiting_appends(2).await;
    drop(batch);
    double.wait_for(|counts| counts.nodes[0].open_batches == 0).await;
    gate.open();
    double.wait_for(|counts| counts.nodes[0].waiting_appends == 0).await;
    let mut next = Batch::open(&double, 0);
    next.send(append(2, "s", any()));
    next.next().await;
    assert_eq!(stored(&double, "s"), ["0", "1", "2"]);
}

#[tokio::test]
async fn a_call_for_the_leader_goes_on_until_another_leads() {
    let double = three().await;
    let mut strict = Batch::with(&double, 0, &[("requires-leader", "true")]);
    let mut open = Batch::open(&double, 0);
    strict.send(append(0, "s", any()));
    assert_eq!(strict.next().await, (0, Said::Written(0, true)));
    let gate = double.hold_replies();
    strict.send(append(1, "s", any()));
    double.waiting_appends(1).await;
    double.elect(1);
    strict.send(append(2, "s", any()));
    let (answers, end) = strict.rest().await;
    let status = end.unwrap_err();
    assert_eq!((answers, status.code()), (vec![], Code::NotFound));
    let port = double.port(1).to_string();
    let trailers = ["exception", "leader-endpoint-host", "leader-endpoint-port"]
        .map(|name| status.metadata().get(name).unwrap().to_str().unwrap().to_owned());
    assert_eq!(trailers, ["not-leader", "127.0.0.1", port.as_str()]);
    drop(gate);
    open.send(append(3, "s", any()));
    assert_eq!(open.next().await, (3, Said::Written(2, true)));
    double.stop_node(1).await;
    open.send(append(4, "s", any()));
    assert_eq!(open.next().await, (4, not_ready()));
    assert_eq!(stored(&double, "s"), ["0", "1", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_leader_had_not_written_it_never_writes() {
    let double = three().await;
    let gate = double.hold_appends();
    let mut forwarded = Batch::open(&double, 1);
    let mut direct = Batch::open(&double, 0);
    forwarded.send(append(0, "s", any()));
    direct.send(append(1, "s", any()));
    double.waiting_appends(2).await;
    double.stop_node(0).await;
    double.start_node(0).await.unwrap();
    gate.open();
    assert_eq!(forwarded.next().await, (0, not_ready()));
    assert!(direct.rest().await.1.is_err());
    double.wait_for(|counts| counts.sum(|node| node.waiting_appends) == 0).await;
    assert_eq!(double.events_of("s").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_befalls_one_message() {
    let cases = [
        (AppendFault::Unavailable, not_ready(), 0),
        (AppendFault::Deadline, timeout(), 0),
        (AppendFault::TimedOut, timeout(), 0),
        (AppendFault::CommitThenUnavailable, not_ready(), 1),
        (AppendFault::CommitThenDeadline, timeout(), 1),
        (AppendFault::CommitThenTimedOut, timeout(), 1),
        (AppendFault::Malformed, Said::Blank, 1),
    ];
    let double = quiet().await;
    let mut batch = Batch::open(&double, 0);
    for (number, (fault, answer, written)) in cases.into_iter().enumerate() {
        let (number, stream) = (number as u64, format!("s-{number}"));
        double.next_append(fault);
        batch.send(append(number, &stream, before(0)));
        assert_eq!(batch.next().await, (number, answer), "{fault:?}");
        assert_eq!((double.events_of(&stream).len(), double.faults_left()), (written, 0), "{fault:?}");
        // Trying again is harmless in each case.
        batch.send(append(number, &stream, before(0)));
        assert_eq!(batch.next().await, (number, Said::Written(0, true)), "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fault_ends_the_call() {
    let cases = [
        (AppendFault::NotLeader, true, 0),
        (AppendFault::BreakBefore, false, 0),
        (AppendFault::CommitThenBreak, false, 1),
    ];
    for (fault, names_leader, written) in cases {
        let double = quiet().await;
        let mut batch = Batch::open(&double, 0);
        batch.send(append(0, "before", any()));
        assert_eq!(batch.next().await, (0, Said::Written(0, true)));
        double.next_append(fault);
        batch.send(append(1, "s", any()));
        batch.send(append(2, "after", any()));
        let (answers, end) = batch.rest().await;
        let end = end.unwrap_err();
        assert_eq!((answers, end.code() == Code::NotFound), (vec![], names_leader), "{fault:?} {end:?}");
        assert_eq!(double.events_of("s").len(), written, "{fault:?}");
        assert_eq!(double.events_of("after").len(), 0, "{fault:?}");
    }
}

#[tokio::test]
async fn a_call_without_a_user_is_denied_each_append() {
    let credentials = Some(("admin".to_owned(), "changeit".to_owned()));
    let double = Double::start(Options { credentials, ..Options::default() }).await.unwrap();
    let mut nobody = Batch::open(&double, 0);
    for number in 0..2 {
        nobody.send(append(number, "s", any()));
        assert_eq!(nobody.next().await, (number, Said::Error(7, "AccessDenied".to_owned())));
    }
    let mut wrong = Batch::with(&double, 0, &[("authorization", "Basic wrong")]);
    assert_eq!(wrong.whole().await.unwrap_err().code(), Code::Unauthenticated);
    let mut right = Batch::with(&double, 0, &[("authorization", "Basic YWRtaW46Y2hhbmdlaXQ=")]);
    right.send(append(0, "s", any()));
    assert_eq!(right.next().await, (0, Said::Written(0, true)));
}
