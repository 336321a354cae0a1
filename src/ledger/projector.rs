//! Folds the store's records into the live projection, one after the other, for as long as the server
//! runs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use grantbook_events::Position;
use grantbook_projections::live::Live;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::recorded::read;
use crate::store::{Record, Signal, Store, StoreError};

/// The pause before a lost subscription is taken up again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

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

/// Folds records into the live projection: each once and in order, whoever brings them.
#[derive(Debug)]
struct Folder {
    live: Arc<Live>,
    turn: Mutex<()>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug)]
pub(super) struct Projector {
    store: Arc<dyn Store>,
    folder: Arc<Folder>,
    task: JoinHandle<()>,
}

impl Projector {
    pub(super) fn start(store: Arc<dyn Store>, live: Arc<Live>) -> Self {
        let start = Progress { position: live.position(), caught_up: false, stopped: None };
        let folder = Arc::new(Folder { live, turn: Mutex::default(), progress: watch::Sender::new(start) });
        let task = tokio::spawn(run(Arc::clone(&store), Arc::clone(&folder)));
        Self { store, folder, task }
    }

    pub(super) fn progress(&self) -> Progress {
        self.folder.progress.borrow().clone()
    }

    pub(super) fn is_ready(&self) -> bool {
        let progress = self.folder.progress.borrow();
        progress.caught_up && progress.stopped.is_none()
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }

    /// Waits until a position, which is in the store, is folded; `false` if it never will be.
    pub(super) async fn reached(&self, position: Position) -> bool {
        // Who waits may as well fold: it saves the way over the subscription and its task.
        self.folder.help(position, &*self.store);
        if self.folder.live.position() >= position {
            return true;
        }
        let mut progress = self.folder.progress.subscribe();
        let reached = progress.wait_for(|now| now.position >= position || now.stopped.is_some()).await;
        reached.is_ok_and(|now| now.position >= position)
    }

    pub(super) async fn caught_up(&self) -> Result<(), Progress> {
        let mut progress = self.folder.progress.subscribe();
        match progress.wait_for(|now| now.caught_up || now.stopped.is_some()).await {
            Ok(now) if now.stopped.is_none() => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        Err(self.progress())
    }
}

impl Folder {
    /// Folds what is not folded yet; says whether folding goes on.
    fn fold(&self, records: &[Record]) -> bool {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        self.fold_in_turn(records)
    }

    /// Folds up to a position if nobody else is at it and the records are at hand.
    fn help(&self, position: Position, store: &dyn Store) {
        let Ok(_turn) = self.turn.try_lock() else { return };
        if self.live.position() < position
            && let Some(batches) = store.newest(self.live.position())
        {
            let _ = batches.iter().all(|records| self.fold_in_turn(records));
        }
    }

    fn fold_in_turn(&self, records: &[Record]) -> bool {
        if self.progress.borrow().stopped.is_some() {
            return false;
        }
        let folded =
            records.iter().filter(|record| record.position > self.live.position()).try_for_each(|record| {
                let recorded = read(record).map_err(|error| error.to_string())?;
                self.live.apply(&recorded).map_err(|error| error.to_string())
            });
        match folded {
            Ok(()) => {
                let position = self.live.position();
                self.progress.send_if_modified(|progress| {
                    std::mem::replace(&mut progress.position, position) != position
                });
                true
            }
            Err(reason) => {
                self.stop(reason);
                false
            }
        }
    }

    fn stop(&self, reason: String) {
        tracing::error!(%reason, "folding stopped: no request is answered from here on");
        self.progress.send_modify(|progress| progress.stopped = Some(reason));
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(store: Arc<dyn Store>, folder: Arc<Folder>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match store.subscribe(folder.live.position()).await {
            Err(error) => error,
            Ok(mut subscription) => loop {
                match subscription.next().await {
                    Signal::CaughtUp => folder.progress.send_modify(|progress| progress.caught_up = true),
                    Signal::Lost(error) => break error,
                    Signal::Records(records) => {
                        pause = FIRST_PAUSE;
                        if !folder.fold(&records) {
                            return;
                        }
                    }
                }
            },
        };
        match lost {
            StoreError::Closed => return,
            // Reading it again would say the same.
            StoreError::Damaged { .. } | StoreError::NewerFormat { .. } => {
                return folder.stop(lost.to_string());
            }
            StoreError::TooLarge { .. }
            | StoreError::EmptyAppend
            | StoreError::InUse(_)
            | StoreError::CannotWrite(_)
            | StoreError::Unavailable(_) => {
                tracing::warn!(reason = %lost, "the subscription was lost and is taken up again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}
