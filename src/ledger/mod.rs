//! Decide, append, fold, wait. Knows: state, store, clock, subscribers and their runner. Must not know: any particular
//! command, or any HTTP.
//!
//! An answer, granted or refused, leaves only after its events are durable and visible in this node's
//! live projection. Outcomes that are not known are found out before anything is answered.

mod append;
mod aside;
mod consistent;
mod error;
mod follow;
mod line;
mod live;
mod loss;
mod recorded;
mod snapshots;
mod stopped;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod until;
mod when;
mod written;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::Guard;
use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;

use crate::clock::{Clock, SteadyTime};
use crate::store::{Store, StoreError};
use crate::tasks::Tasks;
pub use append::Origin;
pub use aside::aside;
use consistent::ConsistentReads;
pub use consistent::{Freshness, ReadCounts, WhenStale};
pub use error::LedgerError;
pub use follow::{Batch, Follower, Progress, Subscriber};
use line::Lines;
pub use live::LIVE;
use live::LiveProjection;
pub use recorded::{UnreadableError, fold, read};
use snapshots::SnapshotWriter;
pub use snapshots::{SnapshotError, SnapshotHeader, SnapshotOptions, Snapshots};
pub use stopped::{FollowError, Stopped};
pub use until::{NotYet, Until};
pub use when::{TIME_FORMS, When, WhenError, WrittenTime};
use written::Written;

/// The ledger as the rest of the server sees it.
#[derive(Debug)]
pub struct Ledger {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    steady: SteadyTime,
    /// What was recorded up to here is later than the clock was when the ledger was opened.
    ahead: Option<Timestamp>,
    written: Arc<Written>,
    live: Arc<LiveProjection>,
    follower: Follower,
    lines: Lines,
    consistent: ConsistentReads,
}

/// How a ledger is folded.
#[derive(Debug, Clone, Default)]
pub struct LedgerOptions {
    /// Whether an event that cannot be folded ends the folding, rather than putting its stream in
    /// quarantine.
    pub strict: bool,
    /// Where snapshots of the live projection are kept; none are without.
    pub snapshots: Option<SnapshotOptions>,
    /// The data directory, where an operator's word about a loss is kept until it is recorded; none without.
    pub data_dir: Option<PathBuf>,
    /// How far behind others this node may be, if others append, too.
    pub freshness: Freshness,
}

impl Ledger {
    /// Starts folding a store into the live projection: all of it, and without keeping snapshots. Must be
    /// called within a Tokio runtime.
    pub fn open(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Self::open_with(store, clock, LedgerOptions::default())
    }

    /// Starts folding a store into the live projection, from the newest snapshot that can be used. Must be
    /// called within a Tokio runtime.
    pub fn open_with(store: Arc<dyn Store>, clock: Arc<dyn Clock>, options: LedgerOptions) -> Arc<Self> {
        let writer = options.snapshots.map(|options| SnapshotWriter::new(options, Arc::clone(&clock)));
        let words = options.data_dir.map(|dir| (dir, Arc::clone(&clock)));
        let live = Arc::new(LiveProjection::new(options.strict, writer, words));
        let written = Arc::new(Written::default());
        let follower = Follower::start(Arc::clone(&store), Arc::clone(&written), Arc::clone(&live) as _);
        let consistent = ConsistentReads::new(options.freshness);
        let (steady, ahead) = (SteadyTime::begin(&*clock), time::ahead(&*store, clock.now()));
        Arc::new(Self {
            store,
            clock,
            steady,
            ahead,
            written,
            live,
            follower,
            lines: Lines::default(),
            consistent,
        })
    }

    /// What is true now, as far as this node has folded. Not to be kept: a rebuilt copy may take its place.
    pub fn live(&self) -> Guard<Arc<Live>> {
        self.live.get()
    }

    /// Takes another copy of the live projection in the place of this one, and gives the old one.
    ///
    /// # Errors
    /// The copy, if it is behind.
    pub fn adopt(&self, live: Arc<Live>) -> Result<Arc<Live>, Arc<Live>> {
        let old = self.live.adopt(live)?;
        self.follower.moved_to(self.live.get().position());
        Ok(old)
    }

    /// Waits until a position, which is in the store, is folded; `false` if it never will be.
    pub async fn reached(&self, position: Position) -> bool {
        self.live().position() >= position || self.follower.reached(position).await
    }

    /// Runs something else that follows the ledger. Must be called within a Tokio runtime.
    pub fn follow(&self, subscriber: Arc<dyn Subscriber>) -> Follower {
        Follower::start(Arc::clone(&self.store), Arc::clone(&self.written), subscriber)
    }

    /// The tasks that it needs, beside those of its store.
    pub fn tasks(&self) -> &Tasks {
        self.follower.tasks()
    }

    /// Where the records rest.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Writes a snapshot of the live projection now, and says of which position; `None` if none are kept,
    /// or there is nothing to keep.
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn take_snapshot(&self) -> Result<Option<Position>, SnapshotError> {
        self.live.take_snapshot().await
    }

    /// Writes the live projection where it is neither kept nor loaded, only to be compared; otherwise as
    /// [`Self::take_snapshot`].
    ///
    /// # Errors
    /// If it cannot be written.
    pub async fn take_snapshot_apart(&self) -> Result<Option<Position>, SnapshotError> {
        self.live.take_snapshot_apart().await
    }

    /// Where snapshots are kept, if they are.
    pub fn snapshots(&self) -> Option<&Snapshots> {
        self.live.snapshots()
    }

    /// How far this node has folded.
    pub fn progress(&self) -> Progress {
        self.follower.progress()
    }

    /// Whether everything that was in the store at the start is folded, and folding goes on.
    pub fn is_ready(&self) -> bool {
        self.follower.is_ready()
    }

    /// Whether an event that cannot be folded ends the folding.
    pub fn is_strict(&self) -> bool {
        self.live.is_strict()
    }

    /// Waits until everything that was in the store at the start is folded, or folding fails.
    pub async fn caught_up(&self) -> Result<(), Progress> {
        self.follower.caught_up().await
    }

    /// The last position in the store.
    pub async fn head(&self) -> Result<Position, StoreError> {
        Ok(self.store.head().await?.position)
    }

    /// Writes a snapshot if that is worth it, and closes the store once what is queued is durable.
    pub async fn close(&self) -> Result<(), StoreError> {
        let is_whole = self.follower.progress().stopped.is_none();
        self.follower.stop();
        if is_whole {
            self.live.finish().await;
        }
        self.store.close().await
    }
}
