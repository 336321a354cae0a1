//! A subscription to the ledger, kept up for as long as somebody listens. Knows: history, checkpoints,
//! heartbeats, and how to go on after a break. Must not know: what the records mean.
//!
//! History is read in pages, so that "caught up" is known on every version of the server, and heartbeats of
//! long ago are not read. Then the cluster pushes what is new. After a break the subscription goes on behind the
//! last event or checkpoint that came, whichever is later.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use grantbook_events::{Position, Timestamp};
use tokio::sync::{mpsc, watch};
use tonic::Streaming;

use super::Shared;
use super::clients::FIRST_PAUSE;
use super::failure::Failure;
use super::heartbeat;
use super::record;
use super::wire::{Content, ReadResp, RecordedEvent};
use crate::store::{MAX_PAGE, Record, Signal, StoreError, Subscription};

/// How many batches a subscription may be ahead of its reader.
const BATCHES_AHEAD: usize = 4;
/// The most records of one batch.
const BATCH: usize = 1024;
/// The longest pause before a subscription is taken up again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Starts a subscription on the current runtime.
///
/// # Errors
/// `Unavailable` if the cluster cannot be asked where it ends.
pub(super) async fn follow(shared: Arc<Shared>, after: Position) -> Result<Subscription, StoreError> {
    let began = shared.clock.now();
    let end = shared.all.end().await?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let listener = sender.clone();
    tokio::spawn(async move {
        let closing = shared.closing.subscribe();
        let mut follower = Follower { shared, closing, sender, at: after, pause: FIRST_PAUSE };
        let over = tokio::select! {
            over = follower.run(began, end) => over,
            () = listener.closed() => return,
        };
        // Nobody listens any more if this fails, and then nothing is owed.
        let _ = listener.send(Signal::Lost(over)).await;
    });
    Ok(Subscription::new(receiver))
}

struct Follower {
    shared: Arc<Shared>,
    closing: watch::Receiver<bool>,
    sender: mpsc::Sender<Signal>,
    /// Everything up to here was handed over.
    at: Position,
    pause: Duration,
}

/// Why the cluster pushes no more.
enum Stop {
    /// It can be asked to go on.
    Broken(Failure),
    /// The subscription is over.
    Over(StoreError),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(_) => Self::Over(failure.into_error()),
            _ => Self::Broken(failure),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Over(error)
    }
}

