//! The one runner of whatever follows the ledger. Knows: subscriptions, checkpoints, back-off, how far a subscriber is.
//! Must not know: what a subscriber makes of the records.
//!
//! A projection, a feed or a webhook is a [`Subscriber`]: it says where it is and takes what comes after. The runner
//! subscribes at that checkpoint, hands over the records in order and each once, subscribes again after a break, and
//! stops for good where reading again would say the same.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use grantbook_events::{Position, Recorded, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::recorded::UnreadableError;
use super::stopped::{FollowError, Stopped};
use super::written::Written;
use crate::store::{Record, Signal, Store, StoreError, Subscription};
use crate::tasks::Tasks;

/// The pause before a lost subscription is resumed, doubled each time up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// How long after a reason was logged the same one is logged again.
const SAID_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// About how many records are handled at once, at the most.
const MAX_GATHERED: usize = 16_384;

/// Something that follows the ledger.
#[async_trait]
pub trait Subscriber: Send + Sync + std::fmt::Debug + 'static {
    /// Its name in the log, in `/readyz` and in `/metrics`.
    fn name(&self) -> &'static str;

    /// The position of the last record that it has handled for good. Asked at the start and after each break.
    async fn checkpoint(&self, store: &dyn Store) -> Result<Position, FollowError>;

    /// Handles the next records, all of them or none.
    async fn handle(&self, batch: Batch) -> Result<(), FollowError>;

    /// How long records may wait for more, to be handled together, while no caller waits for them.
    fn gathers(&self) -> Duration {
        Duration::ZERO
    }
}

/// Records in order, without gaps.
#[derive(Debug)]
pub struct Batch {
    pages: Vec<Arc<Vec<Record>>>,
    written: Arc<Written>,
}

impl Batch {
    /// The records.
    pub fn records(&self) -> impl Iterator<Item = &Record> {
        self.pages.iter().flat_map(|page| page.iter())
    }

    /// The event of one of the records.
    ///
    /// # Errors
    /// If the record is not an event.
    pub fn read(&self, record: &Record) -> Result<Recorded, UnreadableError> {
        self.written.read(record)
    }

    /// The last position.
    pub fn end(&self) -> Option<Position> {
        self.last().map(|record| record.position)
    }

    fn last(&self) -> Option<&Record> {
        self.pages.last()?.last()
    }
}

/// How far a subscriber is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The last position that it has handled.
    pub position: Position,
    /// When the record there was recorded, if one was handled since the start.
    pub recorded_at: Option<Timestamp>,
    /// Whether it has handled everything that was in the store at the start.
    pub caught_up: bool,
    /// Why it stopped for good, if it did.
    pub stopped: Option<Stopped>,
}

impl Progress {
    /// Whether it stopped because the ledger ends before what this node has seen of it.
    pub const fn ends_early(&self) -> bool {
        matches!(self.stopped, Some(Stopped::EndsEarly(_)))
    }

    /// How much recorded time this is after another subscriber; `None` until both have handled a record.
    pub fn lag(&self, first: &Self) -> Option<Duration> {
        if self.position >= first.position {
            return Some(Duration::ZERO);
        }
        let lag = first.recorded_at?.as_micros().saturating_sub(self.recorded_at?.as_micros());
        Some(Duration::from_micros(lag.try_into().unwrap_or(0)))
    }
}

/// A subscriber that runs.
#[derive(Debug)]
pub struct Follower {
    state: Arc<State>,
    tasks: Arc<Tasks>,
    task: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct State {
    progress: watch::Sender<Progress>,
    /// A caller waits for what was not handled yet.
    wanted: Notify,
    /// Everything that was acknowledged before this time is handled, in microseconds since 1970.
    up_to: AtomicI64,
}

/// Ends with the task, however it ends: then no caller may wait for it any more.
struct Ending {
    state: Arc<State>,
    tasks: Arc<Tasks>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if !self.tasks.is_stopping() && self.state.progress.borrow().stopped.is_none() {
            self.state.stop(Stopped::Broken("its task has ended".to_owned()));
        }
    }
}

impl State {
    fn stop(&self, reason: Stopped) {
        self.progress.send_modify(|progress| progress.stopped = Some(reason));
    }

    fn at(&self, position: Position, recorded_at: Option<Timestamp>) {
        self.progress.send_if_modified(|progress| {
            progress.recorded_at = recorded_at.or(progress.recorded_at);
            std::mem::replace(&mut progress.position, position) != position
        });
    }
}

impl Follower {
    /// Runs a subscriber of a store that nothing else here follows. Must be called within a Tokio runtime.
    pub fn of(store: Arc<dyn Store>, subscriber: Arc<dyn Subscriber>) -> Self {
        Self::start(store, Arc::default(), subscriber)
    }

    pub(super) fn start(
        store: Arc<dyn Store>,
        written: Arc<Written>,
        subscriber: Arc<dyn Subscriber>,
    ) -> Self {
        let start =
            Progress { position: Position::START, recorded_at: None, caught_up: false, stopped: None };
        let state = Arc::new(State {
            progress: watch::Sender::new(start),
            wanted: Notify::new(),
            up_to: AtomicI64::new(i64::MIN),
        });
        let tasks = Arc::new(Tasks::default());
        let running = tasks.begin(subscriber.name());
        let ending = Ending { state: Arc::clone(&state), tasks: Arc::clone(&tasks) };
        let runner = Runner { store, written, subscriber, state: Arc::clone(&state) };
        let task = tokio::spawn(async move {
            let (_running, _ending) = (running, ending);
            runner.run().await;
        });
        Self { state, tasks, task: Mutex::new(Some(task)) }
    }

