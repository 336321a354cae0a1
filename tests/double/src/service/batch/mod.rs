//! `BatchAppend`: one long call that carries many appends. Knows: their order, deadlines, gates and faults. Must not
//! know: when an append is right.
//!
//! One task serves the call. What has arrived in whole is carried out in order, also if the client has gone.

mod answer;
mod request;

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep_until};
use tonic::metadata::MetadataMap;
use tonic::{Request, Status, Streaming};
use uuid::Uuid;

use super::appending::{Append, Ending};
use super::{Seat, not_leader, not_ready, wire};
use crate::connection::Line;
use crate::counts::Counted;
use crate::faults::AppendFault;
use crate::gates::Passage;
use crate::node::Writer;
use crate::protocol::Uuid as WireUuid;
use crate::protocol::streams::batch_append_resp::Result as Answer;
use crate::protocol::streams::{BatchAppendReq, BatchAppendResp};

/// What the client is sent: nothing, not even headers, before the first answer, as of the real server.
#[derive(Debug)]
pub(crate) struct Answers {
    first: Option<BatchAppendResp>,
    rest: UnboundedReceiver<Result<BatchAppendResp, Status>>,
}

impl Stream for Answers {
    type Item = Result<BatchAppendResp, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(Ok(first))),
            None => self.rest.poll_recv(context),
        }
    }
}

/// An append of the call that has no answer yet.
#[derive(Debug)]
struct Pending {
    id: Uuid,
    /// The id as the client wrote it.
    correlation_id: Option<WireUuid>,
    append: Append,
    deadline: Instant,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// More of its events may come.
    Arriving,
    /// A gate, or one that is before it in the call, keeps it from being written.
    Waiting { writer: Writer, fault: Option<AppendFault>, _counted: Counted },
    /// A gate keeps its answer.
    Judged { ending: Ending, _counted: Counted },
}

/// A call that goes on.
struct Call {
    seat: Seat,
    metadata: MetadataMap,
    line: Option<Line>,
    /// Whether the client has to name a user and has not.
    is_denied: bool,
    answers: UnboundedSender<Result<BatchAppendResp, Status>>,
    /// In the order they came.
    pending: Vec<Pending>,
    /// Nothing more is taken or answered.
    is_over: bool,
}

impl Seat {
    pub(super) async fn answer_batch_append(
        &self,
        request: Request<Streaming<BatchAppendReq>>,
    ) -> Result<Answers, Status> {
        self.authenticate_if_named(request.metadata())?;
        let is_denied = self.authenticate(request.metadata()).is_err();
        let line = request.extensions().get::<Line>().cloned();
        let run = self.node().token().ok_or_else(not_ready)?;
        let (metadata, _, messages) = request.into_parts();
        let (answers, mut rest) = unbounded_channel();
        let (seat, pending, is_over) = (self.clone(), vec![], false);
        let call = Call { seat, metadata, line, is_denied, answers, pending, is_over };
        tokio::spawn(async move {
            tokio::select! {
                () = run.cancelled() => {}
                () = call.run(messages) => {}
            }
        });
        let first = rest.recv().await.transpose()?;
        Ok(Answers { first, rest })
    }
}

impl Call {
    async fn run(mut self, messages: Streaming<BatchAppendReq>) {
        let (appends, replies) = (self.seat.cluster.appends.clone(), self.seat.cluster.replies.clone());
        let counters = self.seat.cluster.counters.clone();
        let open = counters.during(self.seat.index, |node| &mut node.open_batches);
        let mut messages = Some((messages, open));
        while messages.is_some() || !self.pending.is_empty() {
            let writer = self.pending.iter().find_map(|pending| pending.stage.writer()).cloned();
            let deadline = self.pending.iter().map(|pending| pending.deadline).min();
            tokio::select! {
                biased;
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.expire(),
                () = wait(writer.as_ref(), &appends), if writer.is_some() => self.write_waiting(&appends),
                () = replies.pass(), if self.has(Stage::is_judged) => self.answer_judged(),
                message = next(&mut messages), if messages.is_some() => match message {
                    Some(message) => self.take(message),
                    None => messages = None,
                },
            }
            if self.is_over {
                messages = None;
            }
            if messages.is_none() {
                // What is still to be written is; what has not arrived in whole never will.
                let is_over = self.is_over;
                self.pending.retain(|pending| match pending.stage {
                    Stage::Arriving => false,
                    Stage::Waiting { .. } => true,
                    Stage::Judged { .. } => !is_over,
                });
            }
        }
    }

