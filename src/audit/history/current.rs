//! The current file of the history, as a subscriber of the ledger. Knows: the store, the files. Must not know: what is in a
//! row, or what is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use grantbook_events::Position;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::error::HistoryError;
use super::file::{self, File, Opened};
use super::rows::{End, Writer, row_of};
use crate::ledger::{self, Batch, FollowError, Subscriber};
use crate::store::{Found, Store, StoreError};

/// The name of the subscriber.
pub const HISTORY: &str = "history";
/// How long rows wait for others to be written with while nothing waits for them: a page that many rows change is then
/// written once.
const GATHERS: Duration = Duration::from_millis(500);
/// How many events that could not be read are tried again at the start. A few are enough: the grantbook that wrote them
/// reads all of them.
const MAX_UNREADABLE: usize = 100;

#[derive(Debug)]
pub(super) struct Current {
    pub(super) store: Arc<dyn Store>,
    pub(super) dir: PathBuf,
    /// None before the first opening.
    pub(super) file: ArcSwapOption<File>,
    /// Of the same file; none once it is closed. Locked while rows are added, or another file takes the place of this one.
    pub(super) writer: Mutex<Option<Writer>>,
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
    pub(super) fn new(store: Arc<dyn Store>, dir: PathBuf) -> Self {
        Self {
            store,
            dir,
            file: ArcSwapOption::empty(),
            writer: Mutex::default(),
            is_repairing: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
        }
    }

    pub(super) fn file(&self) -> Result<Arc<File>, HistoryError> {
        self.file.load_full().ok_or_else(|| HistoryError::File("it is not open yet".to_owned()))
    }

    /// Where its rows end.
    pub(super) fn end(&self) -> Result<End, HistoryError> {
        Ok(self.writer.lock().as_ref().ok_or(StoreError::Closed)?.end)
    }

    /// Opens the current file, or makes one; one that does not fit the ledger is replaced.
    async fn open(self: &Arc<Self>, store: &dyn Store) -> Result<Opened, HistoryError> {
        let ledger = store.head().await?.identity;
        let dir = self.dir.clone();
        let (opened, is_sound, unreadable) = blocking(move || {
            let (file, writer) = file::open(&dir, ledger)?;
            let is_sound = file.read(|reader| reader.ends_with(writer.end))?;
            let unreadable = file.read(|reader| reader.unreadable(MAX_UNREADABLE))?;
            Ok(((file, writer), is_sound, unreadable))
        })
        .await?;
        let end = opened.1.end;
        let is_in_ledger = match end.seen() {
            Some(seen) => store.has(&seen).await? == Found::There,
            None => end.position == Position::START,
        };
        let why = if !is_in_ledger {
            if is_sound {
                return Err(StoreError::EndsEarly(refusal(&opened.0, end)).into());
            }
            "its end is not that of its last row"
        } else if can_read_any(store, &unreadable).await? {
            "events that could not be read when it was written can be read now"
        } else {
            return Ok(opened);
        };
        tracing::warn!(position = %end.position, why, "the history is built again");
        let dir = self.dir.clone();
        blocking(move || file::replace(&dir, opened)).await
    }
}

#[async_trait]
impl Subscriber for Arc<Current> {
    fn name(&self) -> &'static str {
        HISTORY
    }

    async fn checkpoint(&self, store: &dyn Store) -> Result<Position, FollowError> {
        if self.file.load().is_none() {
            let (file, writer) = self.open(store).await?;
            *self.writer.lock() = Some(writer);
            self.file.store(Some(file));
        }
        Ok(self.end()?.position)
    }

    async fn handle(&self, batch: Batch) -> Result<(), FollowError> {
        let current = Arc::clone(self);
        let insert = move || {
            let rows = batch.records().map(|record| row_of(record, &batch.read(record)));
            current.writer.lock().as_mut().ok_or(StoreError::Closed)?.insert(rows)
        };
        Ok(blocking(insert).await?)
    }

    fn gathers(&self) -> Duration {
        GATHERS
    }
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
