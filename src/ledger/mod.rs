//! Decide, append, fold, wait. Knows: state, store, clock, subscribers and their runner. Must not know: any particular
//! command, or any HTTP.
//!
//! An answer, granted or refused, leaves only after its events are durable and visible in this node's
//! live projection. Outcomes that are not known are found out before anything is answered.

mod append;
mod aside;
mod authenticate;
mod consistent;
mod follow;
mod line;
mod live;
mod recorded;
mod snapshots;
mod streams;
#[cfg(test)]
pub(crate) mod tests;
mod time;
mod until;
mod when;
mod written;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use grantbook_events::codec::EncodeError;
use grantbook_events::{Actor, Position, RequestId, StreamName, Timestamp};
use grantbook_projections::FoldError;
use grantbook_projections::live::{Live, Poison};

use crate::clock::{Clock, SteadyTime};
use crate::store::{Store, StoreError};
use crate::tasks::Tasks;
pub use aside::aside;
pub use authenticate::AuthenticatedApp;
use consistent::ConsistentReads;
pub use consistent::{Freshness, ReadCounts, WhenStale};
pub use follow::{Batch, FollowError, Follower, Progress, Subscriber};
use line::Lines;
pub use live::LIVE;
use live::LiveProjection;
pub use recorded::{UnreadableError, fold, read};
use snapshots::SnapshotWriter;
pub use snapshots::{SnapshotError, SnapshotHeader, Snapshots};
pub use until::{NotYet, Until};
pub use when::{TIME_FORMS, When, WhenError, WrittenTime};
use written::Written;

/// Who asks, through which request: what the envelope of every event says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Who asks.
    pub actor: Actor,
    /// Through which request.
    pub request_id: RequestId,
}

/// What broke while a command was settled. None of these is an answer to the command.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The store could not do its part. Nothing was answered, nothing was lost.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It could not be found out whether the events are in the ledger.
    #[error("it is not known whether the events were recorded: {0}")]
    OutcomeUnknown(String),
    /// The stream moved on each time.
    #[error("stream {0} is too busy")]
    Contended(StreamName),
    /// A record of the stream is not an event, or does not follow from those before it.
    #[error(transparent)]
    Unreadable(#[from] UnreadableError),
    /// An event does not follow from those before it.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// An event cannot be written down.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An event of the stream cannot be read or folded, so nothing is known of the stream since.
    #[error("{}", quarantined(.0))]
    Quarantined(Arc<Poison>),
    /// The events are durable, but the live projection does not get to them.
    #[error("the live projection has not reached position {0}")]
    NotVisible(Position),
    /// Others append, too, and what is folded here is too old to allow anything from it.
    #[error("this node is {} s behind the ledger", behind.as_secs())]
    Stale {
        /// How long ago what is folded here was all there was.
        behind: Duration,
    },
    /// Too many streams are being read at once.
    #[error("too many streams are being read at once")]
    TooManyReads,
    /// What broke while others waited for the same.
    #[error(transparent)]
    Shared(Arc<LedgerError>),
}

fn quarantined(poison: &Poison) -> String {
    let Poison { position, stream, reason, .. } = poison;
    format!("stream {stream} is in quarantine since position {position}: {reason}")
}

impl LedgerError {
    /// What broke, also if it broke for several callers at once.
    pub fn cause(&self) -> &Self {
        match self {
            Self::Shared(error) => error.cause(),
            error => error,
        }
    }

    /// Whether the same request may succeed later although nobody has repaired anything.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Store(error) => match error {
                StoreError::InUse(_)
                | StoreError::CannotWrite(_)
                | StoreError::Unavailable(_)
                | StoreError::Closed => true,
                StoreError::TooLarge { .. }
                | StoreError::EmptyAppend
                | StoreError::Target(_)
                | StoreError::NewerFormat { .. }
                | StoreError::EndsEarly(_)
                | StoreError::Damaged { .. } => false,
            },
            Self::OutcomeUnknown(_)
            | Self::Contended(_)
            | Self::NotVisible(_)
            | Self::Stale { .. }
            | Self::TooManyReads => true,
            Self::Shared(error) => error.may_pass(),
            Self::Unreadable(_) | Self::Fold(_) | Self::Encode(_) | Self::Quarantined(_) => false,
        }
    }
}

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
    /// How far behind others this node may be, if others append, too.
    pub freshness: Freshness,
}

/// Where snapshots of the live projection are kept, and how many events apart.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// The directory.
    pub dir: PathBuf,
    /// The fewest events between two of them. There are more between those of a large state.
    pub every: u64,
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
        let live = Arc::new(LiveProjection::new(options.strict, writer));
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