    fn has(&self, stage: fn(&Stage) -> bool) -> bool {
        self.pending.iter().any(|pending| stage(&pending.stage))
    }

    fn extract(&mut self, is_wanted: impl Fn(&Pending) -> bool) -> Vec<Pending> {
        self.pending.extract_if(.., |pending| is_wanted(pending)).collect()
    }

    /// Takes the next message of the call.
    fn take(&mut self, message: BatchAppendReq) {
        let (id, options) = (message.correlation_id.clone(), message.options.clone());
        match self.gather(message) {
            Ok(None) => {}
            Ok(Some(whole)) => self.carry_out(whole),
            Err(answer) => {
                let stream_identifier = options.and_then(|options| options.stream_identifier);
                self.send(BatchAppendResp { correlation_id: id, result: Some(answer), stream_identifier });
            }
        }
    }

    /// Puts a message to those of its id, and hands the append over once it has arrived in whole.
    ///
    /// An append with an event that cannot be read is answered, and answered again when its deadline passes: the real
    /// server forgets it no sooner either.
    fn gather(&mut self, message: BatchAppendReq) -> Result<Option<Pending>, Answer> {
        let bad = |status: Status| answer::bad_request(status.message());
        let correlation_id = message.correlation_id;
        let id = wire::parse_id(correlation_id.clone()).map_err(bad)?;
        let is_arriving = |pending: &Pending| pending.id == id && matches!(pending.stage, Stage::Arriving);
        if let Some(options) = message.options {
            let cluster = &self.seat.cluster;
            let timeout = request::timeout(&options, cluster.write_timeout, &cluster.clock);
            if self.is_denied {
                return Err(answer::access_denied());
            }
            let (stream, expected) = request::target(&options)?;
            if timeout.is_zero() {
                return Err(answer::timeout());
            }
            if !self.pending.iter().any(is_arriving) {
                let (append, deadline) = (Append::new(stream, expected), Instant::now() + timeout);
                self.pending.push(Pending { id, correlation_id, append, deadline, stage: Stage::Arriving });
            }
        }
        let Some(index) = self.pending.iter().position(is_arriving) else { return Ok(None) };
        let append = &mut self.pending[index].append;
        for event in message.proposed_messages {
            append.add(wire::proposed(event).map_err(bad)?);
        }
        if append.is_too_large() {
            let pending = self.pending.remove(index);
            self.answer(&pending, answer::too_large());
            return Ok(None);
        }
        Ok(message.is_final.then(|| self.pending.remove(index)))
    }

    /// Carries an append out that has arrived in whole, or lets it wait.
    fn carry_out(&mut self, mut pending: Pending) {
        if self.seat.check_leader(&self.metadata).is_err() {
            return self.end(&pending, Ending::NotLeader);
        }
        let (cluster, node) = (&self.seat.cluster, self.seat.node());
        cluster.counters.count(self.seat.index, |node| node.appends += 1);
        let fault = cluster.append_fault(node);
        if let Some(ending) = Ending::unwritten(fault) {
            return self.end(&pending, ending);
        }
        // A follower hands it on to the leader. Whoever writes it writes no more once it has stopped.
        let Some(writer) = cluster.leader().and_then(|leader| leader.writer()) else {
            return self.end(&pending, Ending::NotReady);
        };
        if writer.may_write(&cluster.appends) && !self.has(Stage::is_waiting) {
            return self.write(pending, &writer, fault);
        }
        let _counted = cluster.counters.during(self.seat.index, |node| &mut node.waiting_appends);
        pending.stage = Stage::Waiting { writer, fault, _counted };
        self.pending.push(pending);
    }

