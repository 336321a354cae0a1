//! Reads, on connections of their own. Knows: the pool, the newest records in memory. Must not know: how records got
//! there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::Position;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::heads::Heads;
use super::heads_file::HeadsFile;
use super::schema::{Access, Log};
use super::tail::Tail;
use crate::store::follow::Source;
use crate::store::{Record, StoreError};

/// How many reads run at once. More only wait for the same processors.
const CONNECTIONS: usize = 4;
/// How many records a subscription reads from the file at once.
const PAGE: usize = 1024;

/// A pool of read connections.
#[derive(Debug)]
pub(super) struct Readers {
    pub ledger: PathBuf,
    pub heads_path: PathBuf,
    pub identity: Uuid,
    /// None if another process may serve the ledger.
    pub heads: Option<Arc<Heads>>,
    pub tail: Tail,
    idle: Mutex<Vec<Reader>>,
    permits: Semaphore,
}

/// One of the connections.
#[derive(Debug)]
pub(super) struct Reader {
    pub log: Log,
    /// What `Readers::heads` leads to.
    pub heads: Option<(Arc<Heads>, HeadsFile)>,
}

impl Readers {
    pub(super) fn new(
        ledger: PathBuf,
        heads_path: PathBuf,
        identity: Uuid,
        heads: Option<Arc<Heads>>,
    ) -> Self {
        let (idle, permits) = (Mutex::default(), Semaphore::new(CONNECTIONS));
        Self { ledger, heads_path, identity, heads, tail: Tail::default(), idle, permits }
    }

    /// Runs a read where it may block.
    pub(super) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let idle = readers.lock().pop();
            let reader = idle.map_or_else(|| readers.open(), Ok)?;
            let answer = read(&reader)?;
            // A connection that failed is not used again.
            readers.lock().push(reader);
            Ok(answer)
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("a read broke off: {error}")))?
    }

    fn open(&self) -> Result<Reader, StoreError> {
        let log = Log::open(&self.ledger, Access::Read)?;
        let file = || HeadsFile::open(&self.heads_path, false);
        let heads = self.heads.as_ref().map(|heads| Ok((Arc::clone(heads), file()?))).transpose()?;
        Ok(Reader { log, heads })
    }

    /// Closes the connections that are not in use; a later read opens one again.
    pub(super) fn close_idle(&self) {
        self.lock().clear();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Reader>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source for Arc<Readers> {
    async fn page(&self, after: Position) -> Result<Arc<Vec<Record>>, StoreError> {
        match self.tail.next(after) {
            Some(records) => Ok(records),
            None => self.run(move |reader| reader.log.page(after, PAGE).map(Arc::new)).await,
        }
    }
}
