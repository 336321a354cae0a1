//! Building a projection again while it is served. Knows: the ledger, and how a copy takes the place of another. Must not
//! know: who asks.
//!
//! A new copy is built beside the one that is served, from the ledger's first event. Where the served one was when this
//! began, the two are compared. The new copy then takes the place of the old one at once; the old one is kept until both
//! were compared again where the new one is then, and the new one has gone on to the end of the ledger. Until the new
//! copy is served, nothing is changed, so a rebuild can be cancelled or cut short.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::{Live, StateDigest};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use utoipa::ToSchema;

use super::reading::each;
use super::{Projection, Step, Until};
use crate::audit::{History, Rebuilt};
use crate::ledger::{Ledger, fold};
use crate::store::{Store, StoreError};

/// A rebuild, under way or over.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = RebuildJson)]
pub struct Rebuild {
    /// `running`; `same` or `repaired`: the new copy is served, and the old one was the same or not; `cancelled`
    /// or `failed`: what was served before is served, unless `reason` says otherwise.
    pub state: &'static str,
    /// Events folded.
    pub events: u64,
    pub position: Position,
    /// The end of the ledger when it began.
    pub head: Position,
    pub started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub ended_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// Why a rebuild did not end with the new copy in the place of the old one.
#[derive(Debug)]
enum Broken {
    Cancelled,
    Failed(String),
}

impl<E: std::error::Error> From<E> for Broken {
    fn from(error: E) -> Self {
        Self::Failed(error.to_string())
    }
}

/// Whether the old copy, which was replaced, was the same.
type IsSame = Result<bool, Broken>;

/// Why a rebuild does not begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotStarted {
    #[error("a rebuild of this projection is under way")]
    Running,
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
        let mut jobs = self.jobs.lock();
        if jobs.get(&projection).is_some_and(|job| job.is_running()) {
            return Err(NotStarted::Running);
        }
        jobs.insert(projection, Arc::clone(&job));
        drop(jobs);
        let (ledger, history) = (Arc::clone(&self.ledger), Arc::clone(&self.history));
        self.runtime.spawn(async move {
            tracing::info!(%projection, "a rebuild begins");
            let (of, its_job) = (Arc::clone(&ledger), Arc::clone(&job));
            // A task of its own, so that the job ends also if it panics.
            let rebuilt = tokio::spawn(async move {
                match projection {
                    Projection::Live => rebuild_live(&of, &its_job).await,
                    Projection::History => rebuild_history(&of, &history, &its_job).await,
                }
            });
            let (outcome, reason) = match rebuilt.await.map_err(Broken::from).flatten() {
                Ok(true) => ("same", None),
                Ok(false) => ("repaired", None),
                Err(Broken::Cancelled) => ("cancelled", None),
                Err(Broken::Failed(why)) => ("failed", Some(why)),
            };
            tracing::info!(%projection, outcome, reason, "a rebuild is over");
            let mut rebuild = job.rebuild.lock();
            (rebuild.state, rebuild.reason, rebuild.ended_at) = (outcome, reason, Some(ledger.now()));
        });
        Ok(())
    }

    /// The last rebuild of a projection, if there was one since the start.
    pub fn last(&self, projection: Projection) -> Option<Rebuild> {
        self.jobs.lock().get(&projection).map(|job| job.rebuild.lock().clone())
    }

    /// Cancels a rebuild; says whether one was under way.
    pub fn cancel(&self, projection: Projection) -> bool {
        let jobs = self.jobs.lock();
        let job = jobs.get(&projection).filter(|job| job.is_running());
        job.inspect(|job| job.is_cancelled.store(true, Ordering::Release)).is_some()
    }
}

#[derive(Debug)]
struct Job {
    is_cancelled: AtomicBool,
    rebuild: Mutex<Rebuild>,
}

impl Job {
    fn new(started_at: Timestamp) -> Self {
        let (position, head) = (Position::START, Position::START);
        let rebuild =
            Rebuild { state: "running", events: 0, position, head, started_at, ended_at: None, reason: None };
        Self { is_cancelled: AtomicBool::new(false), rebuild: Mutex::new(rebuild) }
    }

