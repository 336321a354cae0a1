//! How the tests append by `BatchAppend`: with the bare messages.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_core::Stream;
use grantbook_eventstore_double::Double;
use grantbook_eventstore_double::protocol::streams::append_req::ProposedMessage;
use grantbook_eventstore_double::protocol::streams::append_resp::success::CurrentRevisionOption;
use grantbook_eventstore_double::protocol::streams::batch_append_req::Options;
use grantbook_eventstore_double::protocol::streams::batch_append_req::options::{
    DeadlineOption, ExpectedStreamPosition,
};
use grantbook_eventstore_double::protocol::streams::batch_append_resp::Result as Answer;
use grantbook_eventstore_double::protocol::streams::{BatchAppendReq, BatchAppendResp};
use grantbook_eventstore_double::protocol::wrong_expected_version::{
    CurrentStreamRevisionOption as Current, ExpectedStreamPositionOption as Wanted,
};
use grantbook_eventstore_double::protocol::{
    self, Empty, StreamIdentifier, Uuid as WireUuid, WrongExpectedVersion, uuid::Structured, uuid::Value,
};
use prost::Message;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tonic::{Request, Status, Streaming};

use crate::asking::bare;

/// A call that goes on.
pub struct Batch {
    messages: UnboundedSender<BatchAppendReq>,
    answers: Answers,
}

enum Answers {
    /// The server has said nothing yet.
    Silent(JoinHandle<Result<Streaming<BatchAppendResp>, Status>>),
    Begun(Box<Streaming<BatchAppendResp>>),
}

struct Messages(UnboundedReceiver<BatchAppendReq>);

impl Stream for Messages {
    type Item = BatchAppendReq;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<BatchAppendReq>> {
        self.0.poll_recv(context)
    }
}

/// What an append was answered, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// The revision, and whether a position came with it.
    Written(u64, bool),
    /// A success that says nothing.
    Blank,
    /// The revision there is.
    Conflict(Option<u64>),
    /// The code and the message, which is the name of the details.
    Error(i32, String),
}

/// The append was not written, or nobody knows, in time.
pub fn timeout() -> Said {
    Said::Error(4, "Timeout".to_owned())
}

/// A node has no leader.
pub fn not_ready() -> Said {
    Said::Error(0, "Server Is Not Ready".to_owned())
}

impl Batch {
    /// A call to a node that takes followers for the leader's.
    pub fn open(double: &Double, node: usize) -> Self {
        Self::with(double, node, &[])
    }

