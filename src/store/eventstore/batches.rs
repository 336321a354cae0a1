//! Appends over one long call at the leader (`BatchAppend`). Knows: which answer belongs to which append, and when
//! another call has to be begun. Must not know: what is appended, or why.
//!
//! One message is one append. Many are under way at once: the node takes the messages of a call in order and answers
//! each by its id, and a conflict is an answer like any other. When a call ends, it is not known what became of the
//! appends that were not answered, unless it never reached a node.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grantbook_events::Revision;
use parking_lot::Mutex;
use prost::Message as _;
use tokio::sync::{Mutex as FairMutex, mpsc, oneshot};
use tokio::time::timeout;
use tonic::Streaming;
use uuid::Uuid;

use super::failure::{DENIED, Failure};
use super::nodes::{CALL_WITHIN, Nodes};
use super::wire::{
    AppendError, BadRequest, BatchAppendReq, BatchAppendResp, BatchOptions, Details, Empty, Proposed,
    StreamIdentifier, Success, WireDuration, WireUuid, WrongExpectedVersion,
};

/// The time for the way there and back, beyond the deadline at the node.
const WAY: Duration = Duration::from_millis(500);

/// Events to be appended to a stream whose last revision is this one.
pub(super) struct Message {
    pub stream: String,
    pub last: Option<Revision>,
    pub events: Vec<Proposed>,
}

/// An append that was made, now or before.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Of its last event.
    pub revision: u64,
    /// Of its last event, if the node says it.
    pub position: Option<u64>,
}

type Outcome = Result<Written, Failure>;
/// The id of an append that was sent, and its answer to come.
type Sent = (Uuid, oneshot::Receiver<Outcome>);

/// The call that appends go by. It is begun with the first append, and begun again after it ended.
#[derive(Default)]
pub(super) struct Batches {
    /// Fair, so that appends are sent in the order in which they ask.
    current: FairMutex<Option<Arc<Call>>>,
    begun: AtomicU64,
}

struct Call(Mutex<Waiting>);

struct Waiting {
    /// None once nothing more can be sent.
    messages: Option<mpsc::UnboundedSender<BatchAppendReq>>,
    /// The appends that are not answered yet, by their ids.
    answers: HashMap<Uuid, oneshot::Sender<Outcome>>,
    last_id: u64,
}

impl Batches {
    /// How many calls were begun after the first.
    pub(super) fn begun_again(&self) -> u64 {
        self.begun.load(Ordering::Relaxed).saturating_sub(1)
    }

    /// Sends an append, once. `Broken` leaves open whether it was done.
    pub(super) async fn append(&self, nodes: &Nodes, message: Message) -> Outcome {
        let none = || Err(Failure::broken("nothing was sent"));
        self.append_all(nodes, vec![message]).await.pop().unwrap_or_else(none)
    }

    /// Sends appends over one call, in order. The node does them in order, but goes on after one that it does not do. It may
    /// take its time as long as it answers one after the other.
    pub(super) async fn append_all(&self, nodes: &Nodes, messages: Vec<Message>) -> Vec<Outcome> {
        let count = messages.len();
        let none = || Err(Failure::NotDone("no node of the cluster could be reached in time".to_owned()));
        let sent = timeout(CALL_WITHIN, self.send(nodes, messages)).await;
        let (call, sent) = match sent.unwrap_or_else(|_| none()) {
            Ok(sent) => sent,
            Err(failure) => return (0..count).map(|_| Err(failure.clone())).collect(),
        };
        let (mut outcomes, mut within) = (Vec::with_capacity(count), CALL_WITHIN + WAY);
        for (id, answer) in sent {
            outcomes.push(match timeout(within, answer).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(Failure::broken("the call broke off")),
                Err(_) => {
                    call.0.lock().answers.remove(&id);
                    within = Duration::ZERO;
                    Err(Failure::broken("the node did not answer in time"))
                }
            });
        }
        if let Some(failure) =
            outcomes.iter().find_map(|outcome| outcome.as_ref().err().filter(|it| it.is_transient()))
        {
            // What waits may be answered yet; what comes from here on goes to the node that leads then.
            call.close();
            nodes.note(failure);
        }
        outcomes
    }

    async fn send(&self, nodes: &Nodes, messages: Vec<Message>) -> Result<(Arc<Call>, Vec<Sent>), Failure> {
        let mut current = self.current.lock().await;
        if let Some(call) = &*current
            && let Some(sent) = call.send(&messages)
        {
            return Ok((Arc::clone(call), sent));
        }
        nodes.still_has_what_was_seen().await?;
        let (sender, receiver) = mpsc::unbounded_channel();
        let replies = nodes.batch_append(receiver).await?;
        let waiting = Waiting { messages: Some(sender), answers: HashMap::new(), last_id: 0 };
        let call = Arc::new(Call(Mutex::new(waiting)));
        self.begun.fetch_add(1, Ordering::Relaxed);
        // Before the call runs, so that it is not over yet.
        let sent = call.send(&messages).unwrap_or_default();
        *current = Some(Arc::clone(&call));
        let running = Arc::clone(&call);
        tokio::spawn(async move { running.run(replies).await });
        Ok((call, sent))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        if let Some(call) = self.current.get_mut() {
            call.close();
        }
    }
}