    fn is_running(&self) -> bool {
        self.rebuild.lock().ended_at.is_none()
    }

    fn is_at(&self, Step { events, position, head }: Step) {
        let mut rebuild = self.rebuild.lock();
        (rebuild.events, rebuild.position, rebuild.head) = (events, position, head);
    }

    fn go_on(&self) -> Result<(), Broken> {
        if self.is_cancelled.load(Ordering::Acquire) { Err(Broken::Cancelled) } else { Ok(()) }
    }
}

async fn rebuild_history(ledger: &Ledger, history: &History, job: &Job) -> IsSame {
    let head = ledger.store().head().await?.position;
    let step = |events, position| {
        job.is_at(Step { events, position, head });
        job.go_on().is_ok()
    };
    match history.rebuild(step).await? {
        Rebuilt::Same => Ok(true),
        Rebuilt::Repaired => Ok(false),
        Rebuilt::Cancelled => Err(Broken::Cancelled),
    }
}

async fn rebuild_live(ledger: &Arc<Ledger>, job: &Job) -> IsSame {
    let store = &**ledger.store();
    let served = digest_at(&ledger.live()).await?;
    let copy = Arc::new(Live::new());
    fold_up_to(store, &copy, served.0, Some(job)).await?;
    let is_same = digest_at(&copy).await? == served;
    let old = serve(ledger, &copy, Some(job)).await?;
    // From here on the new copy is served, and nothing can be cancelled.
    let went_on = ledger.reached(store.head().await?.position).await;
    let strayed = if !went_on {
        Some("did not go on")
    } else if is_same && !agree(store, &copy, &old).await.map_err(unproven)? {
        Some("went another way")
    } else {
        None
    };
    if let Some(what) = strayed {
        serve(ledger, &old, None).await?;
        return Err(Broken::Failed(format!("the new copy {what}, so the old one is back")));
    }
    // Freeing a large state takes a while, too.
    spawn_blocking(move || drop(old));
    write_snapshot(ledger, is_same).await;
    Ok(is_same)
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

fn unproven(why: Broken) -> Broken {
    Broken::Failed(format!(
        "the new copy is served, and could not be compared with the old one again: {why:?}"
    ))
}

/// Whether the old copy is the same where the new one is now.
async fn agree(store: &dyn Store, new: &Arc<Live>, old: &Arc<Live>) -> IsSame {
    let (position, digest) = digest_at(new).await?;
    fold_up_to(store, old, position, None).await?;
    Ok(digest_at(old).await? == (position, digest))
}

async fn digest_at(live: &Arc<Live>) -> Result<(Position, StateDigest), Broken> {
    let live = Arc::clone(live);
    Ok(spawn_blocking(move || live.digest_at()).await?)
}

/// Folds what a copy that is not served has missed; for a job, until that is cancelled.
async fn fold_up_to(
    store: &dyn Store,
    live: &Live,
    position: Position,
    job: Option<&Job>,
) -> Result<(), Broken> {
    let after = live.position();
    job.map_or(Ok(()), Job::go_on)?;
    if after >= position {
        return Ok(());
    }
    let before = job.map_or(0, |job| job.rebuild.lock().events);
    let progress = |step: Step| {
        if let Some(job) = job {
            job.is_at(Step { events: before + step.events, ..step });
        }
    };
    let folded = each(store, after, Until::Position(position), progress, |record| {
        // What cannot be folded is in quarantine then, as it is in the served copy.
        let _ = fold(live, record);
        job.map_or(Ok(()), Job::go_on)
    });
    folded.await?;
    if live.position() < position {
        let detail = format!("nothing follows it, although position {position} was read before");
        return Err(StoreError::Damaged { position: live.position(), detail }.into());
    }
    Ok(())
}

/// Folds a copy up to where the served one is, and serves it instead. Returns the one that was served before.
async fn serve(ledger: &Ledger, copy: &Arc<Live>, job: Option<&Job>) -> Result<Arc<Live>, Broken> {
    loop {
        fold_up_to(&**ledger.store(), copy, ledger.live().position(), job).await?;
        if let Ok(old) = ledger.adopt(Arc::clone(copy)) {
            return Ok(old);
        }
    }
}
