//! Building a projection again while it is served. Knows: the ledger, and how a copy takes the place of
//! another. Must not know: who asked, or how they are told.
//!
//! A projection is built beside the one that is served, from the ledger's first event. Where the served one
//! was when this began, the two are compared. The new copy takes the place of the old one at once; the old
//! one is kept until both were compared once more where the new one then is, and the new one has gone on to the
//! end of the ledger. Until the exchange nothing is changed, so a rebuild can be called off or cut short at any
//! time.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::{Live, StateDigest};
use tokio::runtime::Handle;

use super::{Projection, Step};
use crate::audit::{History, Rebuilt};
use crate::ledger::{Ledger, fold};
use crate::store::{Record, Signal, Store, StoreError, Subscription};

/// Records read at once for a copy that is not served any more.
const PAGE: usize = 1024;

/// How a rebuild ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The new copy has taken the place of the old one, which was the same.
    Same,
    /// The new copy has taken the place of the old one, which was not what the ledger folds to.
    Repaired,
    /// It was called off; nothing was changed.
    Cancelled,
    /// It broke. The old copy is served, unless the reason says otherwise.
    Failed(String),
}

/// A rebuild, under way or over.
#[derive(Debug, Clone)]
pub struct Rebuild {
    /// How far it is.
    pub step: Step,
    /// When it began.
    pub started_at: Timestamp,
    /// How and when it ended, if it is over.
    pub ended: Option<(Timestamp, Outcome)>,
}

/// Why a rebuild does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    /// One of the same projection is under way.
    #[error("a rebuild of this projection is under way")]
    UnderWay,
    /// The ledger is still being folded, or cannot be.
    #[error("the ledger is not folded to its end")]
    NotReady,
}

/// The last rebuild of each projection.
#[derive(Debug)]
pub struct Rebuilds {
    ledger: Arc<Ledger>,
    history: Arc<History>,
    runtime: Handle,
    jobs: Mutex<BTreeMap<Projection, Arc<Job>>>,
}

impl Rebuilds {
    /// Rebuilds of the projections of a ledger, on the current Tokio runtime.
    pub fn new(ledger: Arc<Ledger>, history: Arc<History>) -> Self {
        Self { ledger, history, runtime: Handle::current(), jobs: Mutex::default() }
    }

    /// Begins one.
    ///
    /// # Errors
    /// If one is under way, or the ledger is not folded yet.
    pub fn start(&self, projection: Projection) -> Result<(), NotStarted> {
        if !self.ledger.is_ready() {
            return Err(NotStarted::NotReady);
        }
        let job = Arc::new(Job::new(self.ledger.now()));
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.get(&projection).is_some_and(|job| job.get().ended.is_none()) {
            return Err(NotStarted::UnderWay);
        }
        jobs.insert(projection, Arc::clone(&job));
        drop(jobs);
        let (ledger, history) = (Arc::clone(&self.ledger), Arc::clone(&self.history));
        self.runtime.spawn(async move {
            tracing::info!(%projection, "a rebuild begins");
            let (of, its_job) = (Arc::clone(&ledger), Arc::clone(&job));
            // A task of its own, so that the job ends also if it panics.
            let running = tokio::spawn(async move {
                match projection {
                    Projection::Live => rebuild_live(&of, &its_job).await,
                    Projection::History => rebuild_history(&of, &history, &its_job).await,
                }
            });
            let outcome = match running.await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(Stopped::Cancelled)) => Outcome::Cancelled,
                Ok(Err(Stopped::Failed(why))) => Outcome::Failed(why),
                Err(broke) => Outcome::Failed(broke.to_string()),
            };
            tracing::info!(%projection, ?outcome, "a rebuild is over");
            job.end(ledger.now(), outcome);
        });
        Ok(())
    }

    /// The last rebuild of a projection, if there was one since the start.
    pub fn last(&self, projection: Projection) -> Option<Rebuild> {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.get(&projection).map(|job| job.get())
    }

    /// Calls a rebuild off; says whether one was under way.
    pub fn cancel(&self, projection: Projection) -> bool {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        let job = jobs.get(&projection).filter(|job| job.get().ended.is_none());
        job.inspect(|job| job.is_cancelled.store(true, Ordering::Release)).is_some()
    }
}

