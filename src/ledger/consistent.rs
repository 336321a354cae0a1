//! Consistent reads: a stream read from the leader, because what is folded here may lag. Knows: when that is needed, and
//! how requests share a read. Must not know: who asks, or over what.
//!
//! A node that folds what others append lags by a moment, and by more if something is wrong.
//!
//! - What is *missing* here may be in the store already. A code, a token or a client id says which stream it is in, so
//!   that stream is read, once. What is not there either never will be: these are random, and nobody can present one
//!   that was not made yet. So it is remembered, and not read again.
//! - What is *valid* here may have ended elsewhere. While this node lags by at most `max_staleness`, that is as fast as a
//!   revocation is promised to be. After that, the stream is read, or nothing is answered.
//!
//! Requests that wait for the same stream share a read, and only so many run at once.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use grantbook_events::{ClientId, InstallationId, SecretDigest, StreamKind, StreamName};
use grantbook_projections::App;
use grantbook_projections::live::{Live, TokenFacts};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Ledger, LedgerError};
use crate::store::StoreError;

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
    /// How old what is folded may be for answers that allow something.
    pub max_staleness: Duration,
    /// What happens after that.
    pub when_stale: WhenStale,
}

/// What happens when this node lags too much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenStale {
    /// The store is asked for each answer.
    Read,
    /// Nothing is answered that allows anything.
    Refuse,
}

impl Default for Freshness {
    fn default() -> Self {
        Self { max_staleness: Duration::from_secs(5), when_stale: WhenStale::Read }
    }
}

/// Consistent reads since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadCounts {
    /// Reads of a stream.
    pub reads: u64,
    /// Answers that came from a read that another had asked for.
    pub shared: u64,
    /// Reads that were refused because too many ran.
    pub refused: u64,
    /// Reads that run now.
    pub running: u64,
}

/// Reads that run, and what they found to be in no stream.
#[derive(Debug)]
pub(super) struct ConsistentReads {
    freshness: Freshness,
    turns: Semaphore,
    running: Mutex<HashMap<StreamName, Arc<SharedRead>>>,
    /// Secrets and client ids that are in no stream, by digest and by id.
    absent: Mutex<LruCache<[u8; 32], ()>>,
    reads: AtomicU64,
    shared: AtomicU64,
    refused: AtomicU64,
}

/// The reads of one stream, one after the other.
#[derive(Debug, Default)]
struct SharedRead {
    turn: tokio::sync::Mutex<()>,
    started: AtomicU64,
    /// The last read that is done, and what it found.
    done: Mutex<(u64, Option<Outcome>)>,
}

/// What the store has of a stream beyond what is folded here.
type Outcome = Result<Option<Arc<Live>>, Arc<LedgerError>>;

/// A request that waits for a read. The last one removes the read.
struct Joined<'a> {
    reads: &'a ConsistentReads,
    stream: &'a StreamName,
    read: Arc<SharedRead>,
}

impl Drop for Joined<'_> {
    fn drop(&mut self) {
        let mut running = self.reads.running.lock();
        // The map's and ours.
        if Arc::strong_count(&self.read) <= 2 {
            running.remove(self.stream);
        }
    }
}