    pub fn progress(&self) -> Progress {
        self.state.progress.borrow().clone()
    }

    /// The task that it needs.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// Whether everything that was in the store at the start is handled, and it goes on.
    pub fn is_ready(&self) -> bool {
        let progress = self.state.progress.borrow();
        progress.caught_up && progress.stopped.is_none()
    }

    /// Up to which time everything that was acknowledged is handled. Only of a store that others append to.
    pub(super) fn is_up_to(&self) -> Timestamp {
        Timestamp::from_micros(self.state.up_to.load(Ordering::Acquire))
    }

    /// Waits until a position, which is in the store, is handled; `false` if it never will be.
    pub async fn reached(&self, position: Position) -> bool {
        let mut progress = self.state.progress.subscribe();
        loop {
            {
                let now = progress.borrow_and_update();
                if now.position >= position || now.stopped.is_some() {
                    return now.position >= position;
                }
            }
            // One notification lets one batch go; there may be more before the position.
            self.state.wanted.notify_one();
            if progress.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Waits until everything that was in the store at the start is handled.
    ///
    /// # Errors
    /// How far it is, if it stopped.
    pub async fn caught_up(&self) -> Result<(), Progress> {
        let mut progress = self.state.progress.subscribe();
        match progress.wait_for(|now| now.caught_up || now.stopped.is_some()).await {
            Ok(now) if now.stopped.is_none() => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        Err(self.progress())
    }

    /// The subscriber is at a position that the runner did not bring it to.
    pub(super) fn moved_to(&self, position: Position) {
        self.state.at(position, None);
    }

    /// Ends it.
    pub fn stop(&self) {
        self.tasks.stop();
        if let Some(task) = &*self.task.lock() {
            task.abort();
        }
    }

    /// Ends it, and waits until it has ended.
    pub async fn stopped(&self) {
        self.stop();
        let task = self.task.lock().take();
        if let Some(task) = task {
            // Cancelled, as it was asked to be.
            let _ = task.await;
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Runner {
    store: Arc<dyn Store>,
    written: Arc<Written>,
    subscriber: Arc<dyn Subscriber>,
    state: Arc<State>,
}

impl Runner {
    async fn run(&self) {
        let name = self.subscriber.name();
        let mut pause = FIRST_PAUSE;
        let mut said: Option<(String, Instant)> = None;
        loop {
            let Err(lost) = self.follow(&mut pause).await else { return };
            if let Some(reason) = lost.stops() {
                tracing::error!(subscriber = name, %reason, "a subscriber stopped for good");
                return self.state.stop(reason);
            }
            let reason = lost.to_string();
            let is_known =
                |(known, at): &(String, Instant)| *known == reason && at.elapsed() < SAID_AGAIN_AFTER;
            if !said.as_ref().is_some_and(is_known) {
                tracing::warn!(
                    subscriber = name,
                    reason,
                    "the ledger cannot be followed now, and is tried again"
                );
                said = Some((reason, Instant::now()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Follows until the store is closed (`Ok`) or something breaks.
    async fn follow(&self, pause: &mut Duration) -> Result<(), FollowError> {
        let outcome = self.subscriber.checkpoint(&*self.store).await;
        let checkpoint = match outcome {
            Err(FollowError::Store(StoreError::Closed)) => return Ok(()),
            outcome => outcome?,
        };
        self.state.at(checkpoint, None);
        let mut subscription = self.store.subscribe(checkpoint).await?;
        loop {
            let lost = match subscription.next().await {
                Signal::CaughtUp => {
                    self.state.progress.send_modify(|progress| progress.caught_up = true);
                    continue;
                }
                Signal::UpTo(time) => {
                    self.state.up_to.fetch_max(time.as_micros(), Ordering::AcqRel);
                    continue;
                }
                Signal::Records(records) => {
                    *pause = FIRST_PAUSE;
                    let (pages, signals) = self.gather(&mut subscription, records).await;
                    let batch = Batch { pages, written: Arc::clone(&self.written) };
                    let end = batch.last().map(|record| (record.position, record.recorded_at));
                    self.subscriber.handle(batch).await?;
                    if let Some((position, recorded_at)) = end {
                        self.state.at(position, Some(recorded_at));
                    }
                    match signals {
                        None => continue,
                        Some(lost) => lost,
                    }
                }
                Signal::Lost(lost) => lost,
            };
            match lost {
                StoreError::Closed => return Ok(()),
                lost => return Err(lost.into()),
            }
        }
    }

    /// Waits for more to handle together, unless a caller waits for what there is. Also says whether that was the last
    /// there is.
    async fn gather(
        &self,
        subscription: &mut Subscription,
        first: Arc<Vec<Record>>,
    ) -> (Vec<Arc<Vec<Record>>>, Option<StoreError>) {
        let mut count = first.len();
        let mut pages = vec![first];
        let most = self.subscriber.gathers();
        if most.is_zero() {
            return (pages, None);
        }
        let enough = async {
            tokio::select! {
                () = tokio::time::sleep(most) => {}
                () = self.state.wanted.notified() => {}
            }
        };
        tokio::pin!(enough);
        while count < MAX_GATHERED {
            tokio::select! {
                () = &mut enough => break,
                signal = subscription.next() => match signal {
                    Signal::CaughtUp => self.state.progress.send_modify(|progress| progress.caught_up = true),
                    Signal::UpTo(_) => {}
                    Signal::Lost(error) => return (pages, Some(error)),
                    Signal::Records(records) => {
                        count += records.len();
                        pages.push(records);
                    }
                },
            }
        }
        (pages, None)
    }
}
