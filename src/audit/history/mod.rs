//! The history projection: one row an event, in a SQLite file of its own, which can be thrown away and built
//! again. Knows: the store, rows, files. Must not know: what is asked of it, or HTTP.
//!
//! The file follows the ledger by a subscription of its own, so that no request waits for it. Its position is
//! committed with its rows. A file that is of another ledger, of another version, damaged, or ahead of the
//! ledger is put aside and built anew.

mod check;
mod file;
mod follow;
mod leads;
mod proof;
mod query;
mod rows;
mod schema;
mod shown;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use grantbook_events::{AccountId, ClientId, InstallationId, Position, Timestamp, TokenId};
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinHandle;

pub use check::KeptRow;
use file::{File, Generations};
pub use file::{HistoryReader, StoredHistory, history_seen};
pub use leads::{KeptToken, Leads};
pub use query::{Filter, Order};
pub use rows::row_and_tokens;
pub use schema::VERSION as HISTORY_VERSION;
pub use shown::ShownRow;

use crate::store::{Store, StoreError};
use crate::tasks::Tasks;

/// How long a question waits for the history to reach the events it is about.
const REACHED_WITHIN: Duration = Duration::from_secs(5);

/// How many may read at once; the others wait for their turn.
const READS_AT_ONCE: usize = 16;

/// Why history does not answer.
#[derive(Debug, Clone, thiserror::Error)]
pub enum HistoryError {
    /// SQLite, or the disk, says no.
    #[error("the history file cannot be used: {0}")]
    File(String),
    /// The file is not what was written. It is built again.
    #[error(
        "the history file is damaged: {0}; it is being built again from the ledger, so ask again in a while (if this goes \
         on, the disk is broken)"
    )]
    Damaged(String),
    /// The file is behind the ledger, for longer than a question may wait.
    #[error("the history is at position {at} and has not reached {wanted} yet")]
    Behind {
        /// Where it is.
        at: Position,
        /// Where it has to be.
        wanted: Position,
    },
    /// The ledger cannot be followed any more.
    #[error("the history does not follow the ledger: {0}")]
    Stopped(String),
    /// The ledger cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<rusqlite::Error> for HistoryError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
                Self::Damaged(error.to_string())
            }
            _ => Self::File(error.to_string()),
        }
    }
}

impl From<std::io::Error> for HistoryError {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}

/// How far the history is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryProgress {
    /// The last position in it.
    pub position: Position,
    /// Why it does not go on, if it does not.
    pub stopped: Option<String>,
}

/// How rebuilt history compares with what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rebuilt {
    /// Every row was the same.
    Same,
    /// Rows were wrong; they are right now.
    Repaired,
    /// It was called off; nothing was changed.
    Cancelled,
}

/// The history of a ledger, kept up to date.
#[derive(Debug)]
pub struct History {
    inner: Arc<Inner>,
    tasks: Arc<Tasks>,
    task: Mutex<Option<JoinHandle<()>>>,
}

/// What the follower and those who ask share.
#[derive(Debug)]
struct Inner {
    store: Arc<dyn Store>,
    generations: Generations,
    /// What is asked; none before the first opening.
    current: ArcSwapOption<File>,
    progress: watch::Sender<HistoryProgress>,
    /// Somebody waits for what was not written yet.
    wanted: Notify,
    is_closed: AtomicBool,
    /// A damage was found, and a rebuild was begun for it.
    is_mending: AtomicBool,
    /// For those who read: each holds a thread and a connection.
    room: Arc<Semaphore>,
    /// Held by whoever adds rows, or puts another file in force.
    turn: Mutex<()>,
}

impl History {
    /// Starts keeping the history of a store in a directory. Must be called within a Tokio runtime.
    pub fn start(store: Arc<dyn Store>, dir: PathBuf) -> Arc<Self> {
        let start = HistoryProgress { position: Position::START, stopped: None };
        let inner = Arc::new(Inner {
            store,
            generations: Generations::new(dir),
            current: ArcSwapOption::empty(),
            progress: watch::Sender::new(start),
            wanted: Notify::new(),
            is_closed: AtomicBool::new(false),
            is_mending: AtomicBool::new(false),
            room: Arc::new(Semaphore::new(READS_AT_ONCE)),
            turn: Mutex::default(),
        });
        let tasks = Arc::new(Tasks::default());
        let (running, followed) = (tasks.begin("history"), Arc::clone(&inner));
        let task = tokio::spawn(async move {
            let _running = running;
            follow::run(followed).await;
        });
        Arc::new(Self { inner, tasks, task: Mutex::new(Some(task)) })
    }

    /// The tasks that it needs.
    pub fn tasks(&self) -> &Tasks {
        &self.tasks
    }

    /// How far it is.
    pub fn progress(&self) -> HistoryProgress {
        self.inner.progress.borrow().clone()
    }

