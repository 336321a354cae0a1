//! The files of the history: which of them is in force, and connections to it. Knows: SQLite and names. Must not
//! know: what is in a file.
//!
//! A file is named after its generation. It gets its name when it is whole; so the highest generation is in
//! force, and what is below it is only kept until that has been seen to open.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::{EventId, Position, Timestamp};
use grantbook_projections::live::StateDigest;
use rusqlite::{Connection, OpenFlags, OptionalExtension as _};
use uuid::Uuid;

use super::HistoryError;
use super::proof::{self, Proof};
use super::rows::{COLUMNS, Writer, read};
use super::schema::{self, is_of};
use crate::store::{Seen, SeenMark, open_database_to_read, private};

/// The most connections kept for the next who read: each has a cache of up to 2 MB.
const IDLE: usize = 4;

/// The files in a directory.
#[derive(Debug)]
pub(super) struct Generations {
    dir: PathBuf,
}

impl Generations {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.dir.join(format!("history-{generation}.db"))
    }

    /// The generations there are, the newest first.
    fn there(&self) -> Result<Vec<u64>, HistoryError> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("history-")?.strip_suffix(".db"));
            found.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    /// Opens the newest file that is one of this ledger, or makes one, and removes what is left of others.
    pub(super) fn open(&self, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        private::create_dir_all(&self.dir)?;
        let there = self.there()?;
        let mut in_force = None;
        for generation in &there {
            match File::open_proven(self.path(*generation), ledger) {
                Ok(file) => {
                    in_force = Some((*generation, file));
                    break;
                }
                Err(error) => {
                    let path = self.path(*generation);
                    tracing::warn!(path = %path.display(), %error, "a history file is of no use and is built anew");
                }
            }
        }
        for generation in
            there.iter().filter(|there| in_force.as_ref().is_none_or(|(kept, _)| kept != *there))
        {
            remove(&self.path(*generation))?;
        }
        remove(&self.building())?;
        match in_force {
            Some((_, file)) => Ok(file),
            None => {
                let path = self.path(there.first().map_or(1, |newest| newest + 1));
                File::make(&path, ledger)?;
                Ok(Arc::new(File::open(path, ledger)?))
            }
        }
    }

    fn building(&self) -> PathBuf {
        self.dir.join("history.building")
    }

    /// Throws a file away and makes an empty one.
    pub(super) fn begin_anew(&self, old: &File, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        old.close();
        let path = self.path(self.there()?.first().map_or(1, |newest| newest + 1));
        File::make(&path, ledger)?;
        let file = File::open(path, ledger)?;
        remove(&old.path)?;
        Ok(Arc::new(file))
    }

    /// An empty file that is not in force.
    pub(super) fn begin_beside(&self, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        remove(&self.building())?;
        File::make(&self.building(), ledger)?;
        Ok(Arc::new(File::open(self.building(), ledger)?))
    }

    /// Gives a file that is whole a name, and opens it.
    pub(super) fn put_in_force(&self, built: &File, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        built.close();
        let path = self.path(self.there()?.first().map_or(1, |newest| newest + 1));
        fs::rename(self.building(), &path)?;
        Ok(Arc::new(File::open(path, ledger)?))
    }

    /// Removes a file that nobody finds any more.
    pub(super) fn put_out_of_force(&self, old: &File) {
        old.close();
        if let Err(error) = remove(&old.path) {
            // The next start removes it.
            tracing::warn!(%error, "a history file that is not in force any more cannot be removed");
        }
    }

    pub(super) fn give_up_building(&self) {
        if let Err(error) = remove(&self.building()) {
            tracing::warn!(%error, "a history file that is not needed cannot be removed");
        }
    }
}

/// Removes a database and what SQLite keeps beside it.
fn remove(path: &Path) -> Result<(), HistoryError> {
    for suffix in ["", "-wal", "-shm", proof::SUFFIX] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// Where the rows of a file end.
#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    pub position: Position,
    pub event_id: Option<EventId>,
    pub previous: Position,
}

/// One file, and its connections.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    writer: Mutex<Option<Writer>>,
    idle: Mutex<Vec<Connection>>,
    is_closed: AtomicBool,
}

