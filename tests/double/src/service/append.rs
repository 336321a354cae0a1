//! One append: read from the wire, carried out, and answered, or not. Knows: its limits, gates and faults. Must not
//! know: when it is right.
//!
//! What has arrived in whole is carried out also if the client does not wait for it, as the real server does.

use std::future::pending;

use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Status, Streaming};

use super::appending::{Append, Ending, MAX_APPEND_BYTES};
use super::{Seat, not_ready, put, stream_deleted, wire};
use crate::cluster::Cluster;
use crate::connection::Line;
use crate::expectation::{Expected, Outcome};
use crate::faults::AppendFault;
use crate::node::Writer;
use crate::protocol::Empty;
use crate::protocol::streams::append_req::options::ExpectedStreamRevision;
use crate::protocol::streams::append_req::{Content, Options};
use crate::protocol::streams::append_resp::wrong_expected_version as wrong;
use crate::protocol::streams::append_resp::{Result as Answer, WrongExpectedVersion};
use crate::protocol::streams::{AppendReq, AppendResp};

impl Seat {
    pub(super) async fn answer_append(
        &self,
        request: Request<Streaming<AppendReq>>,
    ) -> Result<AppendResp, Status> {
        self.authenticate(request.metadata())?;
        let line = request.extensions().get::<Line>().cloned();
        let (metadata, _, messages) = request.into_parts();
        let append = receive(messages).await?;
        self.check_leader(&metadata)?;
        self.cluster.counters.count(self.index, |node| node.appends += 1);
        let (fault, expected) = (self.cluster.append_fault(self.node()), append.expected);
        let (seat, stream) = (self.clone(), append.stream.clone());
        let work = tokio::spawn(async move { seat.carry_out(append, fault).await });
        let result = match work.await.map_err(|error| Status::internal(error.to_string()))? {
            Ending::Success(success) => Answer::Success(success),
            Ending::Conflict { current } => Answer::WrongExpectedVersion(conflict(current, expected)),
            Ending::Deleted => return Err(stream_deleted(&stream)),
            Ending::NotReady => return Err(not_ready()),
            Ending::Late => return Err(Status::deadline_exceeded("Deadline Exceeded")),
            Ending::TimedOut => {
                return Err(Status::aborted("Operation timed out: Prepare phase timeout."));
            }
            Ending::NotLeader => return Err(self.sent_to_leader()),
            Ending::Cut => {
                if let Some(line) = line {
                    line.cut();
                }
                return pending().await;
            }
        };
        Ok(AppendResp { result: Some(result) })
    }

    async fn carry_out(self, append: Append, fault: Option<AppendFault>) -> Ending {
        if let Some(ending) = Ending::unwritten(fault) {
            return ending;
        }
        // A follower hands it on to the leader. Whoever writes it writes no more once it has stopped.
        let Some(writer) = self.cluster.leader().and_then(|leader| leader.writer()) else {
            return Ending::NotReady;
        };
        let written = self.write(append, &writer).await;
        written.map_or(Ending::NotReady, |outcome| Ending::judged(outcome, fault))
    }

    /// Writes it once it may, and waits until it may be said.
    async fn write(&self, append: Append, writer: &Writer) -> Option<Outcome> {
        let Cluster { appends, replies, counters, .. } = &*self.cluster;
        if !writer.may_write(appends) {
            let _waiting = counters.during(self.index, |node| &mut node.waiting_appends);
            writer.wait(appends).await;
        }
        let outcome = self.cluster.append(writer, &append.stream, append.expected, append.proposed)?;
        if !replies.is_open() {
            let _waiting = counters.during(self.index, |node| &mut node.waiting_replies);
            writer.unless_ended(replies.pass()).await?;
        }
        Some(outcome)
    }
}

async fn receive(mut messages: Streaming<AppendReq>) -> Result<Append, Status> {
    let Some(Content::Options(options)) = messages.message().await?.and_then(|first| first.content) else {
        return Err(Status::invalid_argument("an append begins with its options"));
    };
    let expected = expected(&options);
    let mut append = Append::new(wire::stream_name(options.stream_identifier)?, expected);
    while let Some(message) = messages.message().await? {
        let Some(Content::ProposedMessage(message)) = message.content else {
            return Err(Status::invalid_argument("behind the options of an append are its events"));
        };
        append.add(wire::proposed(message)?);
        if append.is_too_large() {
            return Err(too_large());
        }
    }
    Ok(append)
}

pub(super) fn expected(options: &Options) -> Expected {
    match options.expected_stream_revision {
        Some(ExpectedStreamRevision::Revision(revision)) => Expected::Exactly(revision),
        Some(ExpectedStreamRevision::NoStream(_)) => Expected::NoStream,
        Some(ExpectedStreamRevision::StreamExists(_)) => Expected::StreamExists,
        Some(ExpectedStreamRevision::Any(_)) | None => Expected::Any,
    }
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

fn too_large() -> Status {
    let mut trailers = MetadataMap::new();
    put(&mut trailers, "exception", "maximum-append-size-exceeded");
    put(&mut trailers, "maximum-append-size", &MAX_APPEND_BYTES.to_string());
    let message = format!("Maximum Append Size of {MAX_APPEND_BYTES} Exceeded.");
    Status::with_metadata(Code::InvalidArgument, message, trailers)
}
