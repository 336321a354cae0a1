//! The replies to a read: made by a task, handed over one by one, and broken off where a fault says so. Knows:
//! how many events may go before that. Must not know: what is read.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;
use tonic::Status;

use super::wire;
use crate::connection::{Line, MARK};
use crate::faults::ReadFault;
use crate::gates::Passage;
use crate::protocol::streams::ReadResp;

/// How many messages may wait to be sent.
const MESSAGES_AHEAD: usize = 64;

/// Nothing more is to be handed over: nobody listens, or a fault has struck.
#[derive(Debug)]
pub(super) struct Stopped;

enum Step {
    Message(Box<ReadResp>),
    Break,
}

/// Hands messages over to a client.
#[derive(Debug)]
pub(super) struct Hand {
    steps: mpsc::Sender<Step>,
    /// Closed while nothing is handed over.
    passage: Passage,
    /// How many events may still go before the fault.
    left: Option<usize>,
    fault: Option<ReadFault>,
}

impl Hand {
    /// A hand, and what it hands over.
    pub fn new(line: Option<Line>, passage: Passage, fault: Option<ReadFault>) -> (Self, Replies) {
        let (steps, receiver) = mpsc::channel(MESSAGES_AHEAD);
        let left = match fault {
            Some(ReadFault::BreakAfter(events) | ReadFault::EndCleanlyAfter(events)) => Some(events),
            Some(ReadFault::Unavailable | ReadFault::Malformed) | None => None,
        };
        let hand = Self { steps, passage, left, fault };
        (hand, Replies { steps: receiver, line, is_breaking: false })
    }

    /// Does the work of a read for as long as somebody listens.
    pub fn spawn<F>(self, work: impl FnOnce(Self) -> F)
    where
        F: Future<Output = Result<(), Stopped>> + Send + 'static,
    {
        let steps = self.steps.clone();
        let work = work(self);
        tokio::spawn(async move {
            tokio::select! {
                biased;
                () = steps.closed() => {}
                _ = work => {}
            }
        });
    }

    /// What goes wrong before the first event.
    pub async fn begin(&mut self) -> Result<(), Stopped> {
        if self.fault == Some(ReadFault::Malformed) {
            self.message(ReadResp::default()).await?;
        }
        self.check().await
    }

    /// Hands over an event.
    pub async fn event(&mut self, message: ReadResp) -> Result<(), Stopped> {
        self.message(message).await?;
        self.left = self.left.map(|left| left.saturating_sub(1));
        self.check().await
    }

    /// Hands over anything that is no event.
    pub async fn message(&mut self, message: ReadResp) -> Result<(), Stopped> {
        self.passage.pass().await;
        self.steps.send(Step::Message(Box::new(message))).await.map_err(|_| Stopped)
    }

    /// What goes wrong at the end.
    pub async fn end(&mut self) -> Result<(), Stopped> {
        if matches!(self.fault, Some(ReadFault::BreakAfter(_))) {
            self.steps.send(Step::Break).await.map_err(|_| Stopped)?;
        }
        Ok(())
    }

    async fn check(&mut self) -> Result<(), Stopped> {
        if self.left != Some(0) {
            return Ok(());
        }
        self.end().await?;
        Err(Stopped)
    }
}

/// What a client is sent.
#[derive(Debug)]
pub(crate) struct Replies {
    steps: mpsc::Receiver<Step>,
    line: Option<Line>,
    is_breaking: bool,
}

impl Stream for Replies {
    type Item = Result<ReadResp, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_breaking {
            // Only once: the connection is gone before anything is asked of us again.
            return match self.line.take() {
                Some(line) => {
                    line.cut_at_mark();
                    Poll::Ready(Some(Ok(wire::confirmation(MARK.to_owned()))))
                }
                None => Poll::Pending,
            };
        }
        match self.steps.poll_recv(context) {
            Poll::Ready(Some(Step::Message(message))) => Poll::Ready(Some(Ok(*message))),
            Poll::Ready(Some(Step::Break)) => {
                // Messages that are ready one after the other are sent in one piece, which would break as a whole:
                // the mark goes into a piece of its own if it is not ready at first.
                self.is_breaking = true;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}