    /// A call with headers.
    pub fn with(double: &Double, node: usize, headers: &[(&'static str, &str)]) -> Self {
        let (messages, receiver) = unbounded_channel();
        let mut request = Request::new(Messages(receiver));
        for (name, value) in headers {
            request.metadata_mut().insert(*name, value.parse().unwrap());
        }
        let mut client = bare(double, node);
        let call = async move { client.batch_append(request).await.map(tonic::Response::into_inner) };
        Self { messages, answers: Answers::Silent(tokio::spawn(call)) }
    }

    pub fn send(&self, message: BatchAppendReq) {
        // It fails once the call has ended, which its answers say.
        let _ = self.messages.send(message);
    }

    /// Waits until the server has said anything, be it that there will be answers.
    pub async fn begin(&mut self) -> Result<&mut Streaming<BatchAppendResp>, Status> {
        if let Answers::Silent(call) = &mut self.answers {
            self.answers = Answers::Begun(Box::new(call.await.unwrap()?));
        }
        match &mut self.answers {
            Answers::Begun(answers) => Ok(answers),
            Answers::Silent(_) => panic!("it has just begun"),
        }
    }

    /// The next answer as it came; `None` at the end.
    pub async fn whole(&mut self) -> Result<Option<BatchAppendResp>, Status> {
        self.begin().await?.message().await
    }

    /// The next answer: to which append, and what.
    pub async fn next(&mut self) -> (u64, Said) {
        let answer = self.whole().await.unwrap().unwrap();
        (number(answer.correlation_id), said(answer.result.unwrap()))
    }

    /// How the call ends, and what was said until then.
    pub async fn rest(&mut self) -> (Vec<(u64, Said)>, Result<(), Status>) {
        let mut answers = vec![];
        loop {
            match self.whole().await {
                Ok(Some(answer)) => {
                    answers.push((number(answer.correlation_id), said(answer.result.unwrap())));
                }
                Ok(None) => return (answers, Ok(())),
                Err(status) => return (answers, Err(status)),
            }
        }
    }

    /// Sends nothing more.
    pub fn close(&mut self) {
        self.messages = unbounded_channel().0;
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if let Answers::Silent(call) = &self.answers {
            call.abort();
        }
    }
}

fn number(id: Option<WireUuid>) -> u64 {
    match id.unwrap().value.unwrap() {
        Value::Structured(id) => id.least_significant_bits.cast_unsigned(),
        Value::String(text) => panic!("not as it was sent: {text}"),
    }
}

fn said(answer: Answer) -> Said {
    let status = match answer {
        Answer::Success(success) => {
            let has_position = success.position_option.is_some();
            return match success.current_revision_option {
                Some(CurrentRevisionOption::CurrentRevision(revision)) => {
                    Said::Written(revision, has_position)
                }
                Some(CurrentRevisionOption::NoStream(_)) => panic!("nothing was written"),
                None => Said::Blank,
            };
        }
        Answer::Error(status) => status,
    };
    let details = status.details.unwrap();
    if status.message != "Server Is Not Ready" {
        assert_eq!(details.type_url, format!("type.googleapis.com/event_store.client.{}", status.message));
    }
    if status.message != "WrongExpectedVersion" {
        return Said::Error(status.code, status.message);
    }
    assert_eq!(status.code, 6);
    let details = WrongExpectedVersion::decode(details.value).unwrap();
    assert!(details.expected_stream_position_option.is_some());
    Said::Conflict(match details.current_stream_revision_option.unwrap() {
        Current::CurrentStreamRevision(revision) => Some(revision),
        Current::CurrentNoStream(_) => None,
    })
}

/// What a conflict says was expected.
pub fn wanted(answer: BatchAppendResp) -> Wanted {
    let Some(Answer::Error(status)) = answer.result else { panic!("no error: {answer:?}") };
    let details = WrongExpectedVersion::decode(status.details.unwrap().value).unwrap();
    details.expected_stream_position_option.unwrap()
}

pub fn any() -> ExpectedStreamPosition {
    ExpectedStreamPosition::Any(Empty {})
}

/// Expects an empty stream, or one that ends before this revision.
pub fn before(revision: u64) -> ExpectedStreamPosition {
    match revision.checked_sub(1) {
        None => ExpectedStreamPosition::NoStream(Empty {}),
        Some(last) => ExpectedStreamPosition::StreamPosition(last),
    }
}

/// An append of one event whose data is its number, whole.
pub fn append(number: u64, stream: &str, expected: ExpectedStreamPosition) -> BatchAppendReq {
    BatchAppendReq {
        correlation_id: id(number),
        options: Some(Options {
            stream_identifier: Some(StreamIdentifier { stream_name: stream.to_owned().into() }),
            expected_stream_position: Some(expected),
            deadline_option: None,
        }),
        proposed_messages: vec![proposed(number, number.to_string())],
        is_final: true,
    }
}

/// The same with a deadline.
pub fn within(deadline: Duration, mut append: BatchAppendReq) -> BatchAppendReq {
    append.options.as_mut().unwrap().deadline_option = Some(DeadlineOption::Deadline(protocol::Duration {
        seconds: deadline.as_secs().cast_signed(),
        nanos: deadline.subsec_nanos().cast_signed(),
    }));
    append
}

pub fn proposed(number: u64, data: String) -> ProposedMessage {
    ProposedMessage {
        id: id(number),
        metadata: [("type", "numbered"), ("content-type", "application/json")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        custom_metadata: vec![].into(),
        data: data.into(),
    }
}

pub fn id(number: u64) -> Option<WireUuid> {
    let id = Structured { most_significant_bits: 1, least_significant_bits: number.cast_signed() };
    Some(WireUuid { value: Some(Value::Structured(id)) })
}

/// What is in a stream.
pub fn stored(double: &Double, stream: &str) -> Vec<String> {
    double.events_of(stream).iter().map(|event| String::from_utf8_lossy(&event.data).into_owned()).collect()
}
