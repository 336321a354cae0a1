//! Every fault does what its name says, once.

use eventstore::{Error, ExpectedRevision};
use grantbook_eventstore_double::protocol::StreamIdentifier;
use grantbook_eventstore_double::protocol::streams::append_req::{Content, Options, ProposedMessage};
use grantbook_eventstore_double::protocol::streams::append_resp::Result as Answer;
use grantbook_eventstore_double::protocol::streams::{AppendReq, ReadReq};
use grantbook_eventstore_double::protocol::{Uuid as WireUuid, uuid::Value};
use grantbook_eventstore_double::{AppendFault, Double, ReadFault, ReadKind};

use crate::asking::{
    Said, append, bare, client, event, forwards, numbered, plant, quiet, read, read_all, read_stream, rest,
    subscription, three, until,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_append_fails_and_is_written_or_not() {
    let is_open: fn(&Error) -> bool = |error| matches!(error, Error::ServerError(_));
    let is_late: fn(&Error) -> bool = |error| matches!(error, Error::DeadlineExceeded);
    let is_aborted: fn(&Error) -> bool =
        |error| matches!(error, Error::Grpc { code: tonic::Code::Aborted, .. });
    let cases = [
        (AppendFault::Unavailable, 0, is_open),
        (AppendFault::BreakBefore, 0, is_open),
        (AppendFault::Deadline, 0, is_late),
        (AppendFault::TimedOut, 0, is_aborted),
        (AppendFault::CommitThenTimedOut, 1, is_aborted),
        (AppendFault::CommitThenBreak, 1, is_open),
        (AppendFault::CommitThenUnavailable, 1, is_open),
        (AppendFault::CommitThenDeadline, 1, is_late),
    ];
    for (fault, written, is_right) in cases {
        let double = quiet().await;
        let client = client(&double.url());
        double.next_append(fault);
        let error = append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap_err();
        assert!(is_right(&error), "{fault:?}: {error}");
        assert_eq!((double.events_of("s").len(), double.faults_left()), (written, 0), "{fault:?}");
        // Trying again is harmless in each case.
        append(&client, "s", ExpectedRevision::NoStream, vec![numbered(0)]).await.unwrap();
        assert_eq!(read(&client, "s", &forwards()).await.unwrap(), [0], "{fault:?}");
    }
}

#[tokio::test]
async fn an_append_is_told_of_another_leader() {
    let double = three().await;
    let client = client(&double.node_url(2));
    double.next_append_at(2, AppendFault::NotLeader);
    let error = append(&client, "s", ExpectedRevision::Any, vec![numbered(0)]).await.unwrap_err();
    match error {
        Error::NotLeaderException(leader) => assert_eq!(leader.port, u32::from(double.port(0))),
        error => panic!("{error}"),
    }
    assert_eq!(double.events_of("s").len(), 0);
}

#[tokio::test]
async fn an_append_is_answered_by_a_success_that_says_nothing() {
    let double = quiet().await;
    double.next_append(AppendFault::Malformed);
    let stream_identifier = Some(StreamIdentifier { stream_name: "s".into() });
    let options = Options { stream_identifier, expected_stream_revision: None };
    let proposed = ProposedMessage {
        id: Some(WireUuid { value: Some(Value::String("00000000-0000-0000-0000-000000000001".to_owned())) }),
        metadata: [("type", "t"), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..Default::default()
    };
    let messages = [Content::Options(options), Content::ProposedMessage(proposed)];
    let request = tokio_stream(messages.map(|content| AppendReq { content: Some(content) }));
    let answer = bare(&double, 0).append(request).await.unwrap().into_inner();
    match answer.result {
        Some(Answer::Success(success)) => assert_eq!(success, Default::default()),
        other => panic!("{other:?}"),
    }
    assert_eq!(double.events_of("s").len(), 1);
}

/// A stream of what is there already.
fn tokio_stream<T: Send + Unpin + 'static, const N: usize>(
    items: [T; N],
) -> impl futures_core::Stream<Item = T> + Send {
    struct Items<T>(std::vec::IntoIter<T>);
    impl<T: Unpin> futures_core::Stream for Items<T> {
        type Item = T;
        fn poll_next(
            mut self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<T>> {
            std::task::Poll::Ready(self.0.next())
        }
    }
    Items(Vec::from(items).into_iter())
}

fn requests() -> [(ReadKind, ReadReq, Vec<Said>); 3] {
    [
        (ReadKind::Stream, read_stream("s"), vec![]),
        (ReadKind::All, read_all(Some(1), 1000), vec![]),
        (ReadKind::Subscription, subscription(None, "s", 1000), vec![Said::Confirmed]),
    ]
}

/// A double with so many events, and nothing before them that a read from the start would see.
async fn with_events(events: usize) -> (Double, u64) {
    let double = quiet().await;
    let first = plant(&double, "s", 0..events)[0];
    (double, first)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_breaks_or_ends_behind_so_many_events() {
    // Enough for several pages, buffers and frames.
    for after in [0, 1, 63, 64, 65, 2500] {
        for fault in [ReadFault::BreakAfter(after), ReadFault::EndCleanlyAfter(after)] {
            let (double, first) = with_events(3000).await;
            for (kind, mut request, mut wanted) in requests() {
                if kind == ReadKind::All {
                    request = read_all(Some(first), 5000);
                }
                double.next_read(kind, fault);
                let mut client = bare(&double, 0);
                let mut replies = client.read(request).await.unwrap().into_inner();
                let (said, end) = rest(&mut replies).await;
                wanted.extend((0..after).map(event));
                assert!(said == wanted, "{kind:?} {fault:?}: {} of {}", said.len(), wanted.len());
                assert_eq!(end.is_err(), fault == ReadFault::BreakAfter(after), "{kind:?} {fault:?} {end:?}");
                assert_eq!(double.faults_left(), 0);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_with_large_events_breaks_behind_them_all_the_same() {
    let double = quiet().await;
    let large = "x".repeat(300_000);
    for _ in 0..20 {
        double.append_foreign("s", "large", large.clone(), "");
    }
    double.next_read(ReadKind::Stream, ReadFault::BreakAfter(19));
    let mut client = bare(&double, 0);
    let mut replies = client.read(read_stream("s")).await.unwrap().into_inner();
    let (said, end) = rest(&mut replies).await;
    assert_eq!((said.len(), end.is_err()), (19, true));
}

#[tokio::test]
async fn a_read_that_ends_before_its_fault_breaks_at_its_end() {
    let (double, _) = with_events(3).await;
    double.next_read(ReadKind::Stream, ReadFault::BreakAfter(10));
    double.next_read(ReadKind::Stream, ReadFault::EndCleanlyAfter(10));
    let mut ends = vec![];
    for _ in 0..2 {
        let mut replies = bare(&double, 0).read(read_stream("s")).await.unwrap().into_inner();
        let (said, end) = rest(&mut replies).await;
        assert_eq!(said.len(), 3);
        ends.push(end.is_ok());
    }
    assert_eq!(ends, [false, true]);
}

#[tokio::test]
async fn a_read_is_unavailable_or_malformed() {
    let (double, _) = with_events(2).await;
    for (kind, request, _) in requests() {
        double.next_read_at(0, kind, ReadFault::Unavailable);
        double.next_read(kind, ReadFault::Malformed);
        let status = bare(&double, 0).read(request.clone()).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable, "{kind:?}");
        let mut replies = bare(&double, 0).read(request).await.unwrap().into_inner();
        let said = until(&mut replies, event(1)).await;
        assert!(said.contains(&Said::Nothing), "{kind:?}: {said:?}");
    }
}

#[tokio::test]
async fn a_break_breaks_one_connection_only() {
    let (double, _) = with_events(2).await;
    let mut other = bare(&double, 0).read(subscription(None, "s", 10)).await.unwrap().into_inner();
    until(&mut other, Said::CaughtUp).await;
    double.next_read(ReadKind::Stream, ReadFault::BreakAfter(1));
    let mut replies = bare(&double, 0).read(read_stream("s")).await.unwrap().into_inner();
    assert!(rest(&mut replies).await.1.is_err());
    plant(&double, "s", 2..3);
    assert_eq!(until(&mut other, event(2)).await, [event(2)]);
}
