//! Building a projection again while it is served. Knows: the ledger, and how a copy takes the place of another. Must not
//! know: who asks.
//!
//! A new copy is built beside the one that is served, from the ledger's first event. Where the served one was when this
//! began, the two are compared. The new copy then takes the place of the old one at once; the old one is kept until both
//! were compared again where the new one is then, and the new one has gone on to the end of the ledger. Until the new
//! copy is served, nothing is changed, so a rebuild can be cancelled or cut short.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::{Live, StateDigest};
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::reading::each;
use super::{Projection, ReplayError, Step, Until};
use crate::audit::{History, Rebuilt};
use crate::ledger::{Ledger, fold};
use crate::store::{Store, StoreError};

/// Records read at once for a copy that is not served.
const PAGE: usize = 1024;

/// How a rebuild ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The new copy has taken the place of the old one, which was the same.
    Same,
    /// The new copy has taken the place of the old one, which was not what the ledger folds to.
    Repaired,
    /// Nothing was changed.
    Cancelled,
    /// The old copy is served, unless the reason says otherwise.
    Failed(String),
}

impl From<ReplayError> for Outcome {
    fn from(error: ReplayError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        ReplayError::from(error).into()
    }
}

/// A rebuild, under way or over.
#[derive(Debug, Clone)]
pub struct Rebuild {
    pub step: Step,
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
        let mut jobs = self.jobs();
        if jobs.get(&projection).is_some_and(|job| job.is_running()) {
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
                let outcome = match projection {
                    Projection::Live => rebuild_live(&of, &its_job).await,
                    Projection::History => rebuild_history(&of, &history, &its_job).await,
                };
                match outcome {
                    Ok(outcome) | Err(outcome) => outcome,
                }
            });
            let outcome = running.await.unwrap_or_else(|broke| Outcome::Failed(broke.to_string()));
            tracing::info!(%projection, ?outcome, "a rebuild is over");
            job.state().ended = Some((ledger.now(), outcome));
        });
        Ok(())
    }

    /// The last rebuild of a projection, if there was one since the start.
    pub fn last(&self, projection: Projection) -> Option<Rebuild> {
        self.jobs().get(&projection).map(|job| job.state().clone())
    }

    /// Cancels a rebuild; says whether one was under way.
    pub fn cancel(&self, projection: Projection) -> bool {
        let jobs = self.jobs();
        let job = jobs.get(&projection).filter(|job| job.is_running());
        job.inspect(|job| job.is_cancelled.store(true, Ordering::Release)).is_some()
    }

    fn jobs(&self) -> MutexGuard<'_, BTreeMap<Projection, Arc<Job>>> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Job {
    is_cancelled: AtomicBool,
    state: Mutex<Rebuild>,
}

impl Job {
    fn new(started_at: Timestamp) -> Self {
        let state = Mutex::new(Rebuild { step: Step::default(), started_at, ended: None });
        Self { is_cancelled: AtomicBool::new(false), state }
    }

    fn state(&self) -> MutexGuard<'_, Rebuild> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_running(&self) -> bool {
        self.state().ended.is_none()
    }

    fn go_on(&self) -> Result<(), Outcome> {
        if self.is_cancelled.load(Ordering::Acquire) { Err(Outcome::Cancelled) } else { Ok(()) }
    }
}

async fn rebuild_history(ledger: &Ledger, history: &History, job: &Job) -> Result<Outcome, Outcome> {
    let head = ledger.store().head().await?.position;
    let step = |events, position| {
        job.state().step = Step { events, position, head };
        job.go_on().is_ok()
    };
    match history.rebuild(step).await {
        Ok(Rebuilt::Same) => Ok(Outcome::Same),
        Ok(Rebuilt::Repaired) => Ok(Outcome::Repaired),
        Ok(Rebuilt::Cancelled) => Err(Outcome::Cancelled),
        Err(error) => Err(Outcome::Failed(error.to_string())),
    }
}

async fn rebuild_live(ledger: &Arc<Ledger>, job: &Job) -> Result<Outcome, Outcome> {
    let store = &**ledger.store();
    let served = digest_at(&ledger.live()).await?;
    let copy = Arc::new(Live::new());
    let folded = each(
        store,
        Until::Position(served.0),
        |step| job.state().step = step,
        |record| {
            // What cannot be folded is in quarantine then, as it is in the served copy.
            let _ = fold(&copy, record);
            job.go_on()
        },
    );
    folded.await?;
    let is_same = digest_at(&copy).await? == served;
    let old = loop {
        job.go_on()?;
        fold_up_to(store, &copy, ledger.live().position()).await?;
        // The served copy may have gone on meanwhile.
        if let Ok(old) = ledger.adopt(Arc::clone(&copy)) {
            break old;
        }
    };
    // From here on the new copy is served, and nothing can be cancelled.
    let went_on = ledger.reached(store.head().await?.position).await;
    let strayed = if !went_on {
        Some("did not go on")
    } else if is_same && !agree(store, &copy, &old).await.map_err(|outcome| unproven(&outcome))? {
        Some("went another way")
    } else {
        None
    };
    if let Some(what) = strayed {
        take_back(ledger, old).await?;
        return Err(Outcome::Failed(format!("the new copy {what}, so the old one is back")));
    }
    // Freeing a large state takes a while, too.
    spawn_blocking(move || drop(old));
    write_snapshot(ledger, is_same).await;
    Ok(if is_same { Outcome::Same } else { Outcome::Repaired })
}

/// Older snapshots of a copy that was wrong are removed. If that fails, the new copy is served all the same.
async fn write_snapshot(ledger: &Ledger, was_same: bool) {
    let written = match ledger.take_snapshot().await {
        Ok(written) => written,
        Err(error) => {
            return tracing::warn!(%error, "no snapshot was written of the rebuilt projection");
        }
    };
    if let (false, Some(snapshots)) = (was_same, ledger.snapshots().cloned()) {
        // No snapshot is of the start.
        let newest = written.unwrap_or(Position::START);
        let kept = spawn_blocking(move || snapshots.keep_only(newest)).await;
        if let Err(error) = kept.map_err(std::io::Error::other).flatten() {
            tracing::error!(%error, "snapshots of the wrong copy cannot be removed: remove them by hand");
        }
    }
}

fn unproven(outcome: &Outcome) -> Outcome {
    Outcome::Failed(format!(
        "the new copy is served, and could not be compared with the old one again: {outcome:?}"
    ))
}

/// Whether the old copy is the same where the new one is now.
async fn agree(store: &dyn Store, new: &Arc<Live>, old: &Arc<Live>) -> Result<bool, Outcome> {
    let (position, digest) = digest_at(new).await?;
    fold_up_to(store, old, position).await?;
    Ok(digest_at(old).await? == (position, digest))
}

async fn digest_at(live: &Arc<Live>) -> Result<(Position, StateDigest), Outcome> {
    let live = Arc::clone(live);
    spawn_blocking(move || live.digest_at()).await.map_err(|broke| Outcome::Failed(broke.to_string()))
}

/// Folds what a copy that is not served has missed.
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
async fn take_back(ledger: &Ledger, old: Arc<Live>) -> Result<(), Outcome> {
    loop {
        fold_up_to(&**ledger.store(), &old, ledger.live().position()).await?;
        // The new copy may have gone on meanwhile.
        if ledger.adopt(Arc::clone(&old)).is_ok() {
            return Ok(());
        }
    }
}
