//! The files of the history in their directory, and connections to them. Knows: names, SQLite. Must not know: what is in a
//! row, or who asks.
//!
//! A file is named after its generation, and gets its name when it is complete. So the highest generation is the current
//! one, and those below are kept only until it was opened.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use grantbook_events::{EventId, Position};
use parking_lot::Mutex;
use rusqlite::Connection;
use uuid::Uuid;

use super::error::HistoryError;
use super::rows::{COLUMNS, End, SCHEMA, VERSION, Writer, read_unchecked};
use crate::files;
use crate::store::database::{self, Checked};
use crate::store::{Seen, SeenMark};

/// No grantbook will have this version: a file that says so is damaged.
const MAX_VERSION: u32 = 10_000;
/// The most connections kept for the next readers: each has a cache of up to 2 MB.
const MAX_IDLE: usize = 4;
/// The cache of the connection that writes, in KiB.
const WRITER_CACHE_KIB: i64 = 8_192;
/// How long the log becomes before its pages are copied into the file, 64 MiB: a page that changes often is then copied
/// once.
const CHECKPOINT_PAGES: i64 = 4_000;
/// Most of what a row costs is writing the pages that its keys change, and fewer, larger pages cost less.
const PAGE_BYTES: i64 = 16_384;

/// A file, for those who read it.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    /// Connections for the next readers; `None` once the file is closed.
    idle: Mutex<Option<Vec<HistoryReader>>>,
}

/// A connection that reads.
#[derive(Debug)]
pub struct HistoryReader {
    pub(super) conn: Connection,
}

/// A file that was opened.
pub(super) type Opened = (Arc<File>, Writer);

impl File {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn read<T>(
        &self,
        ask: impl FnOnce(&HistoryReader) -> Result<T, HistoryError>,
    ) -> Result<T, HistoryError> {
        let idle = self.idle.lock().as_mut().and_then(Vec::pop);
        let reader = match idle {
            Some(reader) => reader,
            None => HistoryReader { conn: database::open_to_read(&self.path)? },
        };
        let answer = ask(&reader);
        if let Some(idle) = self.idle.lock().as_mut().filter(|idle| idle.len() < MAX_IDLE) {
            idle.push(reader);
        }
        answer
    }

    /// Closes what is not in use.
    pub(super) fn close(&self) {
        *self.idle.lock() = None;
    }
}

fn path_of(dir: &Path, generation: u64) -> PathBuf {
    dir.join(format!("history-{generation}.db"))
}

/// A file that has no name of its own yet.
fn building(dir: &Path) -> PathBuf {
    dir.join("history.building")
}

/// The generations that exist, the newest first.
fn generations(dir: &Path) -> Result<Vec<u64>, HistoryError> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(found),
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

/// Opens the newest file that can be used for a ledger, or makes one, and removes all others.
pub(super) fn open(dir: &Path, ledger: Uuid) -> Result<Opened, HistoryError> {
    files::create_dir_all(dir)?;
    let paths: Vec<_> = generations(dir)?.into_iter().map(|generation| path_of(dir, generation)).collect();
    let usable = paths.iter().find_map(|path| match open_checked(path.clone(), ledger) {
        Ok(opened) => Some(opened),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "a history file cannot be used, and is built again");
            None
        }
    });
    let opened = match usable {
        Some(opened) => opened,
        None => create(dir, ledger)?,
    };
    for path in paths.iter().filter(|path| *path != opened.0.path()) {
        database::remove(path)?;
    }
    database::remove(&building(dir))?;
    Ok(opened)
}

/// Opens a file if it is what was written: it is as it was closed, or else all of it is checked.
fn open_checked(path: PathBuf, ledger: Uuid) -> Result<Opened, HistoryError> {
    let damaged = |what: &str| Err(HistoryError::Damaged(what.to_owned()));
    let checked = database::take_checksum(&path)?;
    if checked == Checked::Changed {
        return damaged("it is not as it was closed");
    }
    let (file, writer) = open_path(path, ledger)?;
    if checked == Checked::AsClosed || file.read(HistoryReader::is_intact)? {
        return Ok((file, writer));
    }
    damaged("its rows are not what was written")
}

fn open_path(path: PathBuf, ledger: Uuid) -> Result<Opened, HistoryError> {
    let conn = database::open_to_write(&path)?;
    // What a power cut takes is followed again; the ledger is what must not be lost.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    conn.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    if let Some(why) = unusable(&conn, ledger)? {
        return Err(HistoryError::File(why));
    }
    let end = End::read(&conn)?;
    Ok((Arc::new(File { path, idle: Mutex::new(Some(Vec::new())) }), Writer { conn, end }))
}