impl ConsistentReads {
    pub(super) fn new(freshness: Freshness) -> Self {
        Self {
            freshness,
            turns: Semaphore::new(MAX_READS),
            running: Mutex::default(),
            absent: Mutex::new(LruCache::new(MAX_ABSENT)),
            reads: AtomicU64::new(0),
            shared: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    pub(super) fn freshness(&self) -> Freshness {
        self.freshness
    }

    fn counts(&self) -> ReadCounts {
        ReadCounts {
            reads: self.reads.load(Ordering::Relaxed),
            shared: self.shared.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            running: (MAX_READS - self.turns.available_permits()) as u64,
        }
    }

    fn join<'a>(&'a self, stream: &'a StreamName) -> Joined<'a> {
        let read = Arc::clone(self.running.lock().entry(stream.clone()).or_default());
        Joined { reads: self, stream, read }
    }

    fn is_absent(&self, key: &[u8; 32]) -> bool {
        self.absent.lock().get(key).is_some()
    }

    fn remember_absent(&self, key: [u8; 32]) {
        self.absent.lock().put(key, ());
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

    /// Whether this node is too far behind for answers that allow something.
    pub fn is_stale(&self) -> bool {
        self.staleness().is_some_and(|behind| behind > self.consistent.freshness().max_staleness)
    }

    /// Consistent reads since the start.
    pub fn read_counts(&self) -> ReadCounts {
        self.consistent.counts()
    }

    /// The app with this client id, deleted ones too.
    ///
    /// # Errors
    /// If it takes a look at the store, and that fails.
    pub async fn app(&self, client_id: &ClientId) -> Result<Option<Arc<App>>, LedgerError> {
        if !self.store.is_shared() {
            return Ok(self.live().app(client_id));
        }
        // Before the app is looked up: what is folded in between may only make the answer newer.
        let must_look = self.must_look();
        let here = self.live().app(client_id);
        if here.is_some() && !must_look? {
            return Ok(here);
        }
        if here.is_none() && self.consistent.is_absent(&key_of(client_id)) {
            return Ok(None);
        }
        let kind = StreamKind::App(*client_id);
        let stream = StreamName::from(kind);
        if self.live().quarantine_of(&stream).is_some() {
            return Ok(here);
        }
        let found = match self.read_consistently(&stream, &kind).await? {
            Some(beyond) => beyond.app(client_id),
            None => self.live().app(client_id),
        };
        if found.is_none() {
            self.consistent.remember_absent(key_of(client_id));
        }
        Ok(found)
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
        if !self.store.is_shared() {
            return Ok(self.live().token(digest, self.recorded_now()));
        }
        let Some(within) = within() else { return Ok(None) };
        // Before the token is looked up: what is folded in between may only make the answer newer.
        let (must_look, is_known) = (self.must_look(), self.live().has_token(digest));
        let here = self.live().token(digest, self.recorded_now());
        if here.is_some() && !must_look? {
            return Ok(here);
        }
        // That it is not valid may be old.
        if here.is_none() && (is_known || self.consistent.is_absent(digest.as_bytes())) {
            return Ok(None);
        }
        let kind = StreamKind::Installation(within);
        let stream = StreamName::from(kind);
        if self.live().quarantine_of(&stream).is_some() {
            return Ok(None);
        }
        let beyond = self.read_consistently(&stream, &kind).await?;
        let has_app = beyond.is_some();
        let live = beyond.unwrap_or_else(|| Arc::clone(&self.live()));
        let facts = live.token(digest, self.recorded_now());
        let Some(facts) = facts else {
            if !live.has_token(digest) {
                self.consistent.remember_absent(*digest.as_bytes());
            }
            return Ok(None);
        };
        if has_app {
            return Ok(Some(facts));
        }
        let app = self.app(&facts.client_id).await?;
        Ok(app.filter(|app| app.is_active()).map(|_| facts))
    }

    /// Waits until this node has folded what is in the store now.
    ///
    /// # Errors
    /// If the store cannot be asked, or this node does not get there in time.
    pub async fn become_current(&self) -> Result<(), LedgerError> {
        let _turn = self.read_turn().await?;
        let caught_up = async { Ok(self.reached(self.head().await?).await) };
        match tokio::time::timeout(READ_WITHIN, caught_up).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Err(error)) => Err(error),
            Ok(Ok(false)) | Err(_) => Err(self.too_stale()),
        }
    }

    /// Whether others append here, too, so that this node may be behind.
    pub fn is_shared(&self) -> bool {
        self.store.is_shared()
    }

    /// Whether this node is too far behind for answers that allow something, so that the store has to be
    /// asked.
    ///
    /// # Errors
    /// If it is, and the store is not to be asked instead.
    pub fn must_look(&self) -> Result<bool, LedgerError> {
        match (self.is_stale(), self.consistent.freshness().when_stale) {
            (false, _) => Ok(false),
            (true, WhenStale::Read) => Ok(true),
            (true, WhenStale::Refuse) => Err(self.too_stale()),
        }
    }

    fn too_stale(&self) -> LedgerError {
        LedgerError::Stale { behind: self.staleness().unwrap_or_default() }
    }

    async fn read_turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, LedgerError> {
        match tokio::time::timeout(TURN_WITHIN, self.consistent.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => {
                self.consistent.refused.fetch_add(1, Ordering::Relaxed);
                Err(LedgerError::TooManyReads)
            }
        }
    }

    /// What the store has of a stream beyond what is folded here, by a read that starts after this was called.
    async fn read_consistently(
        &self,
        stream: &StreamName,
        kind: &StreamKind,
    ) -> Result<Option<Arc<Live>>, LedgerError> {
        let joined = self.consistent.join(stream);
        let read = &joined.read;
        let arrived = read.started.load(Ordering::Acquire);
        let _turn = read.turn.lock().await;
        let done = read.done.lock().clone();
        let outcome = match done {
            // One that started after this was called has ended meanwhile.
            (number, Some(outcome)) if number > arrived => {
                self.consistent.shared.fetch_add(1, Ordering::Relaxed);
                outcome
            }
            _ => {
                let number = read.started.fetch_add(1, Ordering::AcqRel) + 1;
                let outcome = self.read_once(stream, kind).await.map_err(Arc::new);
                *read.done.lock() = (number, Some(outcome.clone()));
                outcome
            }
        };
        outcome.map_err(LedgerError::Shared)
    }

    async fn read_once(
        &self,
        stream: &StreamName,
        kind: &StreamKind,
    ) -> Result<Option<Arc<Live>>, LedgerError> {
        let _turn = self.read_turn().await?;
        self.consistent.reads.fetch_add(1, Ordering::Relaxed);
        let read = tokio::time::timeout(READ_WITHIN, self.beyond(stream, kind)).await;
        let late = || format!("stream {stream} could not be read within {} s", READ_WITHIN.as_secs());
        let beyond = read.unwrap_or_else(|_| Err(StoreError::Unavailable(late()).into()))?;
        Ok(beyond.map(Arc::new))
    }
}

#[cfg(test)]
impl Ledger {
    /// How many wait for a read of an installation, or run it.
    pub(super) fn waiting_readers(&self, installation_id: InstallationId) -> usize {
        let stream = StreamName::from(StreamKind::Installation(installation_id));
        self.consistent.running.lock().get(&stream).map_or(0, |read| Arc::strong_count(read) - 1)
    }

    /// How many streams are read, or waited for.
    pub(super) fn running_reads(&self) -> usize {
        self.consistent.running.lock().len()
    }
}

fn key_of(client_id: &ClientId) -> [u8; 32] {
    let mut key = [0; 32];
    key[..16].copy_from_slice(client_id.as_uuid().as_bytes());
    key
}
