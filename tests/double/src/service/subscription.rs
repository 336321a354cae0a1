//! A subscription to `$all`: history, then whatever is new. Knows: checkpoints, being caught up and falling behind.
//! Must not know: who listens.
//!
//! It reads from the log all the time, so that nothing is lost however far it is behind. The buffer of the real
//! server is only pretended.

use std::sync::Arc;

use tokio::sync::watch;
use tonic::Status;
use uuid::Uuid;

use super::Seat;
use super::filter::Filter;
use super::read::PAGE;
use super::replies::{Hand, Stopped};
use super::wire::{self, Ids};
use crate::event::Event;
use crate::protocol::streams::read_req::options::all_options::AllOption;
use crate::protocol::streams::read_resp::{CaughtUp, Content, FellBehind};

/// A subscription, and how far it is.
pub(super) struct Subscription {
    seat: Seat,
    filter: Option<Filter>,
    ids: Ids,
    /// How much of the log the node has.
    visible: watch::Receiver<usize>,
    /// Nothing up to this position is handed over, also if it comes later: the cluster may have been put back.
    after: u64,
    /// The place that is looked at next.
    next: usize,
    /// How many events were skipped since the last checkpoint.
    passed_over: u64,
    /// The place up to which was looked at the last checkpoint, or at the beginning.
    last_checkpoint: usize,
    is_live: bool,
}

impl Subscription {
    pub fn begin(
        seat: Seat,
        from: Option<AllOption>,
        filter: Option<Filter>,
        ids: Ids,
    ) -> Result<Self, Status> {
        if filter.as_ref().is_some_and(|filter| filter.checkpoint_every == 0) {
            return Err(Status::invalid_argument("checkpoints at every zeroth event"));
        }
        let visible = seat.node().visible.subscribe();
        let (after, next) = match from {
            Some(AllOption::Position(at)) => {
                (at.commit_position, seat.cluster.log().place_after(at.commit_position))
            }
            Some(AllOption::Start(_)) | None => (0, 0),
            Some(AllOption::End(_)) => (0, *visible.borrow()),
        };
        Ok(Self {
            seat,
            filter,
            after,
            ids,
            visible,
            next,
            passed_over: 0,
            last_checkpoint: next,
            is_live: false,
        })
    }

    #[expect(clippy::disallowed_methods, reason = "nothing depends on which id a subscription has")]
    pub async fn run(mut self, mut hand: Hand) -> Result<(), Stopped> {
        let cluster = Arc::clone(&self.seat.cluster);
        let _open = cluster.counters.during(self.seat.index, |node| &mut node.open_subscriptions);
        hand.message(wire::confirmation(Uuid::new_v4().to_string())).await?;
        hand.begin().await?;
        loop {
            self.seat.node().subscriptions.pass().await;
            let end = *self.visible.borrow_and_update();
            if self.is_live && end.saturating_sub(self.next) > cluster.live_buffer {
                self.is_live = false;
                hand.message(wire::content(Content::FellBehind(FellBehind {}))).await?;
                self.checkpoint(&mut hand).await?;
            }
            if self.next < end {
                let page = cluster.log().page(self.next..end, PAGE).to_vec();
                self.hand_over(page, &mut hand).await?;
            } else {
                self.caught_up(&mut hand).await?;
                // It cannot fail: the node is there for as long as we are.
                let _ = self.visible.changed().await;
            }
        }
    }

    async fn hand_over(&mut self, page: Vec<Option<Arc<Event>>>, hand: &mut Hand) -> Result<(), Stopped> {
        for event in page {
            let Some(event) = event.filter(|event| event.position > self.after) else {
                self.next += 1;
                continue;
            };
            if self.filter.as_ref().is_none_or(|filter| filter.wants(&event)) {
                self.seat.node().events.pass().await;
                hand.event(wire::event(&event, self.ids)).await?;
                self.next += 1;
            } else {
                self.next += 1;
                self.passed_over += 1;
                if self.filter.as_ref().is_some_and(|filter| self.passed_over >= filter.checkpoint_every) {
                    self.checkpoint(hand).await?;
                }
            }
        }
        Ok(())
    }

    /// Says that the end is reached, once each time that it is.
    async fn caught_up(&mut self, hand: &mut Hand) -> Result<(), Stopped> {
        if self.is_live {
            return Ok(());
        }
        self.is_live = true;
        self.checkpoint(hand).await?;
        hand.message(wire::content(Content::CaughtUp(CaughtUp {}))).await?;
        self.seat.cluster.counters.count(self.seat.index, |node| node.caught_up += 1);
        Ok(())
    }

    /// Says how far was looked: up to the event before the next one. That is said once.
    async fn checkpoint(&mut self, hand: &mut Hand) -> Result<(), Stopped> {
        self.passed_over = 0;
        if self.filter.is_none() || self.last_checkpoint == self.next {
            return Ok(());
        }
        self.last_checkpoint = self.next;
        let last = self.next.checked_sub(1).and_then(|last| self.seat.cluster.log().position(last));
        match last {
            Some(position) if position > self.after => hand.message(wire::checkpoint(position)).await,
            _ => Ok(()),
        }
    }
}
