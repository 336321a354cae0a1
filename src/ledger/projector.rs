//! Folds the store's records into the live projection, one after the other, for as long as the server
//! runs.

use std::sync::Arc;
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

#[derive(Debug)]
pub(super) struct Projector {
    progress: watch::Receiver<Progress>,
    task: JoinHandle<()>,
}

impl Projector {
    pub(super) fn start(store: Arc<dyn Store>, live: Arc<Live>) -> Self {
        let start = Progress { position: live.position(), caught_up: false, stopped: None };
        let (report, progress) = watch::channel(start);
        let task = tokio::spawn(run(store, live, report));
        Self { progress, task }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    pub(super) fn is_ready(&self) -> bool {
        let progress = self.progress.borrow();
        progress.caught_up && progress.stopped.is_none()
    }

    pub(super) fn stop(&self) {
        self.task.abort();
    }

    /// Waits until a position is folded; `false` if it never will be.
    pub(super) async fn reached(&self, position: Position) -> bool {
        let mut progress = self.progress.clone();
        let reached = progress.wait_for(|now| now.position >= position || now.stopped.is_some()).await;
        reached.is_ok_and(|now| now.position >= position)
    }

    pub(super) async fn caught_up(&self) -> Result<(), Progress> {
        let mut progress = self.progress.clone();
        match progress.wait_for(|now| now.caught_up || now.stopped.is_some()).await {
            Ok(now) if now.stopped.is_none() => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        Err(self.progress())
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(store: Arc<dyn Store>, live: Arc<Live>, report: watch::Sender<Progress>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let lost = match store.subscribe(live.position()).await {
            Err(error) => error,
            Ok(mut subscription) => loop {
                match subscription.next().await {
                    Signal::CaughtUp => {
                        report.send_modify(|progress| progress.caught_up = true);
                    }
                    Signal::Lost(error) => break error,
                    Signal::Records(records) => {
                        pause = FIRST_PAUSE;
                        if let Err(reason) = fold(&live, &records) {
                            tracing::error!(%reason, "folding stopped: no request is answered from here on");
                            report.send_modify(|progress| progress.stopped = Some(reason));
                            return;
                        }
                        report.send_modify(|progress| progress.position = live.position());
                    }
                }
            },
        };
        match lost {
            StoreError::Closed => return,
            // Reading it again would say the same.
            StoreError::Damaged { .. } | StoreError::NewerFormat { .. } => {
                tracing::error!(reason = %lost, "folding stopped: no request is answered from here on");
                report.send_modify(|progress| progress.stopped = Some(lost.to_string()));
                return;
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

fn fold(live: &Live, records: &[Record]) -> Result<(), String> {
    for record in records {
        let recorded = read(record).map_err(|error| error.to_string())?;
        live.apply(&recorded).map_err(|error| error.to_string())?;
    }
    Ok(())
}