fn create(dir: &Path, ledger: Uuid) -> Result<Opened, HistoryError> {
    drop(begin_building(dir, ledger)?);
    end_building(dir, ledger)
}

/// Closes and removes a file, and makes an empty one.
pub(super) fn replace(dir: &Path, (old, writer): Opened) -> Result<Opened, HistoryError> {
    let ledger = writer.end.ledger;
    old.close();
    drop(writer);
    let opened = create(dir, ledger)?;
    database::remove(old.path())?;
    Ok(opened)
}

/// An empty file to build beside the current one.
pub(super) fn begin_building(dir: &Path, ledger: Uuid) -> Result<Opened, HistoryError> {
    let path = building(dir);
    database::remove(&path)?;
    drop(files::open(&path)?);
    let conn = Connection::open(&path)?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION};"))?;
    End::none(ledger).write(&conn)?;
    conn.execute_batch("COMMIT")?;
    conn.close().map_err(|(_, error)| error)?;
    open_path(path, ledger)
}

/// Gives the file that was built, which is closed, the name of the current one, and opens it.
pub(super) fn end_building(dir: &Path, ledger: Uuid) -> Result<Opened, HistoryError> {
    let path = path_of(dir, generations(dir)?.first().map_or(1, |newest| newest + 1));
    fs::rename(building(dir), &path)?;
    open_path(path, ledger)
}

pub(super) fn remove_building(dir: &Path) {
    remove_later(&building(dir));
}

/// If a file cannot be removed now, the next start does it.
pub(super) fn remove_later(path: &Path) {
    if let Err(error) = database::remove(path) {
        tracing::warn!(%error, "a history file that is not needed any more cannot be removed");
    }
}

/// Why a file cannot be used for a ledger, if it cannot.
fn unusable(conn: &Connection, ledger: Uuid) -> Result<Option<String>, HistoryError> {
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(1..MAX_VERSION).contains(&version) {
        return Err(HistoryError::File(format!("it has version {version}, which no grantbook gave it")));
    }
    if version != VERSION {
        return Ok(Some(format!("it has version {version}, and version {VERSION} is wanted")));
    }
    Ok((End::read(conn)?.ledger != ledger).then(|| "it is of another ledger".to_owned()))
}

/// What history there is in a directory, for those who do not keep it.
#[derive(Debug)]
pub enum StoredHistory {
    None,
    Here(HistoryReader),
    /// One that cannot be used.
    Other {
        path: PathBuf,
        why: String,
    },
}

impl HistoryReader {
    /// The history in a directory, which another process may keep.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(dir: &Path, ledger: Uuid) -> Result<StoredHistory, HistoryError> {
        let Some(generation) = generations(dir)?.first().copied() else { return Ok(StoredHistory::None) };
        let path = path_of(dir, generation);
        let conn = database::open_to_read(&path)?;
        Ok(match unusable(&conn, ledger)? {
            None => StoredHistory::Here(Self { conn }),
            Some(why) => StoredHistory::Other { path, why },
        })
    }

    /// Where the rows end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn end(&self) -> Result<End, HistoryError> {
        Ok(End::read(&self.conn)?)
    }

    /// Whether the last row is that of the event that the file says it ends with.
    pub(super) fn ends_with(&self, end: End) -> Result<bool, HistoryError> {
        let Some(event_id) = end.event_id else { return Ok(false) };
        has_last(&self.conn, end.position, event_id)
    }
}

/// The last event in the history of a directory, if it can be read.
pub fn history_seen(dir: &Path) -> Option<Seen> {
    let file = path_of(dir, *generations(dir).ok()?.first()?);
    let end = End::read(&database::open_to_read(&file).ok()?).ok()?;
    Some(Seen {
        file,
        ledger: end.ledger,
        record: end.seen()?,
        is_intact: |seen| {
            let SeenMark::Event(id) = seen.record.mark else { return false };
            let conn = database::open_to_read(&seen.file);
            conn.is_ok_and(|conn| has_last(&conn, seen.record.position, id).unwrap_or(false))
        },
    })
}

/// Whether the last row is the one that the end is said to be: two places would have to be damaged in the same
/// way.
fn has_last(conn: &Connection, position: Position, event_id: EventId) -> Result<bool, HistoryError> {
    let mut select = conn.prepare(&format!("SELECT {COLUMNS} FROM events ORDER BY position DESC LIMIT 1"))?;
    let mut rows = select.query(())?;
    let last = rows.next()?.map(read_unchecked).transpose()?;
    Ok(last.is_some_and(|last| last.row.position == position && last.row.event_id == event_id))
}
