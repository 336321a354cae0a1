//! The history projection: one row an event, in a SQLite file of its own, which can be thrown away and built
//! again. Knows: the ledger, rows, files. Must not know: what is asked of it, or HTTP.
//!
//! The file is a subscriber of the ledger, so that no request waits for it. Its position is committed with its rows. A file
//! that is of another version, damaged, or of another ledger is removed and built again.

mod check;
mod current;
mod error;
mod file;
mod query;
mod rebuild;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use grantbook_events::{AccountId, ClientId, InstallationId, Position, Timestamp, TokenId};
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;
use tokio::sync::Semaphore;

use current::Current;
pub use current::HISTORY;
pub use error::HistoryError;
pub use file::{HistoryReader, StoredHistory, history_seen};
pub use query::{Filter, Order};
pub use rebuild::Rebuilt;
pub use rows::{StoredRow, VERSION as HISTORY_VERSION, digest_of, row_of};

use crate::ledger::{Follower, Ledger, Progress, Subscriber};
use crate::store::Store;
use crate::tasks::Tasks;

/// How long a question waits for the history to reach the events it is about.
const REACHED_WITHIN: Duration = Duration::from_secs(5);

/// How many may read at once; the others wait.
const READS_AT_ONCE: usize = 16;

/// The history of a ledger, kept up to date.
#[derive(Debug)]
pub struct History {
    current: Arc<Current>,
    follower: Follower,
    /// Each reader holds a thread and a connection.
    readers: Arc<Semaphore>,
}

impl History {
    /// Starts keeping the history of a ledger in a directory. Must be called within a Tokio runtime.
    pub fn start(ledger: &Ledger, dir: PathBuf) -> Arc<Self> {
        Self::follow(Arc::clone(ledger.store()), dir, |subscriber| ledger.follow(subscriber))
    }

    /// As [`Self::start`], of a store that nothing else here follows.
    pub fn of(store: Arc<dyn Store>, dir: PathBuf) -> Arc<Self> {
        Self::follow(Arc::clone(&store), dir, |subscriber| Follower::of(store, subscriber))
    }

    fn follow(
        store: Arc<dyn Store>,
        dir: PathBuf,
        follow: impl FnOnce(Arc<dyn Subscriber>) -> Follower,
    ) -> Arc<Self> {
        let current = Arc::new(Current::new(store, dir));
        let follower = follow(Arc::new(Arc::clone(&current)));
        Arc::new(Self { current, follower, readers: Arc::new(Semaphore::new(READS_AT_ONCE)) })
    }

    /// The tasks that it needs.
    pub fn tasks(&self) -> &Tasks {
        self.follower.tasks()
    }

    pub fn progress(&self) -> Progress {
        self.follower.progress()
    }

    /// Waits until a position, which is in the ledger, is in the history too; for a few seconds at most.
    ///
    /// # Errors
    /// If it is not there in time, or never will be.
    pub async fn reached(&self, wanted: Position) -> Result<(), HistoryError> {
        let _ = tokio::time::timeout(REACHED_WITHIN, self.follower.reached(wanted)).await;
        let now = self.progress();
        match now.stopped {
            _ if now.position >= wanted => Ok(()),
            Some(why) => Err(HistoryError::Stopped(why.to_string())),
            None => Err(HistoryError::Behind { at: now.position, wanted }),
        }
    }

    /// Asks the file on a thread that may block.
    async fn ask<T: Send + 'static>(
        &self,
        ask: impl Fn(&HistoryReader) -> Result<T, HistoryError> + Send + 'static,
    ) -> Result<T, HistoryError> {
        let room = Arc::clone(&self.readers).acquire_owned().await;
        let room = room.map_err(|closed| HistoryError::File(closed.to_string()))?;
        let current = Arc::clone(&self.current);
        let answer = current::blocking(move || {
            let _room = room;
            loop {
                let file = current.file()?;
                let answer = file.read(&ask);
                // Of a file that is not the current one any more, nothing may be left to read.
                let is_current = current.file.load().as_ref().is_some_and(|now| Arc::ptr_eq(now, &file));
                if answer.is_ok() || is_current {
                    return answer;
                }
            }
        });
        let answer = answer.await;
        if let Err(HistoryError::Damaged(what)) = &answer {
            rebuild::repair(&self.current, what);
        }
        answer
    }

    /// Where the history is, and a digest of all its rows.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn digest_at(&self) -> Result<(Position, StateDigest), HistoryError> {
        self.ask(|reader| reader.end().map(|end| (end.position, end.digest))).await
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
        let filter = Filter { up_to: Some(position), ..Filter::default() };
        Ok(self.rows(filter, Order::NewestFirst, 1).await?.pop().map(|last| last.recorded_at))
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
        let filter = Filter { account: Some(account), up_to: Some(up_to), ..Filter::default() };
        self.ask(move |reader| {
            let mut found = BTreeSet::new();
            reader.each_row(&filter, Order::OldestFirst, usize::MAX, |row| {
                found.extend(row.installation_id.map(|installation| (installation, row.client_id)));
            })?;
            Ok(found.into_iter().collect())
        })
        .await
    }

    /// The row of the event that issued a token.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub async fn issue_of(&self, token: TokenId) -> Result<Option<HistoryRow>, HistoryError> {
        // Nothing names a token before the event that issues it.
        let filter = Filter { token: Some(token), ..Filter::default() };
        Ok(self.rows(filter, Order::OldestFirst, 1).await?.pop())
    }

    /// Builds the file again beside the current one, and puts it in its place. `step` gets how many events are in it and the
    /// last position, and says whether to go on.
    ///
    /// # Errors
    /// If the ledger cannot be read or the file not be written; nothing was changed then.
    pub async fn rebuild(
        &self,
        step: impl FnMut(u64, Position) -> bool + Send,
    ) -> Result<Rebuilt, HistoryError> {
        rebuild::rebuild(&self.current, step).await
    }

    /// Stops following; what was committed stays.
    pub async fn close(&self) {
        self.current.is_closed.store(true, Ordering::Release);
        self.follower.stopped().await;
        let Ok(file) = self.current.file() else { return };
        let current = Arc::clone(&self.current);
        let closed = current::blocking(move || {
            file.close();
            // The last connection to close moves the log into the file, which one that only reads cannot do.
            drop(current.writer.lock().take());
            Ok(crate::store::database::write_checksum(file.path())?)
        });
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the history is checked row by row at the next start");
        }
    }
}