impl Call {
    /// Sends messages; `None` if nothing more can be sent.
    fn send(&self, messages: &[Message]) -> Option<Vec<Sent>> {
        let mut waiting = self.0.lock();
        let sender = waiting.messages.clone()?;
        let send = |message: &Message| {
            waiting.last_id += 1;
            let id = Uuid::from_u64_pair(0, waiting.last_id);
            let (answer, answered) = oneshot::channel();
            waiting.answers.insert(id, answer);
            // If this fails, the call ends, which answers all that wait.
            let _ = sender.send(request(id, message));
            (id, answered)
        };
        Some(messages.iter().map(send).collect())
    }

    /// Nothing more is sent. The node answers what it has, and ends the call.
    fn close(&self) {
        self.0.lock().messages = None;
    }

    /// Gives each answer to the append that it is about, until the call ends.
    async fn run(&self, replies: impl Future<Output = Result<Streaming<BatchAppendResp>, Failure>>) {
        let failure = match replies.await {
            Err(failure) => failure,
            Ok(mut replies) => loop {
                match replies.message().await {
                    Ok(Some(reply)) => self.answer(reply),
                    Ok(None) => break Failure::broken("the node ended the call"),
                    Err(status) => break status.into(),
                }
            },
        };
        let mut waiting = self.0.lock();
        waiting.messages = None;
        for (_, answer) in waiting.answers.drain() {
            // The append may have been given up.
            let _ = answer.send(Err(failure.clone()));
        }
    }

    fn answer(&self, reply: BatchAppendResp) {
        let id = reply.correlation_id.as_ref().and_then(WireUuid::id);
        let answer = id.and_then(|id| self.0.lock().answers.remove(&id));
        let Some(answer) = answer else { return };
        let outcome = match (reply.error, reply.success) {
            (Some(error), _) => Err(failure(error)),
            (None, Some(Success { current_revision: Some(revision), position })) => {
                Ok(Written { revision, position: position.map(|position| position.commit_position) })
            }
            (None, _) => Err(Failure::broken("the node's answer says nothing")),
        };
        let _ = answer.send(outcome);
    }
}

fn request(id: Uuid, message: &Message) -> BatchAppendReq {
    let options = BatchOptions {
        stream_identifier: Some(StreamIdentifier { stream_name: message.stream.clone().into() }),
        revision: message.last.map(Revision::as_u64),
        no_stream: message.last.is_none().then_some(Empty {}),
        deadline: Some(WireDuration { seconds: CALL_WITHIN.as_secs().cast_signed() }),
    };
    let proposed = message.events.clone();
    BatchAppendReq { correlation_id: Some(id.into()), options: Some(options), proposed, is_final: true }
}

/// What an answer means that is no success. The type of its details says it; of an append that the node did not look
/// at, only the words.
fn failure(AppendError { code, message, details }: AppendError) -> Failure {
    let Details { type_url, value } = details.unwrap_or_default();
    match type_url.rsplit('.').next().unwrap_or_default() {
        "WrongExpectedVersion" => match WrongExpectedVersion::decode(value) {
            // The last number stands for no revision.
            Ok(WrongExpectedVersion { current_revision }) => {
                Failure::Conflict(current_revision.filter(|at| *at != u64::MAX).map(Revision::new))
            }
            Err(error) => Failure::Broken(error.to_string()),
        },
        "StreamDeleted" => Failure::Deleted,
        "AccessDenied" => Failure::Refused(DENIED.to_owned()),
        "MaximumAppendSizeExceeded" | "MaximumAppendEventSizeExceeded" => {
            Failure::Refused("it is larger than the cluster takes".to_owned())
        }
        "BadRequest" => {
            let why = BadRequest::decode(value).map(|bad| bad.message).unwrap_or_default();
            Failure::Refused(format!("the cluster does not understand it: {why}"))
        }
        "Timeout" => Failure::broken("the cluster did not finish it in time"),
        // "Server Is Not Ready" and the like.
        "Empty" if code == 0 => Failure::NotDone(message),
        _ => Failure::Broken(message),
    }
}