impl File {
    /// Makes a file. It gets its name when it is whole, so that nobody finds one that is only begun.
    fn make(path: &Path, ledger: Uuid) -> Result<(), HistoryError> {
        let begun = path.with_extension("begun");
        remove(&begun)?;
        drop(private::open_file(&begun)?);
        let conn = Connection::open(&begun)?;
        conn.pragma_update(None, "journal_mode", "WAL")?;
        schema::make(&conn, ledger)?;
        conn.close().map_err(|(_, error)| error)?;
        Ok(fs::rename(&begun, path)?)
    }

    /// Opens a file that is what was written: it was closed so, or all of it is looked at.
    fn open_proven(path: PathBuf, ledger: Uuid) -> Result<Arc<Self>, HistoryError> {
        let damaged = |what: &str| Err(HistoryError::Damaged(what.to_owned()));
        match proof::take(&path)? {
            Proof::Refuted => damaged("it is not what was closed"),
            Proof::Proven => Ok(Arc::new(Self::open(path, ledger)?)),
            Proof::Missing => {
                let file = Arc::new(Self::open(path, ledger)?);
                let whole = file.reader().and_then(|reader| reader.is_whole());
                match whole {
                    Ok(true) => Ok(file),
                    Ok(false) => damaged("its rows are not what was written"),
                    Err(error) => Err(error),
                }
            }
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn open(path: PathBuf, ledger: Uuid) -> Result<Self, HistoryError> {
        let conn = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        // What a power cut takes is followed again; the ledger is what must not be lost.
        conn.pragma_update(None, "synchronous", "NORMAL")?;
        conn.pragma_update(None, "cache_size", -65_536)?;
        if let Some(why) = is_of(&conn, ledger)? {
            return Err(HistoryError::File(why));
        }
        let writer = Mutex::new(Some(Writer::new(conn)?));
        Ok(Self { path, writer, idle: Mutex::default(), is_closed: AtomicBool::new(false) })
    }

    /// Why the ledger is not followed when it does not have the event at the end.
    pub(super) fn refusal(&self, end: End) -> String {
        format!(
            "{} has seen position {}, and the ledger does not have that event there: events that were acknowledged are              missing, or it is of another ledger and has to be moved away",
            self.path.display(),
            end.position
        )
    }

    /// The one connection that writes; none after closing.
    pub(super) fn writer(&self) -> MutexGuard<'_, Option<Writer>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn end(self: &Arc<Self>) -> Result<End, HistoryError> {
        self.reader()?.end()
    }

    /// A connection that reads.
    pub(super) fn reader(self: &Arc<Self>) -> Result<HistoryReader, HistoryError> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let conn = match idle {
            Some(conn) => conn,
            None => open_to_read(&self.path)?,
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

fn open_to_read(path: &Path) -> Result<Connection, HistoryError> {
    Ok(open_database_to_read(path)?)
}

/// What history there is in a directory.
#[derive(Debug)]
pub enum StoredHistory {
    /// None.
    None,
    /// One of the ledger.
    Here(HistoryReader),
    /// One that is of no use.
    Other {
        /// The file.
        path: PathBuf,
        /// Why it is of no use.
        why: String,
    },
}

/// A look at the rows.
#[derive(Debug)]
pub struct HistoryReader {
    conn: Option<Connection>,
    file: Option<Arc<File>>,
}

impl HistoryReader {
    /// The history in a directory, beside whoever keeps it.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(dir: &Path, ledger: Uuid) -> Result<StoredHistory, HistoryError> {
        let generations = Generations::new(dir.to_owned());
        let Some(newest) = generations.there()?.first().copied() else { return Ok(StoredHistory::None) };
        let path = generations.path(newest);
        let conn = open_to_read(&path)?;
        match is_of(&conn, ledger)? {
            None => Ok(StoredHistory::Here(Self { conn: Some(conn), file: None })),
            Some(why) => Ok(StoredHistory::Other { path, why }),
        }
    }

    pub(super) fn conn(&self) -> Result<&Connection, HistoryError> {
        // It is taken only when this goes.
        self.conn.as_ref().ok_or_else(|| HistoryError::File("it is closed".to_owned()))
    }

    /// Where the rows end, and their digest.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn state(&self) -> Result<(Position, StateDigest), HistoryError> {
        let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
        let (position, digest): (i64, [u8; 32]) =
            self.conn()?.query_row("SELECT position, digest FROM state", (), read)?;
        Ok((Position::new(position.cast_unsigned()), StateDigest::from_bytes(digest)))
    }

    pub(super) fn end(&self) -> Result<End, HistoryError> {
        let read = |row: &rusqlite::Row<'_>| {
            let (position, previous): (i64, i64) = (row.get(0)?, row.get(2)?);
            let event_id: Option<[u8; 16]> = row.get(1)?;
            Ok(End {
                position: Position::new(position.cast_unsigned()),
                event_id: event_id.map(|id| EventId::new(Uuid::from_bytes(id))),
                previous: Position::new(previous.cast_unsigned()),
            })
        };
        Ok(self.conn()?.query_row("SELECT position, event_id, previous FROM state", (), read)?)
    }

