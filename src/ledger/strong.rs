//! Answers on the word of the store, for a node that may be behind others. Knows: when what is folded here is
//! not enough, and how one stream is read instead. Must not know: who asks, or over what.
//!
//! A node that folds what others append is behind them by a moment, and by more if something is wrong.
//!
//! - What is *missing* here may be there already. A code, a token or a client id says which stream it is in, so
//!   that stream is read, once. What is not there either never will be: these are random, and nobody can come
//!   with one that was not made yet. So it is remembered, and not asked for again.
//! - What is *valid* here may have ended elsewhere. While this node is at most `max_staleness` behind, that is
//!   as fast as a revocation is promised to be. Beyond, the stream is read, or nothing is answered.
//!
//! Reads are shared by those who wait for the same stream, and only so many run at once.

use std::any::Any;
use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grantbook_events::{ClientId, InstallationId, SecretDigest, StreamKind, StreamName};
use grantbook_projections::live::TokenFacts;
use grantbook_projections::{App, Installation, RegisteredApp, StreamState};
use lru::LruCache;
use tokio::sync::Semaphore;

use super::{Ledger, LedgerError};

/// How many reads run at once.
const MAX_READS: usize = 32;
/// How long a read waits for its turn.
const TURN_WITHIN: Duration = Duration::from_secs(1);
/// How long a read waits for its answer.
const READ_WITHIN: Duration = Duration::from_secs(2);
/// How many things that are nowhere are remembered.
const MAX_ABSENT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

/// How far behind others this node may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Freshness {
    /// How old what is folded may be for answers that let something pass.
    pub max_staleness: Duration,
    /// What happens beyond that.
    pub beyond: Beyond,
}

/// What happens when this node is too far behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beyond {
    /// The store is asked for each answer.
    Read,
    /// Nothing is answered that lets anything pass.
    Refuse,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { max_staleness: Duration::from_secs(5), beyond: Beyond::Read }
    }
}

/// What was read strongly since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StrongCounts {
    /// Reads of a stream.
    pub reads: u64,
    /// Answers that came from a read that another had asked for.
    pub shared: u64,
    /// Reads that were refused because too many ran.
    pub refused: u64,
    /// Reads that run now.
    pub running: u64,
}

/// Reads of streams that run, and what they found to be nowhere.
#[derive(Debug)]
pub(super) struct Strong {
    freshness: Freshness,
    turns: Semaphore,
    lanes: Mutex<HashMap<StreamName, Arc<Lane>>>,
    /// Secrets and client ids that are in no stream, by digest and by id.
    absent: Mutex<LruCache<[u8; 32], ()>>,
    reads: AtomicU64,
    shared: AtomicU64,
    refused: AtomicU64,
}

/// The reads of one stream, one after the other.
#[derive(Debug, Default)]
struct Lane {
    turn: tokio::sync::Mutex<()>,
    started: AtomicU64,
    /// The last read that is done, and what it found.
    done: Mutex<(u64, Option<Outcome>)>,
}

type Outcome = Result<Found, Arc<LedgerError>>;

/// Somebody in a lane. The last one to leave takes the lane along.
struct Entered<'a> {
    strong: &'a Strong,
    stream: &'a StreamName,
    lane: Arc<Lane>,
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        let mut lanes = lock(&self.strong.lanes);
        // The map's and ours.
        if Arc::strong_count(&self.lane) <= 2 {
            lanes.remove(self.stream);
        }
    }
}

/// A state of some kind of stream.
#[derive(Clone)]
struct Found(Arc<dyn Any + Send + Sync>);

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Found(…)")
    }
}

