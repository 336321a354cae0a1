//! Feeds a subscription from a store that can be read page by page and says how far it has come. Knows:
//! pages, the head, the channel. Must not know: where the records rest.
//!
//! A subscriber that is slow only slows its own feed: the channel is bounded, and what does not fit is
//! read from the store when there is room again. So nothing is lost and nothing piles up.

use std::sync::Arc;

use grantbook_events::{Position, Timestamp};
use tokio::sync::{mpsc, watch};

use super::{Record, Signal, StoreError, Subscription};

/// How many pages a subscription may be ahead of its reader.
const PAGES_AHEAD: usize = 4;

/// When the last record of an empty ledger was recorded: before every other time.
pub(super) const NEVER: Timestamp = Timestamp::from_micros(i64::MIN);

/// How far a store has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The last position that readers can see.
    pub head: Position,
    /// When the last record was recorded, if this process writes them; else [`NEVER`].
    pub latest: Timestamp,
    /// No record will follow.
    pub closed: bool,
}

/// Starts a feed on the current runtime. `read` gives the next records after a position: at least one if the head is
/// beyond it.
pub(super) fn follow<R>(
    read: impl Fn(Position) -> R + Send + 'static,
    progress: watch::Receiver<Progress>,
    after: Position,
) -> Subscription
where
    R: Future<Output = Result<Arc<Vec<Record>>, StoreError>> + Send + 'static,
{
    let (sender, receiver) = mpsc::channel(PAGES_AHEAD);
    // What is there now is history; the task may start later.
    let target = progress.borrow().head;
    tokio::spawn(async move {
        // Nobody listens any more if this send fails, and then nothing is owed.
        if let Err(error) = feed(read, progress, after, target, &sender).await {
            let _ = sender.send(Signal::Lost(error)).await;
        }
    });
    Subscription::new(receiver)
}

/// Runs until the subscriber goes away (`Ok`) or the store ends it (`Err`).
async fn feed<R: Future<Output = Result<Arc<Vec<Record>>, StoreError>>>(
    read: impl Fn(Position) -> R,
    mut progress: watch::Receiver<Progress>,
    mut after: Position,
    target: Position,
    sender: &mpsc::Sender<Signal>,
) -> Result<(), StoreError> {
    let mut target = Some(target);
    loop {
        let seen = *progress.borrow_and_update();
        if target.take_if(|target| *target <= after).is_some() && sender.send(Signal::CaughtUp).await.is_err()
        {
            return Ok(());
        }
        if after < seen.head {
            let records = read(after).await?;
            let Some(last) = records.last() else {
                let detail = format!("nothing follows it, although the ledger goes on to {}", seen.head);
                return Err(StoreError::Damaged { position: after, detail });
            };
            after = last.position;
            if sender.send(Signal::Records(records)).await.is_err() {
                return Ok(());
            }
        } else if seen.closed {
            return Err(StoreError::Closed);
        } else {
            tokio::select! {
                changed = progress.changed() => changed.map_err(|_| StoreError::Closed)?,
                () = sender.closed() => return Ok(()),
            }
        }
    }
}