impl Follower {
    /// Runs until the subscription is over, and says why.
    async fn run(&mut self, began: Timestamp, end: Position) -> StoreError {
        if let Err(error) = self.history(began, end).await {
            return error;
        }
        loop {
            match self.live().await {
                Stop::Over(error) => return error,
                Stop::Broken(failure) => {
                    let why = failure.into_error();
                    tracing::warn!(%why, again_in = ?self.pause, "the cluster stopped pushing events");
                }
            }
            self.shared.resubscribed.fetch_add(1, Ordering::Relaxed);
            tokio::select! {
                () = tokio::time::sleep(self.pause) => {}
                _ = self.closing.wait_for(|is_closing| *is_closing) => {}
            }
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Hands over what was there when this began.
    async fn history(&mut self, began: Timestamp, end: Position) -> Result<(), StoreError> {
        while self.at < end && self.page(end).await? {}
        self.at = self.at.max(end);
        self.tell(Signal::CaughtUp).await?;
        self.tell(Signal::UpTo(began)).await
    }

    /// Hands over the next records up to a position; says whether there were any.
    async fn page(&mut self, end: Position) -> Result<bool, StoreError> {
        let mut records = self.shared.all.after(self.at, MAX_PAGE).await?;
        records.truncate(records.partition_point(|record| record.position <= end));
        let Some(last) = records.last() else { return Ok(false) };
        let last = last.position;
        self.hand_over(records).await?;
        self.at = last;
        Ok(true)
    }

    /// Hands over what the cluster pushes, until it stops.
    async fn live(&mut self) -> Stop {
        if *self.closing.borrow() {
            return Stop::Over(self.last_pages().await);
        }
        let shared = Arc::clone(&self.shared);
        let mut replies = match shared.all.subscribe(self.at, heartbeat::STREAM).await {
            Ok(replies) => replies,
            Err(failure) => return failure.into(),
        };
        loop {
            let first = tokio::select! {
                reply = shared.all.nodes().next(&mut replies, shared.silent_for) => Some(reply),
                _ = self.closing.wait_for(|is_closing| *is_closing) => None,
            };
            let stop = match first {
                Some(Ok(Some(reply))) => self.take(reply, &mut replies).await.err(),
                Some(Ok(None)) => Some(ended()),
                Some(Err(failure)) => Some(failure.into()),
                None => Some(Stop::Over(self.last_pages().await)),
            };
            if let Some(stop) = stop {
                shared.all.nodes().forget();
                return stop;
            }
        }
    }

    /// What was appended before the end is handed over.
    async fn last_pages(&mut self) -> StoreError {
        loop {
            match self.page(Position::new(u64::MAX)).await {
                Ok(true) => {}
                Ok(false) => return StoreError::Closed,
                Err(error) => return error,
            }
        }
    }

    /// Hands over a reply and those that are at hand behind it.
    async fn take(&mut self, first: ReadResp, replies: &mut Streaming<ReadResp>) -> Result<(), Stop> {
        let mut batch = Batch { records: Vec::new(), up_to: None, at: self.at };
        let mut reply = Some(Ok(Some(first)));
        let mut stop = None;
        while let Some(now) = reply.take() {
            match now {
                Ok(Some(reply)) => stop = self.look_at(reply, &mut batch).err(),
                Ok(None) => stop = Some(ended()),
                Err(status) => stop = Some(Failure::from(status).into()),
            }
            if stop.is_none() && batch.records.len() < BATCH {
                reply = at_hand(replies.message()).await;
            }
        }
        if !batch.records.is_empty() {
            self.hand_over(batch.records).await?;
        }
        self.at = batch.at;
        if let Some(time) = batch.up_to {
            self.tell(Signal::UpTo(time)).await?;
        }
        stop.map_or(Ok(()), Err)
    }

    fn look_at(&mut self, reply: ReadResp, batch: &mut Batch) -> Result<(), Stop> {
        self.pause = FIRST_PAUSE;
        match reply.content {
            Some(Content::Event(event)) => {
                let Some(event) = event.event else { return Ok(()) };
                let position = Position::new(event.commit_position);
                if position > batch.at {
                    self.look_at_event(&event, batch)?;
                    batch.at = position;
                }
            }
            Some(Content::Checkpoint(position)) => {
                batch.at = batch.at.max(Position::new(position.commit_position));
            }
            Some(
                Content::Confirmation(_)
                | Content::StreamNotFound(_)
                | Content::CaughtUp(_)
                | Content::FellBehind(_),
            )
            | None => {}
        }
        Ok(())
    }

    fn look_at_event(&mut self, event: &RecordedEvent, batch: &mut Batch) -> Result<(), StoreError> {
        if record::stream_of(event) == Some(heartbeat::STREAM) {
            if let Some(time) = heartbeat::time_of(&event.data) {
                batch.up_to = batch.up_to.max(Some(time));
            }
            self.shared.heartbeats.saw(event.stream_revision);
        } else if let Some(record) = record::from_wire(event)? {
            self.shared.heads.remember(&record);
            batch.records.push(record);
        }
        Ok(())
    }

    async fn hand_over(&self, records: Vec<Record>) -> Result<(), StoreError> {
        self.tell(Signal::Records(Arc::new(records))).await
    }

    async fn tell(&self, signal: Signal) -> Result<(), StoreError> {
        // If nobody listens, nobody hears this error either.
        self.sender.send(signal).await.map_err(|_| StoreError::Closed)
    }
}

/// What came at once.
struct Batch {
    records: Vec<Record>,
    /// Everything recorded up to then has come.
    up_to: Option<Timestamp>,
    /// The last position that was passed.
    at: Position,
}

fn ended() -> Stop {
    Stop::Broken(Failure::Broken("the node ended the subscription".to_owned()))
}

/// What a future gives if it does not have to wait.
async fn at_hand<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|context| {
        Poll::Ready(match future.as_mut().poll(context) {
            Poll::Ready(given) => Some(given),
            Poll::Pending => None,
        })
    })
    .await
}