impl Strong {
    pub(super) fn new(freshness: Freshness) -> Self {
        Self {
            freshness,
            turns: Semaphore::new(MAX_READS),
            lanes: Mutex::default(),
            absent: Mutex::new(LruCache::new(MAX_ABSENT)),
            reads: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn counts(&self) -> StrongCounts {
        StrongCounts {
            reads: self.reads.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            running: (MAX_READS - self.turns.available_permits()) as u64,
        }
    }

    fn enter<'a>(&'a self, stream: &'a StreamName) -> Entered<'a> {
        let lane = Arc::clone(lock(&self.lanes).entry(stream.clone()).or_default());
        Entered { strong: self, stream, lane }
    }

    fn is_absent(&self, key: &[u8; 32]) -> bool {
        lock(&self.absent).get(key).is_some()
    }

    fn remember_absent(&self, key: [u8; 32]) {
        lock(&self.absent).put(key, ());
    }
}

impl Ledger {
    /// How long ago what is folded here was all there was; `None` if nobody else appends.
    pub fn staleness(&self) -> Option<Duration> {
        if !self.store.is_shared() {
            return None;
        }
        let behind = self.clock.now().as_micros().saturating_sub(self.follower.is_up_to().as_micros());
        Some(Duration::from_micros(u64::try_from(behind).unwrap_or(0)))
    }

    /// Whether this node is too far behind for answers that let something pass.
    pub fn is_stale(&self) -> bool {
        self.staleness().is_some_and(|behind| behind > self.strong.freshness().max_staleness)
    }

    /// What was read strongly since the start.
    pub fn strong_counts(&self) -> StrongCounts {
        self.strong.counts()
    }

    /// The app with this client id, deleted ones too.
    ///
    /// # Errors
    /// If it takes a look at the store, and that fails.
    pub async fn app(&self, client_id: &ClientId) -> Result<Option<Arc<RegisteredApp>>, LedgerError> {
        let here = self.live().app(client_id);
        if !self.store.is_shared() {
            return Ok(here);
        }
        match &here {
            Some(_) if !self.must_look()? => return Ok(here),
            None if self.strong.is_absent(&key_of(client_id)) => return Ok(None),
            Some(_) | None => {}
        }
        let stream = StreamName::from(StreamKind::App(*client_id));
        if self.live().quarantine_of(&stream).is_some() {
            return Ok(here);
        }
        match &*self.read_strongly::<App>(&stream).await? {
            App::Registered(app) => Ok(Some(Arc::new(RegisteredApp::clone(app)))),
            App::Unregistered => {
                self.strong.remember_absent(key_of(client_id));
                Ok(None)
            }
        }
    }

    /// What is true of the token with this digest, if it is valid. `within` tells which installation the token
    /// says it belongs to, and is asked only if others append; a token that says none is only looked for here.
    ///
    /// # Errors
    /// If it takes a look at the store, and that fails.
    pub async fn token(
        &self,
        digest: &SecretDigest,
        within: impl FnOnce() -> Option<InstallationId>,
    ) -> Result<Option<TokenFacts>, LedgerError> {
        let here = self.live().token(digest, self.recorded_now());
        if !self.store.is_shared() {
            return Ok(here);
        }
        let Some(within) = within() else { return Ok(None) };
        let is_missing = here.is_none() && !self.live().has_token(digest);
        if here.is_some() && !self.must_look()? {
            return Ok(here);
        }
        // That it is not valid may be old.
        if here.is_none() && (!is_missing || self.strong.is_absent(digest.as_bytes())) {
            return Ok(None);
        }
        let stream = StreamName::from(StreamKind::Installation(within));
        if self.live().quarantine_of(&stream).is_some() {
            return Ok(None);
        }
        let state = self.read_strongly::<Installation>(&stream).await?;
        let Some(installed) = state.present().filter(|installed| installed.has_token(digest)) else {
            self.strong.remember_absent(*digest.as_bytes());
            return Ok(None);
        };
        let app = self.app(&installed.client_id).await?;
        Ok(app.and_then(|app| installed.token_facts(within, &app, digest, self.recorded_now())))
    }

    /// Waits until this node has folded what is in the store now.
    ///
    /// # Errors
    /// If the store cannot be asked, or this node does not get there in time.
    pub async fn become_current(&self) -> Result<(), LedgerError> {
        let _turn = self.strong_turn().await?;
        let head = self.head().await?;
        match tokio::time::timeout(READ_WITHIN, self.reached(head)).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(self.too_stale()),
        }
    }

    /// Whether others append here, too, so that this node may be behind.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Whether this node is too far behind for answers that let something pass, so that the store has to be
    /// asked.
    ///
    /// # Errors
    /// If it is, and the store is not to be asked instead.
    pub fn must_look(&self) -> Result<bool, LedgerError> {
        match (self.is_stale(), self.strong.freshness().beyond) {
            (false, _) => Ok(false),
            (true, Beyond::Read) => Ok(true),
            (true, Beyond::Refuse) => Err(self.too_stale()),
        }
    }

    fn too_stale(&self) -> LedgerError {
        LedgerError::Stale { behind: self.staleness().unwrap_or_default() }
    }

    async fn strong_turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, LedgerError> {
        match tokio::time::timeout(TURN_WITHIN, self.strong.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                self.strong.refused.fetch_add(1, Ordering::Relaxed);
                Err(LedgerError::TooManyReads)
            }
        }
    }

