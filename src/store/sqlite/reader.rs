//! Reads, on connections of their own. Knows: the pool, the newest records in memory. Must not know: how records got
//! there.

use std::path::PathBuf;
use std::sync::Arc;

use grantbook_events::Position;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::schema::{Access, Log};
use super::tail::Tail;
use crate::store::{Record, StoreError};

/// How many reads run at once. More only wait for the same processors.
const CONNECTIONS: usize = 4;
/// How many records a subscription reads from the file at once.
const PAGE: usize = 1024;

/// A pool of read connections.
#[derive(Debug)]
pub(super) struct Readers {
    ledger: PathBuf,
    pub tail: Tail,
    idle: Mutex<Vec<Log>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(ledger: PathBuf) -> Self {
        Self { ledger, tail: Tail::default(), idle: Mutex::default(), permits: Semaphore::new(CONNECTIONS) }
    }

    /// Runs a read where it may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Log) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let idle = readers.idle.lock().pop();
            let log = idle.map_or_else(|| Log::open(&readers.ledger, Access::Read), Ok)?;
            let answer = read(&log)?;
            // A connection that failed is not used again.
            readers.idle.lock().push(log);
            Ok(answer)
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("a read broke off: {error}")))?
    }

    /// Closes the connections that are not in use; a later read opens one again.
    pub(super) fn close_idle(&self) {
        self.idle.lock().clear();
    }

    /// The next records after a position, from memory if they are there.
    pub(super) async fn after(self: Arc<Self>, position: Position) -> Result<Arc<Vec<Record>>, StoreError> {
        match self.tail.next(position) {
            Some(records) => Ok(records),
            None => self.run(move |log| log.page(position, PAGE).map(Arc::new)).await,
        }
    }
}
