//! The current file of the history, as a subscriber of the ledger. Knows: the store, the files. Must not know: what is in a
//! row, or what is asked.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use grantbook_events::Position;
use grantbook_projections::history::HistoryRow;
use tokio::task::spawn_blocking;
use uuid::Uuid;

use super::HistoryError;
use super::directory::Directory;
use super::file::File;
use super::rows::row_of;
use super::stored::End;
use super::writer::Sums;
use crate::ledger::{self, Batch, FollowError, Subscriber};
use crate::store::{Store, StoreError};

/// The name of the subscriber.
pub const HISTORY: &str = "history";
/// How long rows wait for others to be written with while nothing waits for them: a page that many rows change is then
/// written once.
const GATHERS: Duration = Duration::from_millis(500);
/// How many events that could not be read are tried again at the start. Those of a newer grantbook can all be read
/// by it.
const MAX_UNREADABLE: usize = 100;

#[derive(Debug)]
pub(super) struct Current {
    pub(super) store: Arc<dyn Store>,
    pub(super) directory: Directory,
    /// None before the first opening.
    pub(super) file: ArcSwapOption<File>,
    /// Held while rows are added, or another file takes the place of this one.
    pub(super) writing: Mutex<()>,
    /// Whether the file was found damaged, and is built again for that.
    pub(super) is_repairing: AtomicBool,
    pub(super) is_closed: AtomicBool,
}

impl From<HistoryError> for FollowError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::Store(error) => Self::Store(error),
            error => Self::Failed(error.to_string()),
        }
    }
}

impl Current {
    pub(super) fn new(store: Arc<dyn Store>, directory: Directory) -> Self {
        Self {
            store,
            directory,
            file: ArcSwapOption::empty(),
            writing: Mutex::default(),
            is_repairing: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn file(&self) -> Result<Arc<File>, HistoryError> {
        self.file.load_full().ok_or_else(|| HistoryError::File("it is not open yet".to_owned()))
    }

    fn insert(&self, batch: &Batch) -> Result<(), HistoryError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        insert(&*self.file()?, batch.records().map(|record| row_of(record, &batch.read(record))))
    }

    /// Opens the current file, or makes one; one that does not fit the ledger is replaced.
    async fn open(self: &Arc<Self>, store: &dyn Store) -> Result<Arc<File>, HistoryError> {
        let ledger = store.head().await?.identity;
        let current = Arc::clone(self);
        let (file, end, unreadable) = blocking(move || {
            let file = current.directory.open(ledger)?;
            let (end, unreadable) = (file.reader()?.end()?, file.reader()?.unreadable(MAX_UNREADABLE)?);
            Ok((file, end, unreadable))
        })
        .await?;
        let unusable = if !is_in_ledger(store, end).await? {
            let reader = file.reader()?;
            if blocking(move || reader.ends_with(end)).await? {
                return Err(StoreError::EndsEarly(refusal(&file, end)).into());
            }
            "its end is not that of its last row"
        } else if can_read_any(store, &unreadable).await? {
            "events that could not be read when it was written can be read now"
        } else {
            return Ok(file);
        };
        tracing::warn!(position = %end.position, why = unusable, "the history is built again");
        self.replace(file, ledger).await
    }

    async fn replace(self: &Arc<Self>, file: Arc<File>, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        let current = Arc::clone(self);
        blocking(move || current.directory.replace(&file, ledger)).await
    }
}

#[async_trait]
impl Subscriber for Arc<Current> {
    fn name(&self) -> &'static str {
        HISTORY
    }

    async fn checkpoint(&self, store: &dyn Store) -> Result<Position, FollowError> {
        if self.file.load().is_none() {
            self.file.store(Some(self.open(store).await?));
        }
        Ok(sums(&*self.file()?)?.position)
    }

    async fn handle(&self, batch: Batch) -> Result<(), FollowError> {
        let current = Arc::clone(self);
        Ok(blocking(move || current.insert(&batch)).await?)
    }

    fn gathers(&self) -> Duration {
        GATHERS
    }
}

/// Adds rows to a file.
pub(super) fn insert(file: &File, rows: impl IntoIterator<Item = HistoryRow>) -> Result<(), HistoryError> {
    file.writer().as_mut().ok_or(StoreError::Closed)?.insert(rows)
}

/// Where the rows of a file end, and what they add up to.
pub(super) fn sums(file: &File) -> Result<Sums, HistoryError> {
    Ok(file.writer().as_ref().ok_or(StoreError::Closed)?.sums())
}

/// Why the ledger is not followed when it does not have the event at the end.
fn refusal(file: &File, end: End) -> String {
    format!(
        "{} has seen position {}, and the ledger does not have that event there: events that were acknowledged are \
         missing, or it is of another ledger and has to be moved away",
        file.path().display(),
        end.position
    )
}

/// What is at a position is the first record after the one before: positions are not counted with.
async fn is_in_ledger(store: &dyn Store, end: End) -> Result<bool, StoreError> {
    let Some(event_id) = end.event_id else { return Ok(end.position == Position::START) };
    let there = store.read_all(end.previous, 1).await?;
    Ok(there.iter().any(|record| record.position == end.position && record.event_id == event_id))
}

/// Whether this grantbook can read an event that the one before could not.
async fn can_read_any(store: &dyn Store, unreadable: &[(Position, Position)]) -> Result<bool, StoreError> {
    for (previous, position) in unreadable {
        let there = store.read_all(*previous, 1).await?;
        if there.iter().any(|record| record.position == *position && ledger::read(record).is_ok()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Does something on a thread that may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, HistoryError> + Send + 'static,
) -> Result<T, HistoryError> {
    let done = spawn_blocking(work).await;
    done.map_err(|broke| HistoryError::File(broke.to_string()))?
}