/// A rebuild under way.
#[derive(Debug)]
struct Job {
    is_cancelled: AtomicBool,
    state: Mutex<Rebuild>,
}

/// Why a rebuild ends without a new copy.
#[derive(Debug)]
enum Stopped {
    Cancelled,
    Failed(String),
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl Job {
    fn new(started_at: Timestamp) -> Self {
        let step = Step { events: 0, position: Position::START, head: Position::START };
        Self {
            is_cancelled: AtomicBool::new(false),
            state: Mutex::new(Rebuild { step, started_at, ended: None }),
        }
    }

    fn get(&self) -> Rebuild {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn step(&self, step: Step) -> Result<(), Stopped> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).step = step;
        if self.is_cancelled.load(Ordering::Acquire) { Err(Stopped::Cancelled) } else { Ok(()) }
    }

    fn end(&self, now: Timestamp, outcome: Outcome) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = Some((now, outcome));
    }
}

async fn rebuild_history(ledger: &Ledger, history: &History, job: &Job) -> Result<Outcome, Stopped> {
    let head = ledger.store().head().await?.position;
    let step = |events, position| job.step(Step { events, position, head }).is_ok();
    match history.rebuild(step).await {
        Ok(Rebuilt::Same) => Ok(Outcome::Same),
        Ok(Rebuilt::Repaired) => Ok(Outcome::Repaired),
        Ok(Rebuilt::Cancelled) => Err(Stopped::Cancelled),
        Err(error) => Err(Stopped::Failed(error.to_string())),
    }
}

/// A second copy on its way to where the first one is.
struct Copy<'a> {
    live: Arc<Live>,
    job: &'a Job,
    subscription: Subscription,
    step: Step,
    /// Where the served copy was, and its digest there.
    served: (Position, StateDigest),
    /// Whether this copy was the same there; known once it is there.
    is_same: Option<bool>,
    is_strict: bool,
}

impl Copy<'_> {
    /// Folds what comes next; says whether that was all there is.
    async fn advance(&mut self) -> Result<bool, Stopped> {
        match self.subscription.next().await {
            Signal::CaughtUp => Ok(true),
            Signal::UpTo(_) => Ok(false),
            Signal::Lost(error) => Err(error.into()),
            Signal::Records(records) => {
                for record in records.iter() {
                    self.fold(record)?;
                    self.compare().await?;
                }
                self.step.events += records.len() as u64;
                self.step.position = self.live.position();
                self.job.step(self.step)?;
                Ok(false)
            }
        }
    }

    fn fold(&mut self, record: &Record) -> Result<(), Stopped> {
        // What cannot be folded is in quarantine then, as it is in the served copy.
        if let Err(poison) = fold(&self.live, record)
            && self.is_strict
        {
            return Err(Stopped::Failed(poison.reason));
        }
        Ok(())
    }

    /// Compares it with the served copy, once it is where that was.
    async fn compare(&mut self) -> Result<(), Stopped> {
        if self.is_same.is_none() && self.live.position() >= self.served.0 {
            self.is_same = Some(digest_at(&self.live).await? == self.served);
        }
        Ok(())
    }
}

