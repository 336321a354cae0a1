//! Load, decide, append, fold, wait. Knows: state, store, clock. Must not know: any particular command,
//! or any HTTP.
//!
//! An answer, granted or refused, leaves only after its events are durable and visible in this node's
//! live projection. Outcomes that are not known are found out before anything is answered.

mod aside;
mod authenticate;
mod follow;
mod live;
mod recorded;
mod snapshots;
mod states;
mod streams;
mod strong;
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
use grantbook_events::codec::{EncodeError, Metadata};
use grantbook_events::{Actor, Event, EventId, Position, RequestId, StreamName, Timestamp};
use grantbook_projections::FoldError;
use grantbook_projections::live::{Live, Poison};

use crate::clock::{Clock, SteadyTime};
use crate::decisions::{Command, Refusal};
use crate::store::{Append, Expected, NewRecord, Store, StoreError};
use crate::tasks::Tasks;
pub use aside::aside;
pub use authenticate::AuthenticatedApp;
pub use follow::{Batch, FollowError, Follower, Progress, Subscriber};
pub use live::LIVE;
use live::LiveProjection;
pub use recorded::{UnreadableError, fold, read};
use snapshots::SnapshotWriter;
pub use snapshots::{SnapshotError, SnapshotHeader, Snapshots};
use states::States;
use strong::Strong;
pub use strong::{Beyond, Freshness, StrongCounts};
pub use until::{NotYet, Until};
pub use when::{TIME_FORMS, When, WhenError, WrittenTime};
use written::Written;

/// How often a command is decided again because its stream moved on meanwhile.
const MAX_CONFLICTS: usize = 64;
/// How often the outcome of one append is asked for.
const MAX_UNKNOWNS: u32 = 6;
/// The pause before asking again, doubled each time.
const UNKNOWN_PAUSE: Duration = Duration::from_millis(20);
/// How long an answer waits until its events are visible here.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);

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
    /// Others append, too, and what is folded here is too old to let anything pass by it.
    #[error("this node is {} s behind the ledger", behind.as_secs())]
    Stale {
        /// How long ago what is folded here was all there was.
        behind: Duration,
    },
    /// Too many streams are being read at once.
    #[error("too many streams are being read at once")]
    TooManyReads,
    /// What broke while somebody else waited for the same.
    #[error(transparent)]
    Shared(Arc<LedgerError>),
}

fn quarantined(poison: &Poison) -> String {
    let Poison { position, stream, reason, .. } = poison;
    format!("stream {stream} is in quarantine since position {position}: {reason}")
}

impl LedgerError {
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
    states: States,
    strong: Strong,
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
        let strong = Strong::new(options.freshness);
        let (steady, ahead) = (SteadyTime::begin(&*clock), time::ahead(&*store, clock.now()));
        Arc::new(Self {
            store,
            clock,
            steady,
            ahead,
            written,
            live,
            follower,
            states: States::default(),
            strong,
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

    /// Decides a command on the state of its stream and makes what follows durable and visible. The
    /// outer error is a fault; the inner one is the answer no.
    pub async fn settle<C: Command>(
        &self,
        origin: &Origin,
        command: &C,
    ) -> Result<Result<C::Answer, Refusal>, LedgerError> {
        let stream = StreamName::from(command.stream());
        // What the fold of the stream alone would let pass may still not follow in the whole.
        if let Some(poison) = self.live().quarantine_of(&stream) {
            return Err(LedgerError::Quarantined(poison));
        }
        let mut loaded = self.states.get::<C::State>(&stream).unwrap_or_default();
        let mut is_fresh = false;
        // A first event is appended only to a stream that is not known here: that the store does not find it
        // would not be enough.
        if loaded.revision.is_none() && self.live().has_stream(&stream) {
            loaded = self.catch_up(&stream, loaded).await?;
            is_fresh = true;
        }
        for _ in 0..MAX_CONFLICTS {
            // Recorded time never runs backwards within a stream, whatever the clock does.
            let now = self.recorded_now().max(loaded.recorded_at).max(command.not_before());
            let decision = command.decide(&loaded.state, now);
            if decision.events.is_empty() && is_fresh {
                return Ok(decision.answer);
            }
            if !decision.events.is_empty() {
                let records = encode(&decision.events, origin, now, &self.written)?;
                let ids: Vec<EventId> = records.iter().map(|record| record.event_id).collect();
                let expected = Expected::after(loaded.revision);
                if let Some((position, at)) = self.append(&stream, expected, records).await? {
                    let next = loaded.followed_by(&stream, decision.events, &ids, origin, at, position)?;
                    self.states.put(stream, Arc::new(next));
                    self.wait_until_visible(position).await?;
                    return Ok(decision.answer);
                }
            }
            // The stream is elsewhere than remembered; or nothing would happen, which is worth saying
            // only on the word of the store.
            loaded = self.catch_up(&stream, loaded).await?;
            is_fresh = true;
        }
        Err(LedgerError::Contended(stream))
    }

    /// Appends, and finds out how it ended: the position and time of the last event, or `None` for a conflict.
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Option<(Position, Timestamp)>, LedgerError> {
        let first_id = records.first().map(|record| record.event_id);
        let count = records.len();
        let mut pause = UNKNOWN_PAUSE;
        let mut unknown = None;
        for _ in 0..MAX_UNKNOWNS {
            // Retrying with the same ids is harmless by the store's contract.
            match self.store.append(stream, expected, records.clone()).await {
                Ok(Append::Appended { position, recorded_at, .. }) => {
                    return Ok(Some((position, recorded_at)));
                }
                Ok(Append::Conflict { .. }) if unknown.is_none() => return Ok(None),
                Ok(Append::Conflict { .. }) => {}
                Ok(Append::Unknown { reason }) => unknown = Some(reason),
                // Before anything was unknown, an error means that nothing was appended.
                Err(error) if unknown.is_none() => return Err(error.into()),
                Err(error) => {
                    tracing::warn!(%stream, %error, "an append of unknown outcome could not be retried");
                }
            }
            if let Ok(there) = self.store.read_stream(stream, expected.next_revision()).await
                && let Some(first) = there.first()
            {
                if Some(first.event_id) != first_id {
                    return Ok(None);
                }
                let last = there.get(count.saturating_sub(1));
                return Ok(last.map(|last| (last.position, last.recorded_at)));
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        Err(LedgerError::OutcomeUnknown(unknown.unwrap_or_default()))
    }

    async fn wait_until_visible(&self, position: Position) -> Result<(), LedgerError> {
        // Once this node is too stale, nothing passes by what is folded here: then there is nothing to wait for.
        let is_shared = self.store.is_shared();
        let within = if is_shared { self.strong.freshness().max_staleness } else { VISIBLE_WITHIN };
        match tokio::time::timeout(within, self.follower.reached(position)).await {
            Ok(true) => Ok(()),
            Err(_) if is_shared => Ok(()),
            Ok(false) | Err(_) => Err(LedgerError::NotVisible(position)),
        }
    }
}

fn encode(
    events: &[Event],
    origin: &Origin,
    now: Timestamp,
    written: &Written,
) -> Result<Vec<NewRecord>, EncodeError> {
    let mut first = None;
    let mut records = Vec::with_capacity(events.len());
    for event in events {
        let event_id = crate::secrets::new_event_id();
        // What one decision says after its first event follows from that event.
        let metadata =
            Metadata { actor: origin.actor.clone(), request_id: origin.request_id.clone(), caused_by: first };
        first.get_or_insert(event_id);
        records.push(recorded::write(event_id, event, &metadata, now)?);
        written.keep(event_id, event.clone(), metadata);
    }
    Ok(records)
}