    /// Whether the last row is the one that the file says it ends with.
    pub(super) fn ends_with(&self, end: End) -> Result<bool, HistoryError> {
        let Some(event_id) = end.event_id else { return Ok(false) };
        Ok(has_last(self.conn()?, end.position, SeenMark::Event(event_id))?)
    }

    /// The last position before the first event that was recorded after a time.
    pub(super) fn last_until(&self, time: Timestamp) -> Result<Position, HistoryError> {
        let last = "SELECT position FROM events WHERE latest_at <= ?1 ORDER BY latest_at DESC, position DESC LIMIT 1";
        let found: Option<i64> =
            self.conn()?.prepare_cached(last)?.query_row([time.as_micros()], |row| row.get(0)).optional()?;
        Ok(found.map_or(Position::START, |position| Position::new(position.cast_unsigned())))
    }

    /// When the last event at or before a position was recorded.
    pub(super) fn recorded_at(&self, position: Position) -> Result<Option<Timestamp>, HistoryError> {
        let last =
            format!("SELECT {COLUMNS} FROM events WHERE position <= ?1 ORDER BY position DESC LIMIT 1");
        let mut select = self.conn()?.prepare_cached(&last)?;
        let mut rows = select.query([position.as_u64().cast_signed()])?;
        Ok(rows.next()?.map(read).transpose()?.map(|row| row.recorded_at))
    }
}

/// The last event in the history of a directory, if it can be read.
pub fn history_seen(dir: &Path) -> Option<Seen> {
    let generations = Generations::new(dir.to_owned());
    let file = generations.path(generations.there().ok()?.first().copied()?);
    let conn = open_to_read(&file).ok()?;
    let ledger = conn.query_row("SELECT ledger FROM state", (), |row| row.get(0)).ok()?;
    let end = HistoryReader { conn: Some(conn), file: None }.end().ok()?;
    Some(Seen {
        file,
        ledger: Uuid::from_bytes(ledger),
        position: end.position,
        previous: end.previous,
        mark: SeenMark::Event(end.event_id?),
        is_intact: |seen| {
            open_to_read(&seen.file)
                .is_ok_and(|conn| has_last(&conn, seen.position, seen.mark).unwrap_or(false))
        },
    })
}

/// Whether the last row is the one that the end is said to be: two places would have to be damaged in the same
/// way.
fn has_last(conn: &Connection, position: Position, mark: SeenMark) -> rusqlite::Result<bool> {
    let last = "SELECT position, event_id FROM events ORDER BY position DESC LIMIT 1";
    let last = conn.query_row(last, (), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?)));
    let Some((at, id)) = last.optional()? else { return Ok(false) };
    let id = SeenMark::Event(EventId::new(Uuid::from_bytes(id)));
    Ok(at.cast_unsigned() == position.as_u64() && id == mark)
}

impl Drop for HistoryReader {
    fn drop(&mut self) {
        if let (Some(conn), Some(file)) = (self.conn.take(), &self.file)
            && !file.is_closed.load(Ordering::Acquire)
        {
            let mut idle = file.idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE {
                idle.push(conn);
            }
        }
    }
}