async fn rebuild_live(ledger: &Arc<Ledger>, job: &Job) -> Result<Outcome, Stopped> {
    let store = ledger.store();
    let served = digest_at(&ledger.live()).await?;
    let step = Step { events: 0, position: Position::START, head: store.head().await?.position };
    let subscription = store.subscribe(Position::START).await?;
    let live = Arc::new(Live::new());
    let is_strict = ledger.is_strict();
    let mut copy = Copy { live, job, subscription, step, served, is_same: None, is_strict };
    copy.compare().await?;
    while !copy.advance().await? {}
    let old = loop {
        match ledger.adopt(Arc::clone(&copy.live)) {
            Ok(old) => break old,
            // The served copy has gone on meanwhile.
            Err(_) => drop(copy.advance().await?),
        }
    };
    // From here on there is no calling off: the copy is served. It is proven once it has gone on to the end, and
    // once it is still the same as the old one there, if it was where this began.
    let is_same = copy.is_same == Some(true);
    let went_on = ledger.reached(store.head().await?.position).await;
    let strayed = if !went_on {
        Some("did not go on")
    } else if is_same && !agree(&**store, &copy.live, &old).await.map_err(unproven)? {
        Some("went another way")
    } else {
        None
    };
    if let Some(what) = strayed {
        take_back(ledger, old).await?;
        return Err(Stopped::Failed(format!("the new copy {what}, so the old one is back")));
    }
    // Freeing a large state takes a while, too.
    tokio::task::spawn_blocking(move || drop(old));
    match ledger.take_snapshot().await {
        Ok(taken) if !is_same => {
            // Older snapshots were taken of the copy that was wrong. No snapshot is of the start.
            let newest = taken.unwrap_or(Position::START);
            let snapshots = ledger.snapshots().cloned();
            let keep = move || snapshots.map_or(Ok(()), |snapshots| snapshots.keep_only(newest));
            let kept = tokio::task::spawn_blocking(keep).await.map_err(std::io::Error::other);
            if let Err(error) = kept.flatten() {
                // The new copy is served all the same.
                tracing::error!(%error, "snapshots of the wrong copy cannot be removed: remove them by hand");
            }
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "no snapshot was written of the rebuilt projection"),
    }
    Ok(if is_same { Outcome::Same } else { Outcome::Repaired })
}

/// What is served then is the new copy.
fn unproven(stopped: Stopped) -> Stopped {
    match stopped {
        Stopped::Cancelled => Stopped::Cancelled,
        Stopped::Failed(why) => Stopped::Failed(format!(
            "the new copy is served, and could not be compared with the old one again: {why}"
        )),
    }
}

/// Whether the new copy, where it is now, is what the old one comes to there.
async fn agree(store: &dyn Store, new: &Arc<Live>, old: &Arc<Live>) -> Result<bool, Stopped> {
    let (position, digest) = digest_at(new).await?;
    fold_up_to(store, old, position).await?;
    Ok(digest_at(old).await? == (position, digest))
}

async fn digest_at(live: &Arc<Live>) -> Result<(Position, StateDigest), Stopped> {
    let live = Arc::clone(live);
    let digest = tokio::task::spawn_blocking(move || live.digest_at()).await;
    digest.map_err(|broke| Stopped::Failed(broke.to_string()))
}

/// Folds what a copy that is not served any more has missed.
async fn fold_up_to(store: &dyn Store, live: &Live, position: Position) -> Result<(), StoreError> {
    while live.position() < position {
        let after = live.position();
        let records = store.read_all(after, PAGE).await?;
        if records.is_empty() {
            let detail = format!("nothing follows it, although position {position} was read before");
            return Err(StoreError::Damaged { position: after, detail });
        }
        for record in records.iter().filter(|record| record.position <= position) {
            // What cannot be folded is in quarantine then, as it is in the served copy.
            let _ = fold(live, record);
        }
    }
    Ok(())
}

/// Serves the old copy again, from where the new one is: nothing between may be missing.
async fn take_back(ledger: &Ledger, mut old: Arc<Live>) -> Result<(), Stopped> {
    loop {
        fold_up_to(&**ledger.store(), &old, ledger.live().position()).await?;
        match ledger.adopt(old) {
            Ok(_) => return Ok(()),
            // The other one has gone on meanwhile.
            Err(behind) => old = behind,
        }
    }
}
