//! Folds the store's records into the live projection, one after the other, for as long as the server
//! runs.

use std::sync::Arc;
use std::time::Duration;

use grantbook_events::Position;
use tokio::task::JoinHandle;

use super::folder::{Folder, Progress};
use crate::store::{Signal, Store, StoreError};
use crate::tasks::{Running, Tasks};

/// The name of the task that folds.
pub const PROJECTOR: &str = "projector";
/// The pause before a lost subscription is taken up again, doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Projector {
    store: Arc<dyn Store>,
    folder: Arc<Folder>,
    tasks: Arc<Tasks>,
    task: JoinHandle<()>,
}

/// The end of the task, by whichever way it comes.
struct Ending {
    folder: Arc<Folder>,
    tasks: Arc<Tasks>,
    _running: Running,
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Nobody may wait for what nobody folds any more, or take what is folded for what is true.
        if !self.tasks.is_stopping() && self.folder.progress().stopped.is_none() {
            self.folder.stop("the task that folds has ended".to_owned());
        }
    }
}

impl Projector {
    pub(super) fn start(store: Arc<dyn Store>, folder: Arc<Folder>) -> Self {
        let tasks = Arc::new(Tasks::default());
        let ending = Ending {
            folder: Arc::clone(&folder),
            _running: tasks.begin(PROJECTOR),
            tasks: Arc::clone(&tasks),
        };
        let (of, into) = (Arc::clone(&store), Arc::clone(&folder));
        let task = tokio::spawn(async move {
            let _ending = ending;
            run(of, into).await;
        });
        Self { store, folder, tasks, task }
    }

    pub(super) fn progress(&self) -> Progress {
        self.folder.progress()
    }

    pub(super) fn is_ready(&self) -> bool {
        self.folder.is_ready()
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    pub(super) fn stop(&self) {
        self.tasks.stop();
        self.task.abort();
    }

    /// Waits until a position, which is in the store, is folded; `false` if it never will be.
    pub(super) async fn reached(&self, position: Position) -> bool {
        // Who waits may as well fold: it saves the way over the subscription and its task.
        self.folder.help(position, &*self.store);
        if self.folder.live().position() >= position {
            return true;
        }
        let mut progress = self.folder.watch();
        let reached = progress.wait_for(|now| now.position >= position || now.stopped.is_some()).await;
        reached.is_ok_and(|now| now.position >= position)
    }

    pub(super) async fn caught_up(&self) -> Result<(), Progress> {
        let mut progress = self.folder.watch();
        match progress.wait_for(|now| now.caught_up || now.stopped.is_some()).await {
            Ok(now) if now.stopped.is_none() => return Ok(()),
            Ok(_) | Err(_) => {}
        }
        Err(self.progress())
    }
}

impl Drop for Projector {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn run(store: Arc<dyn Store>, folder: Arc<Folder>) {
    let mut pause = FIRST_PAUSE;
    let mut is_restored = false;
    loop {
        match follow(&*store, &folder, &mut is_restored, &mut pause).await {
            None | Some(StoreError::Closed) => return,
            // Reading it again would say the same.
            Some(
                lost @ (StoreError::Damaged { .. }
                | StoreError::NewerFormat { .. }
                | StoreError::EndsEarly(_)),
            ) => {
                return folder.stop(lost.to_string());
            }
            Some(
                lost @ (StoreError::TooLarge { .. }
                | StoreError::EmptyAppend
                | StoreError::InUse(_)
                | StoreError::Target(_)
                | StoreError::CannotWrite(_)
                | StoreError::Unavailable(_)),
            ) => {
                tracing::warn!(reason = %lost, "the subscription was lost and is taken up again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// Folds until the store ends it, or folding ends (`None`).
async fn follow(
    store: &dyn Store,
    folder: &Folder,
    is_restored: &mut bool,
    pause: &mut Duration,
) -> Option<StoreError> {
    if !*is_restored {
        if let Err(error) = folder.restore(store).await {
            return Some(error);
        }
        *is_restored = true;
    }
    let mut subscription = match store.subscribe(folder.live().position()).await {
        Ok(subscription) => subscription,
        Err(error) => return Some(error),
    };
    loop {
        match subscription.next().await {
            Signal::CaughtUp => folder.caught_up(),
            Signal::UpTo(time) => folder.up_to(time),
            Signal::Lost(error) => return Some(error),
            Signal::Records(records) => {
                *pause = FIRST_PAUSE;
                if !folder.fold(&records) {
                    return None;
                }
            }
        }
    }
}
