//! The subscriber that folds the ledger into the live projection. Knows: the live projection, its snapshots, the
//! quarantine. Must not know: where records come from.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use async_trait::async_trait;
use grantbook_events::{LedgerId, Position};
use grantbook_projections::live::Live;
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::follow::{Batch, Subscriber};
use super::loss;
use super::recorded::fold_event;
use super::snapshots::{SnapshotError, SnapshotWriter, Snapshots};
use super::stopped::FollowError;
use crate::clock::Clock;
use crate::store::Store;

/// The name of the subscriber.
pub const LIVE: &str = "live";

#[derive(Debug)]
pub(super) struct LiveProjection {
    live: ArcSwap<Live>,
    /// Held while records are folded, or another copy is put in place.
    folding: Mutex<()>,
    /// Whether an event that cannot be folded stops the subscriber, instead of quarantining its stream.
    strict: bool,
    writer: Option<Arc<SnapshotWriter>>,
    /// Where an operator's word about a loss is until it is recorded, and what time it is then.
    words: Option<(PathBuf, Arc<dyn Clock>)>,
    restored: OnceCell<()>,
}

impl LiveProjection {
    pub(super) fn new(
        strict: bool,
        writer: Option<SnapshotWriter>,
        words: Option<(PathBuf, Arc<dyn Clock>)>,
    ) -> Self {
        Self {
            live: ArcSwap::from_pointee(Live::new()),
            folding: Mutex::default(),
            strict,
            writer: writer.map(Arc::new),
            words,
            restored: OnceCell::new(),
        }
    }

    pub(super) fn get(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    pub(super) const fn is_strict(&self) -> bool {
        self.strict
    }

    /// Records what an operator said at the start, and begins with the newest snapshot that can be used, if there is one.
    async fn restore(&self, store: &dyn Store) -> Result<(), FollowError> {
        // A store that is checked once it is reached keeps the word then.
        let ledger = store.head().await?.identity;
        if let Some((dir, clock)) = &self.words {
            loss::record(store, LedgerId::new(ledger), &**clock, dir).await?;
        }
        let Some(writer) = &self.writer else { return Ok(()) };
        writer.belongs_to(ledger);
        let clearing = Arc::clone(writer);
        // If it panicked, that was reported; nothing depends on it.
        let _ = tokio::task::spawn_blocking(move || clearing.clear_unfinished()).await;
        if let Some(live) = writer.snapshots().newest(store).await? {
            writer.begin_with(&live);
            self.live.store(Arc::new(live));
        }
        Ok(())
    }

    /// Puts another copy of the live projection in the place of this one, and gives the old one.
    ///
    /// # Errors
    /// The copy, if it is not as far as this one.
    pub(super) fn adopt(&self, live: Arc<Live>) -> Result<Arc<Live>, Arc<Live>> {
        let _folding = self.folding.lock();
        if live.position() < self.get().position() {
            return Err(live);
        }
        Ok(self.live.swap(live))
    }

    fn fold(&self, batch: &Batch) -> Result<(), FollowError> {
        let _folding = self.folding.lock();
        let live = self.get();
        let mut folded = 0;
        for record in batch.records().filter(|record| record.position > live.position()) {
            let Err(poison) = fold_event(&live, record, batch.read(record), self.strict) else {
                folded += 1;
                continue;
            };
            if self.strict {
                return Err(FollowError::Stopped(poison.reason));
            }
            folded += 1;
            tracing::error!(
                stream = %poison.stream,
                position = %poison.position,
                reason = poison.reason,
                "an event cannot be folded: its stream is in quarantine, and nothing in it counts"
            );
        }
        if let Some(writer) = &self.writer {
            writer.folded(folded, || self.live.load_full());
        }
        Ok(())
    }

    /// Writes a snapshot now; `None` if none are kept, or there is nothing to keep.
    pub(super) async fn take_snapshot(&self) -> Result<Option<Position>, SnapshotError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        writer.take(self.live.load_full()).await
    }

    /// Writes a snapshot that is only to be compared.
    pub(super) async fn take_snapshot_apart(&self) -> Result<Option<Position>, SnapshotError> {
        let Some(writer) = &self.writer else { return Ok(None) };
        writer.take_apart(self.live.load_full()).await
    }

    /// Writes a snapshot if that is worth it at the end.
    pub(super) async fn finish(&self) {
        let Some(writer) = &self.writer else { return };
        if writer.is_worth_it()
            && let Err(error) = writer.take(self.live.load_full()).await
        {
            tracing::warn!(%error, "no snapshot was written; the next start folds more");
        }
    }

    /// Where snapshots are kept, if they are.
    pub(super) fn snapshots(&self) -> Option<&Snapshots> {
        self.writer.as_ref().map(|writer| writer.snapshots())
    }
}

#[async_trait]
impl Subscriber for LiveProjection {
    fn name(&self) -> &'static str {
        LIVE
    }

    async fn checkpoint(&self, store: &dyn Store) -> Result<Position, FollowError> {
        self.restored.get_or_try_init(|| self.restore(store)).await?;
        Ok(self.get().position())
    }

    async fn handle(&self, batch: Batch) -> Result<(), FollowError> {
        self.fold(&batch)
    }
}
