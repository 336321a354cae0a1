//! One file of the history and its connections. Knows: SQLite. Must not know: which file is the current one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, OpenFlags};
use uuid::Uuid;

use super::HistoryError;
use super::schema::is_of;
use super::writer::Writer;
use crate::store::database::{self, Checked};

/// The most connections kept for the next readers: each has a cache of up to 2 MB.
const MAX_IDLE: usize = 4;
/// The cache of the connection that writes, in KiB.
const WRITER_CACHE_KIB: i64 = 65_536;
/// How long the log becomes before its pages are copied into the file, 64 MiB: a page that changes often is then copied
/// once.
const CHECKPOINT_PAGES: i64 = 4_000;

#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    writer: Mutex<Option<Writer>>,
    idle: Mutex<Vec<Connection>>,
    is_closed: AtomicBool,
}

impl File {
    /// Opens a file that is what was written: it is as it was closed, or all of it is looked at.
    pub(super) fn open_checked(path: PathBuf, ledger: Uuid) -> Result<Arc<Self>, HistoryError> {
        let damaged = |what: &str| Err(HistoryError::Damaged(what.to_owned()));
        let checked = database::take_checksum(&path)?;
        if checked == Checked::Changed {
            return damaged("it is not as it was closed");
        }
        let file = Arc::new(Self::open(path, ledger)?);
        if checked == Checked::AsClosed || file.reader()?.is_intact()? {
            return Ok(file);
        }
        damaged("its rows are not what was written")
    }

    pub(super) fn open(path: PathBuf, ledger: Uuid) -> Result<Self, HistoryError> {
        let conn = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // What a power cut takes is followed again; the ledger is what must not be lost.
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
        conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        if let Some(why) = is_of(&conn, ledger)? {
            return Err(HistoryError::File(why));
        }
        let writer = Mutex::new(Some(Writer::new(conn)?));
        Ok(Self { path, writer, idle: Mutex::default(), is_closed: AtomicBool::new(false) })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The one connection that writes; none once it is closed.
    pub(super) fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn reader(self: &Arc<Self>) -> Result<HistoryReader, HistoryError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => database::open_to_read(&self.path)?,
        };
        Ok(HistoryReader { conn: Some(conn), file: Some(Arc::clone(self)) })
    }

    /// Closes what is not in use.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        *self.writer() = None;
    }
}

/// A connection that reads.
#[derive(Debug)]
pub struct HistoryReader {
    conn: Option<Connection>,
    /// Keeps the connection for the next reader.
    file: Option<Arc<File>>,
}

impl HistoryReader {
    /// A reader of a file that another process may write.
    pub(super) fn of(conn: Connection) -> Self {
        Self { conn: Some(conn), file: None }
    }

    pub(super) fn conn(&self) -> Result<&Connection, HistoryError> {
        // It is taken only when this is dropped.
        self.conn.as_ref().ok_or_else(|| HistoryError::File("it is closed".to_owned()))
    }
}

impl Drop for HistoryReader {
    fn drop(&mut self) {
        if let (Some(conn), Some(file)) = (self.conn.take(), &self.file)
            && !file.is_closed.load(Ordering::Acquire)
        {
            let mut idle = file.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < MAX_IDLE {
                idle.push(conn);
            }
        }
    }
}