    /// Waits until a position, which is in the ledger, is in the history too; for a few seconds at most.
    ///
    /// # Errors
    /// If it is not there in time, or never will be.
    pub async fn reached(&self, wanted: Position) -> Result<(), HistoryError> {
        let mut progress = self.inner.progress.subscribe();
        let is_there = |now: &HistoryProgress| now.position >= wanted || now.stopped.is_some();
        let reached = async {
            // One notification lets one batch go; there may be more before the position.
            while !is_there(&progress.borrow_and_update()) {
                self.inner.wanted.notify_one();
                if progress.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(REACHED_WITHIN, reached).await;
        let now = self.progress();
        match now.stopped {
            _ if now.position >= wanted => Ok(()),
            Some(why) => Err(HistoryError::Stopped(why)),
            None => Err(HistoryError::Behind { at: now.position, wanted }),
        }
    }

    /// Does something with the file on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl Fn(&HistoryReader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let room = Arc::clone(&self.inner.room).acquire_owned().await;
        let room = room.map_err(|closed| HistoryError::File(closed.to_string()))?;
        let inner = Arc::clone(&self.inner);
        let asking = tokio::task::spawn_blocking(move || {
            let _room = room;
            loop {
                let file = inner.current.load_full();
                let file = file.ok_or_else(|| HistoryError::File("it is not open yet".to_owned()))?;
                let answer = file.reader().and_then(|reader| ask(&reader));
                // Of a file that is not in force any more, nothing is left to read.
                let is_in_force = inner.current.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, &file));
                if answer.is_ok() || is_in_force {
                    return answer;
                }
            }
        });
        let answer = asking.await.map_err(|broke| HistoryError::File(broke.to_string()))?;
        if let Err(HistoryError::Damaged(what)) = &answer {
            follow::mend(&self.inner, what);
        }
        answer
    }

    /// Where the history is, and a digest of all its rows.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn digest_at(&self) -> Result<(Position, StateDigest), HistoryError> {
        self.ask(HistoryReader::state).await
    }

    /// Rows that pass a filter, at most so many.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn rows(
        &self,
        filter: Filter,
        order: Order,
        limit: usize,
    ) -> Result<Vec<HistoryRow>, HistoryError> {
        self.ask(move |reader| reader.rows(&filter, order, limit)).await
    }

    /// The last of the events up to a position that were recorded at a time or before, and whether others before it
    /// were recorded later.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn recorded_until(
        &self,
        time: Timestamp,
        end: Position,
    ) -> Result<(Position, bool), HistoryError> {
        self.ask(move |reader| {
            let filter = Filter { until: Some(time), up_to: Some(end), ..Filter::default() };
            let last = reader.rows(&filter, Order::NewestFirst, 1)?.pop();
            let position = last.map_or(Position::START, |last| last.position);
            Ok((position, reader.last_until(time)? < position))
        })
        .await
    }

    /// When the last event at or before a position was recorded; `None` if there is none.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn recorded_at(&self, position: Position) -> Result<Option<Timestamp>, HistoryError> {
        self.ask(move |reader| reader.recorded_at(position)).await
    }

    /// The installations on an account that any event up to a position was about, and their apps.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn installations_on(
        &self,
        account: AccountId,
        up_to: Position,
    ) -> Result<Vec<(InstallationId, Option<ClientId>)>, HistoryError> {
        self.ask(move |reader| reader.installations_on(&account, up_to)).await
    }

    /// The row of the event that issued a token.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn issue_of(&self, token: TokenId) -> Result<Option<HistoryRow>, HistoryError> {
        let filter =
            Filter { token: Some(token), event_type: Some("code-exchanged".to_owned()), ..Filter::default() };
        Ok(self.rows(filter, Order::OldestFirst, 1).await?.pop())
    }

    /// Builds the file again beside the one that is asked, and lets it take its place. `step` is told how many
    /// events are in it and the last of them, and says whether to go on.
    ///
    /// # Errors
    /// If the ledger cannot be read or the file not be written; nothing was changed then.
    pub async fn rebuild(
        &self,
        step: impl FnMut(u64, Position) -> bool + Send,
    ) -> Result<Rebuilt, HistoryError> {
        follow::rebuild(&self.inner, step).await
    }

    /// Stops following; what was committed stays.
    pub async fn close(&self) {
        self.tasks.stop();
        self.inner.is_closed.store(true, std::sync::atomic::Ordering::Release);
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(task) = task {
            task.abort();
            // Cancelled, as it was told.
            let _ = task.await;
        }
        if let Some(file) = self.inner.current.load_full() {
            let closing = tokio::task::spawn_blocking(move || {
                file.close();
                proof::write(file.path())
            });
            match closing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    tracing::warn!(%error, "the history is checked row by row at the next start");
                }
                Err(error) => tracing::warn!(%error, "the history file was left open"),
            }
        }
    }
}

impl Drop for History {
    fn drop(&mut self) {
        self.tasks.stop();
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}
