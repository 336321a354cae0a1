//! The one that folds records into the live projection: each once and in order, whoever brings them. Knows:
//! the live projection, its snapshots, how far it is. Must not know: where records come from.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};
use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;
use tokio::sync::watch;

use super::aside::FEW;
use super::recorded::{fold, try_fold};
use super::snapshots::{Keeper, SnapshotError, Snapshots};
use crate::store::{Record, Store, StoreError};

/// How far the live projection is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The last position folded.
    pub position: Position,
    /// Whether everything that was in the store at the start is folded.
    pub caught_up: bool,
    /// Why folding stopped for good, if it did.
    pub stopped: Option<String>,
}

#[derive(Debug)]
pub(super) struct Folder {
    live: ArcSwap<Live>,
    turn: Mutex<()>,
    progress: watch::Sender<Progress>,
    /// Everything that was acknowledged before this time is folded, in microseconds since 1970.
    up_to: AtomicI64,
    /// Whether an event that cannot be folded ends the folding, rather than putting its stream in
    /// quarantine.
    strict: bool,
    keeper: Option<Arc<Keeper>>,
}

impl Folder {
    pub(super) fn new(strict: bool, keeper: Option<Keeper>) -> Self {
        let start = Progress { position: Position::START, caught_up: false, stopped: None };
        Self {
            live: ArcSwap::from_pointee(Live::new()),
            turn: Mutex::default(),
            progress: watch::Sender::new(start),
            up_to: AtomicI64::new(i64::MIN),
            strict,
            keeper: keeper.map(Arc::new),
        }
    }

    pub(super) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    pub(super) fn watch(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    pub(super) fn is_ready(&self) -> bool {
        let progress = self.progress.borrow();
        progress.caught_up && progress.stopped.is_none()
    }

    pub(super) const fn is_strict(&self) -> bool {
        self.strict
    }

    pub(super) fn caught_up(&self) {
        self.progress.send_modify(|progress| progress.caught_up = true);
    }

    /// Everything that was acknowledged before this time is folded.
    pub(super) fn up_to(&self, time: Timestamp) {
        self.up_to.fetch_max(time.as_micros(), Ordering::AcqRel);
    }

    /// Up to which time everything that was acknowledged is folded.
    pub(super) fn is_up_to(&self) -> Timestamp {
        Timestamp::from_micros(self.up_to.load(Ordering::Acquire))
    }

    /// Begins with the newest snapshot that can be used, if there is one.
    ///
    /// # Errors
    /// If the store cannot be asked whose snapshots it wants.
    pub(super) async fn restore(&self, store: &dyn Store) -> Result<(), StoreError> {
        let Some(keeper) = &self.keeper else { return Ok(()) };
        keeper.belongs_to(store.head().await?.identity);
        let tidying = Arc::clone(keeper);
        // If it broke, the panic has been reported; nothing depends on it.
        let _ = tokio::task::spawn_blocking(move || tidying.tidy()).await;
        let Some(live) = keeper.snapshots().newest(store).await? else { return Ok(()) };
        keeper.begin_with(&live);
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if live.position() > self.live().position() {
            self.live.store(Arc::new(live));
            self.moved();
        }
        Ok(())
    }

    /// Takes another copy of the live projection in the place of this one, unless it is behind.
    ///
    /// # Errors
    /// The copy, if it is behind.
    pub(super) fn adopt(&self, live: Arc<Live>) -> Result<Arc<Live>, Arc<Live>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        if live.position() < self.live().position() {
            return Err(live);
        }
        let old = self.live.swap(live);
        self.moved();
        Ok(old)
    }

    /// Folds what is not folded yet; says whether folding goes on.
    pub(super) fn fold(&self, records: &[Record]) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.fold_in_turn(records)
    }

    /// Folds up to a position if nobody else is at it, and the records are at hand and few.
    pub(super) fn help(&self, position: Position, store: &dyn Store) {
        let Ok(_turn) = self.turn.try_lock() else { return };
        let folded = self.live().position();
        if folded < position
            && let Some(batches) = store.newest(folded)
            && batches.iter().map(|records| records.len()).sum::<usize>() <= FEW
        {
            let _ = batches.iter().all(|records| self.fold_in_turn(records));
        }
    }

    fn fold_in_turn(&self, records: &[Record]) -> bool {
        if self.progress.borrow().stopped.is_some() {
            return false;
        }
        let live = self.live();
        let mut folded = 0;
        for record in records.iter().filter(|record| record.position > live.position()) {
            folded += 1;
            let folded = if self.strict { try_fold(&live, record) } else { fold(&live, record) };
            let Err(poison) = folded else { continue };
            if self.strict {
                self.stop(poison.reason);
                return false;
            }
            tracing::error!(
                stream = %poison.stream,
                position = %poison.position,
                reason = poison.reason,
                "an event cannot be folded: its stream is in quarantine, and nothing in it counts"
            );
        }
        self.moved();
        if let Some(keeper) = &self.keeper {
            keeper.folded(folded, || self.live.load_full());
        }
        true
    }

    fn moved(&self) {
        let position = self.live().position();
        self.progress
            .send_if_modified(|progress| std::mem::replace(&mut progress.position, position) != position);
    }

    pub(super) fn stop(&self, reason: String) {
        tracing::error!(%reason, "folding stopped: no request is answered from here on");
        self.progress.send_modify(|progress| progress.stopped = Some(reason));
    }

    /// Writes a snapshot now; `None` if none are kept, or there is nothing to keep.
    pub(super) async fn take_snapshot(&self) -> Result<Option<Position>, SnapshotError> {
        let Some(keeper) = &self.keeper else { return Ok(None) };
        keeper.take(self.live.load_full()).await
    }

    /// Writes a snapshot that is only to be compared.
    pub(super) async fn take_snapshot_apart(&self) -> Result<Option<Position>, SnapshotError> {
        let Some(keeper) = &self.keeper else { return Ok(None) };
        keeper.take_apart(self.live.load_full()).await
    }

    /// Writes a snapshot if that is worth it at the end.
    pub(super) async fn finish(&self) {
        let Some(keeper) = &self.keeper else { return };
        if keeper.is_worth_it()
            && self.progress.borrow().stopped.is_none()
            && let Err(error) = keeper.take(self.live.load_full()).await
        {
            tracing::warn!(%error, "no snapshot was written; the next start folds more");
        }
    }

    /// Where snapshots are kept, if they are.
    pub(super) fn snapshots(&self) -> Option<&Snapshots> {
        self.keeper.as_ref().map(|keeper| keeper.snapshots())
    }
}
