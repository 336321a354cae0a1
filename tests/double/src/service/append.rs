//! One append: read from the wire, carried out, and answered, or not. Knows: its limits, gates and faults. Must not
//! know: when it is right.
//!
//! What has arrived in whole is carried out also if the client does not wait for it, as the real server does.

use std::future::pending;

use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};

use super::{Seat, not_leader, not_ready, put, wire};
use crate::cluster::Cluster;
use crate::connection::Line;
use crate::event::Proposed;
use crate::expectation::{Expected, Outcome};
use crate::faults::AppendFault;
use crate::protocol::Empty;
use crate::protocol::streams::append_req::options::ExpectedStreamRevision;
use crate::protocol::streams::append_req::{Content, Options};
use crate::protocol::streams::append_resp::success::{CurrentRevisionOption, PositionOption};
use crate::protocol::streams::append_resp::wrong_expected_version as wrong;
use crate::protocol::streams::append_resp::{Position, Result as Answer, Success, WrongExpectedVersion};
use crate::protocol::streams::{AppendReq, AppendResp};

/// The most that one append may carry, in bytes.
const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// An append that has arrived in whole.
struct Append {
    stream: String,
    expected: Expected,
    proposed: Vec<Proposed>,
}

/// How the client learns what became of it.
enum Reply {
    Said(AppendResp),
    Failed(Status),
    /// It does not learn it.
    Cut,
}

impl Seat {
    pub(super) async fn answer_append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<AppendResp, Status> {
        self.authenticate(request.metadata())?;
        let line = request.extensions().get::<Line>().cloned();
        let (metadata, _, messages) = request.into_parts();
        let append = Append::receive(messages).await?;
        self.check_leader(&metadata)?;
        self.cluster.counters.count(self.index, |node| node.appends += 1);
        let fault = self.cluster.append_fault(self.node());
        let seat = self.clone();
        let work = tokio::spawn(async move { seat.carry_out(append, fault).await });
        match work.await {
            Ok(Reply::Said(answer)) => Ok(answer),
            Ok(Reply::Failed(status)) => Err(status),
            Ok(Reply::Cut) => {
                if let Some(line) = line {
                    line.cut();
                }
                pending().await
            }
            Err(error) => Err(Status::internal(error.to_string())),
        }
    }

    async fn carry_out(self, append: Append, fault: Option<AppendFault>) -> Reply {
        match fault {
            Some(AppendFault::Unavailable) => return Reply::Failed(Status::unavailable("unavailable")),
            Some(AppendFault::Deadline) => return Reply::Failed(deadline()),
            Some(AppendFault::TimedOut) => return Reply::Failed(timed_out()),
            Some(AppendFault::NotLeader) => {
                return Reply::Failed(self.cluster.leader().map_or_else(not_ready, not_leader));
            }
            Some(AppendFault::BreakBefore) => return Reply::Cut,
            Some(
                AppendFault::CommitThenBreak
                | AppendFault::CommitThenUnavailable
                | AppendFault::CommitThenDeadline
                | AppendFault::CommitThenTimedOut
                | AppendFault::Malformed,
            )
            | None => {}
        }
        let expected = append.expected;
        // A follower hands it on to the leader. Whoever writes it writes no more once it has stopped.
        let Some(writer) = self.cluster.leader().and_then(|leader| leader.token()) else {
            return Reply::Failed(not_ready());
        };
        let Some(outcome) = self.write(append, &writer).await else { return Reply::Failed(not_ready()) };
        match fault {
            Some(AppendFault::CommitThenBreak) => Reply::Cut,
            Some(AppendFault::CommitThenUnavailable) => Reply::Failed(Status::unavailable("unavailable")),
            Some(AppendFault::CommitThenDeadline) => Reply::Failed(deadline()),
            Some(AppendFault::CommitThenTimedOut) => Reply::Failed(timed_out()),
            Some(AppendFault::Malformed) => {
                let success = Success { current_revision_option: None, position_option: None };
                Reply::Said(AppendResp { result: Some(Answer::Success(success)) })
            }
            _ => Reply::Said(AppendResp { result: Some(answer(outcome, expected)) }),
        }
    }

    /// Writes it once it may, and waits until it may be said.
    async fn write(&self, append: Append, writer: &CancellationToken) -> Option<Outcome> {
        let Cluster { appends, replies, counters, .. } = &*self.cluster;
        if !appends.is_open() {
            let _waiting = counters.during(self.index, |node| &mut node.waiting_appends);
            tokio::select! {
                () = writer.cancelled() => return None,
                () = appends.pass() => {}
            }
        }
        let outcome = self.cluster.append(writer, &append.stream, append.expected, append.proposed)?;
        if !replies.is_open() {
            let _waiting = counters.during(self.index, |node| &mut node.waiting_replies);
            tokio::select! {
                () = writer.cancelled() => return None,
                () = replies.pass() => {}
            }
        }
        Some(outcome)
    }
}