    /// Writes those that may be written, in order: none before another that waits.
    fn write_waiting(&mut self, appends: &Passage) {
        while let Some(index) = self.pending.iter().position(|pending| pending.stage.is_waiting()) {
            if !self.pending[index].stage.writer().is_some_and(|writer| writer.may_write(appends)) {
                return;
            }
            let mut pending = self.pending.remove(index);
            if let Stage::Waiting { writer, fault, .. } =
                std::mem::replace(&mut pending.stage, Stage::Arriving)
            {
                self.write(pending, &writer, fault);
            }
        }
    }

    fn write(&mut self, mut pending: Pending, writer: &Writer, fault: Option<AppendFault>) {
        let cluster = &self.seat.cluster;
        let (stream, proposed) = (&pending.append.stream, std::mem::take(&mut pending.append.proposed));
        let Some(outcome) = cluster.append(writer, stream, pending.append.expected, proposed) else {
            return self.end(&pending, Ending::NotReady);
        };
        let ending = Ending::judged(outcome, fault);
        if cluster.replies.is_open() {
            return self.end(&pending, ending);
        }
        let _counted = cluster.counters.during(self.seat.index, |node| &mut node.waiting_replies);
        pending.stage = Stage::Judged { ending, _counted };
        self.pending.push(pending);
    }

    fn answer_judged(&mut self) {
        for mut pending in self.extract(|pending| pending.stage.is_judged()) {
            if let Stage::Judged { ending, .. } = std::mem::replace(&mut pending.stage, Stage::Arriving) {
                self.end(&pending, ending);
            }
        }
    }

    /// Answers appends whose deadline has passed. Those that are not written never will be.
    fn expire(&mut self) {
        let now = Instant::now();
        for pending in self.extract(|pending| pending.deadline <= now) {
            self.end(&pending, Ending::Late);
        }
    }

    fn end(&mut self, pending: &Pending, ending: Ending) {
        let answer = match ending {
            Ending::Success(success) => Answer::Success(success),
            Ending::Conflict { current } => answer::conflict(current, pending.append.expected),
            Ending::Deleted => answer::stream_deleted(&pending.append.stream),
            Ending::NotReady => answer::not_ready(),
            Ending::Late | Ending::TimedOut => answer::timeout(),
            Ending::NotLeader => match self.seat.cluster.leader() {
                // It ends the whole call.
                Some(leader) => {
                    let _ = self.answers.send(Err(not_leader(leader)));
                    self.is_over = true;
                    return;
                }
                None => answer::not_ready(),
            },
            Ending::Cut => {
                self.is_over = true;
                return self.line.iter().for_each(Line::cut);
            }
        };
        self.answer(pending, answer);
    }

    fn answer(&self, pending: &Pending, answer: Answer) {
        self.send(BatchAppendResp {
            correlation_id: pending.correlation_id.clone(),
            result: Some(answer),
            stream_identifier: Some(wire::identifier(&pending.append.stream)),
        });
    }

    fn send(&self, answer: BatchAppendResp) {
        if !self.is_over {
            // It fails if the client has gone.
            let _ = self.answers.send(Ok(answer));
        }
    }
}

impl Stage {
    /// What is to write an append that waits.
    fn writer(&self) -> Option<&Writer> {
        match self {
            Self::Waiting { writer, .. } => Some(writer),
            Self::Arriving | Self::Judged { .. } => None,
        }
    }

    fn is_waiting(&self) -> bool {
        self.writer().is_some()
    }

    fn is_judged(&self) -> bool {
        matches!(self, Self::Judged { .. })
    }
}

async fn wait(writer: Option<&Writer>, appends: &Passage) {
    if let Some(writer) = writer {
        writer.wait(appends).await;
    }
}

/// The next message; `None` at the end, and when the client has gone.
async fn next(messages: &mut Option<(Streaming<BatchAppendReq>, Counted)>) -> Option<BatchAppendReq> {
    messages.as_mut()?.0.message().await.ok().flatten()
}
