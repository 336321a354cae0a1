//! Reads, on connections of their own. Knows: the pool, the head, how reads are held against it. Must not
//! know: how records got there.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::{Position, Revision, StreamName};
use rusqlite::Connection;
use tokio::sync::Semaphore;
use uuid::Uuid;

use super::heads::Heads;
use super::heads_file::HeadsFile;
use super::index_check::IndexCheck;
use super::rows::{self, StreamHead};
use super::schema::{Access, connect, damaged, file_error};
use super::tail::Tail;
use crate::store::follow::Source;
use crate::store::{MAX_PAGE, Record, StoreError};

/// How many reads run at once. More only wait for the same processors.
const CONNECTIONS: usize = 4;
/// How many records a subscription reads from the file at once.
const PAGE: usize = 1024;

/// A pool of read connections.
#[derive(Debug)]
pub(super) struct Readers {
    pub(super) ledger: PathBuf,
    pub(super) heads_path: PathBuf,
    pub(super) identity: Uuid,
    /// None for those who only read, maybe beside another process that serves the ledger.
    pub(super) heads: Option<Arc<Heads>>,
    pub(super) tail: Tail,
    idle: Mutex<Vec<Reader>>,
    permits: Semaphore,
}

#[derive(Debug)]
struct Reader {
    ledger: Connection,
    heads: Option<HeadsFile>,
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

    /// The records of a stream.
    pub(super) async fn stream(
        self: &Arc<Self>,
        stream: StreamName,
        from: Revision,
    ) -> Result<Vec<Record>, StoreError> {
        self.run(move |readers, reader| {
            let Some(head) = readers.head_of(reader, &stream)? else { return Ok(Vec::new()) };
            rows::walk(&reader.ledger, &readers.ledger, &stream, head, from)
        })
        .await
    }

    /// The next records of the whole ledger, which is known to go on to `head`.
    pub(super) async fn all(
        self: &Arc<Self>,
        after: Position,
        limit: usize,
        head: Position,
    ) -> Result<Vec<Record>, StoreError> {
        let limit = limit.min(MAX_PAGE);
        self.run(move |readers, reader| {
            let page = rows::page(&reader.ledger, &readers.ledger, after, limit)?;
            let last = page.last().map_or(after, |record| record.position);
            if page.len() < limit && last < head {
                let what = format!("the record after it is missing, although the ledger goes on to {head}");
                return Err(damaged(&readers.ledger, last, &what));
            }
            Ok(page)
        })
        .await
    }

    /// The position of the first record behind another, if it can be found.
    pub(super) async fn next_after(self: &Arc<Self>, position: Position) -> Option<Position> {
        let next = self.run(move |readers, reader| {
            let next = rows::next_after(&reader.ledger, position);
            next.map_err(|error| file_error(&readers.ledger, position, &error))
        });
        next.await.ok().flatten()
    }

    /// The last position in the file.
    pub(super) async fn last_position(self: &Arc<Self>) -> Result<Position, StoreError> {
        self.run(|readers, reader| rows::last_position(&reader.ledger, &readers.ledger)).await
    }

    /// Searches the whole log for a stream that was not found.
    pub(super) async fn look_again(self: &Arc<Self>, stream: StreamName) -> Result<bool, StoreError> {
        self.run(move |readers, reader| match &readers.heads {
            Some(heads) => heads.look_again(&stream, (&reader.ledger, &readers.ledger)),
            None => Ok(false),
        })
        .await
    }

    /// The index of streams, to be compared.
    pub(super) async fn index(self: &Arc<Self>) -> Result<Option<IndexCheck>, StoreError> {
        self.run(|readers, _| IndexCheck::read(&readers.heads_path, &readers.identity)).await
    }

    fn head_of(&self, reader: &Reader, stream: &StreamName) -> Result<Option<StreamHead>, StoreError> {
        let log = (&reader.ledger, self.ledger.as_path());
        match (&self.heads, &reader.heads) {
            (Some(heads), Some(file)) => heads.end_of(stream, file, log),
            // Beside another process nothing vouches for the file: the log is searched.
            _ => rows::scan_for_head(log.0, log.1, stream, Position::START),
        }
    }

    /// Runs a read where it may block.
    async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self, &Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let _permit = self.permits.acquire().await.map_err(|_| StoreError::Closed)?;
        let readers = Arc::clone(self);
        let task = tokio::task::spawn_blocking(move || {
            let idle = readers.lock().pop();
            let reader = idle.map_or_else(|| readers.open(), Ok)?;
            let answer = read(&readers, &reader)?;
            // A connection that failed is not used again.
            readers.lock().push(reader);
            Ok(answer)
        });
        task.await.map_err(|error| StoreError::Unavailable(format!("a read broke off: {error}")))?
    }

    fn open(&self) -> Result<Reader, StoreError> {
        let ledger = connect(&self.ledger, Access::Read)
            .map_err(|error| file_error(&self.ledger, Position::START, &error))?;
        let heads = self.heads.as_ref().map(|_| HeadsFile::open(&self.heads_path, false)).transpose()?;
        Ok(Reader { ledger, heads })
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
            None => self.all(after, PAGE, after).await.map(Arc::new),
        }
    }
}