    /// The state of a stream as the store has it now: by a read that starts after this was called.
    async fn read_strongly<S: StreamState + Send + Sync + 'static>(
        &self,
        stream: &StreamName,
    ) -> Result<Arc<S>, LedgerError> {
        let entered = self.strong.enter(stream);
        let lane = &entered.lane;
        let arrived = lane.started.load(Ordering::Acquire);
        let outcome = {
            let _turn = lane.turn.lock().await;
            let done = lock(&lane.done).clone();
            match done {
                // One that started after we came has ended while we waited.
                (number, Some(outcome)) if number > arrived => {
                    self.strong.shared.fetch_add(1, Ordering::Relaxed);
                    outcome
                }
                _ => {
                    let number = lane.started.fetch_add(1, Ordering::AcqRel) + 1;
                    let outcome = self.read_once::<S>(stream).await.map_err(Arc::new);
                    *lock(&lane.done) = (number, Some(outcome.clone()));
                    outcome
                }
            }
        };
        let Found(found) = outcome.map_err(LedgerError::Shared)?;
        // A stream has one kind of state, so this never fails.
        found.downcast().map_err(|_| LedgerError::Contended(stream.clone()))
    }

    async fn read_once<S: StreamState + Send + Sync + 'static>(
        &self,
        stream: &StreamName,
    ) -> Result<Found, LedgerError> {
        let _turn = self.strong_turn().await?;
        self.strong.reads.fetch_add(1, Ordering::Relaxed);
        let remembered = self.states.get::<S>(stream).unwrap_or_default();
        let read = tokio::time::timeout(READ_WITHIN, self.catch_up(stream, remembered)).await;
        let loaded = read.unwrap_or_else(|_| {
            let late = format!("stream {stream} could not be read within {} s", READ_WITHIN.as_secs());
            Err(crate::store::StoreError::Unavailable(late).into())
        })?;
        Ok(Found(Arc::new(loaded.state.clone())))
    }
}

#[cfg(test)]
impl Ledger {
    /// How many wait for a read of an installation, or run it.
    pub(super) fn strong_waiting(&self, installation_id: InstallationId) -> usize {
        let stream = StreamName::from(StreamKind::Installation(installation_id));
        lock(&self.strong.lanes).get(&stream).map_or(0, |lane| Arc::strong_count(lane) - 1)
    }

    /// How many streams are read, or waited for.
    pub(super) fn strong_lanes(&self) -> usize {
        lock(&self.strong.lanes).len()
    }
}

fn key_of(client_id: &ClientId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(client_id.as_uuid().as_bytes());
    key
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