impl Append {
    async fn receive(mut messages: Streaming<AppendReq>) -> Result<Self, Status> {
        let Some(Content::Options(options)) = messages.message().await?.and_then(|first| first.content)
        else {
            return Err(Status::invalid_argument("an append begins with its options"));
        };
        let (expected, stream) = (expected(&options), wire::stream_name(options.stream_identifier)?);
        let (mut proposed, mut size) = (Vec::new(), 0);
        while let Some(message) = messages.message().await? {
            let Some(Content::ProposedMessage(message)) = message.content else {
                return Err(Status::invalid_argument("behind the options of an append are its events"));
            };
            let event = wire::proposed(message)?;
            size += event.size();
            if size > MAX_APPEND_BYTES {
                return Err(too_large());
            }
            proposed.push(event);
        }
        Ok(Self { stream, expected, proposed })
    }
}

fn expected(options: &Options) -> Expected {
    match options.expected_stream_revision {
        Some(ExpectedStreamRevision::Revision(revision)) => Expected::Exactly(revision),
        Some(ExpectedStreamRevision::NoStream(_)) => Expected::NoStream,
        Some(ExpectedStreamRevision::StreamExists(_)) => Expected::StreamExists,
        Some(ExpectedStreamRevision::Any(_)) | None => Expected::Any,
    }
}

fn answer(outcome: Outcome, expected: Expected) -> Answer {
    let (current, position) = match outcome {
        Outcome::Written { revision, position } => {
            let position = Position { commit_position: position, prepare_position: position };
            (Some(revision), PositionOption::Position(position))
        }
        Outcome::Replayed { revision } => (Some(revision), PositionOption::NoPosition(Empty {})),
        Outcome::Nothing { current } => (current, PositionOption::NoPosition(Empty {})),
        Outcome::Conflict { current } => return Answer::WrongExpectedVersion(conflict(current, expected)),
    };
    let current =
        current.map_or(CurrentRevisionOption::NoStream(Empty {}), CurrentRevisionOption::CurrentRevision);
    Answer::Success(Success { current_revision_option: Some(current), position_option: Some(position) })
}

/// A conflict, said in the words of today and in those of version 20.6.0.
fn conflict(current: Option<u64>, expected: Expected) -> WrongExpectedVersion {
    use wrong::{
        CurrentRevisionOption as Now, CurrentRevisionOption2060 as Now2060, ExpectedRevisionOption as Then,
        ExpectedRevisionOption2060 as Then2060,
    };
    let (now, now_2060) = match current {
        Some(revision) => (Now::CurrentRevision(revision), Now2060::CurrentRevision2060(revision)),
        None => (Now::CurrentNoStream(Empty {}), Now2060::NoStream2060(Empty {})),
    };
    let (then, then_2060) = match expected {
        Expected::Exactly(revision) => {
            (Then::ExpectedRevision(revision), Then2060::ExpectedRevision2060(revision))
        }
        // There was no word for it: it was the revision below the first.
        Expected::NoStream => (Then::ExpectedNoStream(Empty {}), Then2060::ExpectedRevision2060(u64::MAX)),
        Expected::Any => (Then::ExpectedAny(Empty {}), Then2060::Any2060(Empty {})),
        Expected::StreamExists => {
            (Then::ExpectedStreamExists(Empty {}), Then2060::StreamExists2060(Empty {}))
        }
    };
    WrongExpectedVersion {
        current_revision_option_20_6_0: Some(now_2060),
        expected_revision_option_20_6_0: Some(then_2060),
        current_revision_option: Some(now),
        expected_revision_option: Some(then),
    }
}

fn deadline() -> Status {
    Status::deadline_exceeded("Deadline Exceeded")
}

fn timed_out() -> Status {
    Status::aborted("Operation timed out: Prepare phase timeout.")
}

fn too_large() -> Status {
    let mut trailers = MetadataMap::new();
    put(&mut trailers, "exception", "maximum-append-size-exceeded");
    put(&mut trailers, "maximum-append-size", &MAX_APPEND_BYTES.to_string());
    let message = format!("Maximum Append Size of {MAX_APPEND_BYTES} Exceeded.");
    Status::with_metadata(Code::InvalidArgument, message, trailers)
}
