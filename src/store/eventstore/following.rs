//! A subscription to the ledger, kept up until its reader drops it. Knows: history, checkpoints, heartbeats, and how
//! to go on after a break. Must not know: what the records mean.
//!
//! History is read in pages, so that "caught up" is known on every version of the server, and old heartbeats are not
//! read. Then the cluster pushes what is new. After a break the subscription goes on after the last event or
//! checkpoint that came, whichever is later.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt as _;
use grantbook_events::{Position, Timestamp};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tonic::Status;

use super::failure::{FIRST_PAUSE, Failure, LONGEST_PAUSE};
use super::wire::{ReadResp, RecordedEvent};
use super::{Shared, heartbeat, record};
use crate::store::{Signal, StoreError, Subscription};

/// How many batches a subscription may be ahead of its reader.
const BATCHES_AHEAD: usize = 4;
/// The most messages of the cluster in one batch.
const BATCH: usize = 1024;
/// How far ahead another node's clock may be before a warning.
const MAX_SKEW: Duration = Duration::from_secs(1);

/// Starts a subscription on the current runtime.
///
/// # Errors
/// `Unavailable` if the cluster cannot be asked where it ends.
pub(super) async fn follow(shared: Arc<Shared>, after: Position) -> Result<Subscription, StoreError> {
    let began = shared.clock.now();
    let end = shared.nodes.end().await?;
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let listener = sender.clone();
    tokio::spawn(async move {
        let mut follower = Follower { shared, sender, at: after, pause: FIRST_PAUSE, broke: String::new() };
        let over = tokio::select! {
            over = follower.run(began, end) => over,
            () = listener.closed() => return,
        };
        // If this fails, the reader is gone and needs no reason.
        let _ = listener.send(Signal::Lost(over)).await;
    });
    Ok(Subscription::new(receiver))
}

struct Follower {
    shared: Arc<Shared>,
    sender: mpsc::Sender<Signal>,
    /// Everything up to here was handed over.
    at: Position,
    pause: Duration,
    /// Why it broke off last, which is logged once.
    broke: String,
}

impl Follower {
    /// Runs until the subscription is over, and returns why.
    async fn run(&mut self, began: Timestamp, end: Position) -> StoreError {
        if let Err(error) = self.history(began, end).await {
            return error;
        }
        let mut closing = self.shared.closing.subscribe();
        tokio::select! {
            error = self.live() => return error,
            _ = closing.wait_for(|is_closing| *is_closing) => {}
        }
        // What was appended before the store was closed is handed over.
        match self.catch_up(Position::new(u64::MAX)).await {
            Ok(()) => StoreError::Closed,
            Err(error) => error,
        }
    }

    /// Hands over what was there when this began.
    async fn history(&mut self, began: Timestamp, end: Position) -> Result<(), StoreError> {
        self.catch_up(end).await?;
        self.at = self.at.max(end);
        self.send(Signal::CaughtUp).await?;
        self.send(Signal::UpTo(began)).await
    }

    /// Hands over the records up to a position. The next page is read while one is worked on.
    async fn catch_up(&mut self, end: Position) -> Result<(), StoreError> {
        let mut reading = (self.at < end).then(|| self.read_page(self.at));
        while let Some(page) = reading {
            let events = page.await.map_err(|broke| StoreError::Unavailable(broke.to_string()))??;
            let last = events.last().map(|event| Position::new(event.commit_position));
            let Some(last) = last.filter(|last| *last > self.at) else { break };
            reading = (last < end).then(|| self.read_page(last));
            let is_new = |event: &&RecordedEvent| {
                let position = Position::new(event.commit_position);
                position > self.at && position <= end
            };
            let records: Vec<_> = events.iter().filter(is_new).filter_map(record::from_event).collect();
            if !records.is_empty() {
                self.shared.nodes.saw(self.at, &records);
                self.send(Signal::Records(Arc::new(records))).await?;
            }
            self.at = last.min(end);
        }
        Ok(())
    }

    fn read_page(&self, from: Position) -> JoinHandle<Result<Vec<RecordedEvent>, StoreError>> {
        let shared = Arc::clone(&self.shared);
        tokio::spawn(async move { shared.nodes.events_from(from).await })
    }

    /// Hands over what the cluster pushes, and goes on after each break.
    async fn live(&mut self) -> StoreError {
        loop {
            let failure = self.pushed().await;
            if !failure.is_transient() {
                return failure.into_error();
            }
            let why = failure.into_error().to_string();
            if self.broke != why {
                tracing::warn!(why, "the cluster stopped pushing events; it is asked again and again");
                self.broke = why;
            }
            self.shared.nodes.forget();
            self.shared.resubscribed.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Hands over what the cluster pushes, until it stops, and returns why.
    async fn pushed(&mut self) -> Failure {
        let silent_for = self.shared.silent_for;
        if let Err(failure) = self.shared.nodes.still_has_what_was_seen().await {
            return failure;
        }
        let mut replies = match self.shared.nodes.subscribe(self.at).await {
            Ok(replies) => replies.ready_chunks(BATCH),
            Err(failure) => return failure,
        };
        loop {
            match tokio::time::timeout(silent_for, replies.next()).await {
                Ok(Some(replies)) => {
                    if let Err(failure) = self.take(replies).await {
                        return failure;
                    }
                }
                Ok(None) => return Failure::broken("the node ended the subscription"),
                Err(_) => {
                    return Failure::Broken(format!("the node was silent for {} s", silent_for.as_secs()));
                }
            }
        }
    }

    /// Hands over what came at once.
    async fn take(&mut self, replies: Vec<Result<ReadResp, Status>>) -> Result<(), Failure> {
        let (mut at, mut records, mut up_to) = (self.at, Vec::new(), None);
        let taken = replies.into_iter().try_for_each(|reply| {
            let ReadResp { event, checkpoint } = reply?;
            (self.pause, self.broke) = (FIRST_PAUSE, String::new());
            let event = event.and_then(|event| event.event);
            if let Some(event) = event.filter(|event| Position::new(event.commit_position) > at) {
                if record::stream_text(&event) == Some(heartbeat::STREAM) {
                    up_to = up_to.max(self.heard(&event));
                } else if let Some(record) = record::from_event(&event) {
                    self.shared.remember(&record);
                    records.push(record);
                }
                at = Position::new(event.commit_position);
            }
            at = at.max(checkpoint.map_or(at, |checkpoint| Position::new(checkpoint.commit_position)));
            Ok::<_, Failure>(())
        });
        if !records.is_empty() {
            self.shared.nodes.saw(self.at, &records);
            self.send(Signal::Records(Arc::new(records))).await?;
        }
        self.at = at;
        if let Some(time) = up_to {
            self.send(Signal::UpTo(time)).await?;
        }
        taken
    }

    /// Takes note of a heartbeat: everything that was recorded up to the time it gives has come.
    fn heard(&self, event: &RecordedEvent) -> Option<Timestamp> {
        let revision = Some(event.stream_revision);
        self.shared.heartbeat_seen.send_modify(|seen| *seen = revision.max(*seen));
        let (time, now) = (heartbeat::time_of(&event.data)?, self.shared.clock.now());
        if time > now.plus(MAX_SKEW) {
            tracing::warn!(%time, "a heartbeat is of the future: the clocks of the nodes do not agree");
        }
        // A clock that is ahead makes nothing more up to date than now.
        Some(time.min(now))
    }

    async fn send(&self, signal: Signal) -> Result<(), StoreError> {
        // It fails only without a reader, and then the error is not read either.
        self.sender.send(signal).await.map_err(|_| StoreError::Closed)
    }
}
