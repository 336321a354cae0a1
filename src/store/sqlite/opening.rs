//! The opening of a ledger file, up to the first write to it: that it is one, that both of its ends are whole,
//! and that it has what other files have seen of it. Knows: files, and an operator's word. Must not know: what
//! is done with the ledger.

use std::fs;
use std::path::{Path, PathBuf};

use grantbook_events::Position;
use rusqlite::Connection;

use super::heads_file::HeadsFile;
use super::heads_total::UpTo;
use super::schema::{self, Access, Meta, cannot_write, connect, damaged, file_error};
use super::{LOCK_FILE, Options, rows, seen_file};
use crate::files::with_suffix;
use crate::store::database;
use crate::store::evidence::{Contradiction, Seen, SeenMark, aside, contradictions, move_aside};
use crate::store::{Record, StoreError};

/// The files of a ledger.
#[derive(Debug)]
pub(super) struct Files {
    pub ledger: PathBuf,
    pub heads: PathBuf,
    pub seen: PathBuf,
    pub lock: PathBuf,
}

impl Files {
    pub(super) fn of(dir: &Path) -> Self {
        Self {
            ledger: dir.join("ledger.db"),
            heads: dir.join("heads.db"),
            seen: dir.join("ledger.seen"),
            lock: dir.join(LOCK_FILE),
        }
    }
}

/// What is known of a ledger before it is opened.
#[derive(Debug, Default)]
pub struct Evidence {
    /// What files have seen that are not the store's own.
    pub seen: Vec<Seen>,
    /// Whether an operator said to go on without what is missing. The files that have seen it are kept under
    /// another name.
    pub accept_loss: bool,
}

impl Evidence {
    /// With what the store's own files have seen.
    fn all(&self, files: &Files) -> Vec<Seen> {
        let heads = || HeadsFile::open(&files.heads, false).and_then(|heads| heads.seen()).ok();
        let heads = files.heads.exists().then(heads).flatten().map(|seen| (&files.heads, seen));
        let commits = seen_file::read(&files.seen).map(|seen| (&files.seen, seen));
        let own = heads.into_iter().chain(commits).map(|(file, (ledger, last))| Seen {
            file: file.clone(),
            ledger,
            position: last.position,
            previous: Position::new(last.position.as_u64().saturating_sub(1)),
            mark: SeenMark::Digest(last.digest),
            is_intact: |_| true,
        });
        own.chain(self.seen.iter().cloned()).filter(|seen| seen.position > Position::START).collect()
    }
}

/// Makes a ledger if there is none, and never was one.
pub(super) fn make_if_absent(files: &Files, options: Options, evidence: &Evidence) -> Result<(), StoreError> {
    let path = &files.ledger;
    if path.try_exists().map_err(|error| cannot_write(path, &error))? {
        return check_not_empty(path);
    }
    if with_suffix(path, "-wal").exists() {
        let what = "it is missing, but its write-ahead log is there";
        return Err(damaged(path, Position::START, what));
    }
    let all = evidence.all(files);
    let mut of_another: Vec<_> =
        all.iter().filter(|seen| (seen.is_intact)(seen)).map(Contradiction::whole).collect();
    of_another.sort_by_key(|contradiction| std::cmp::Reverse(contradiction.seen.position));
    settle(files, &of_another, Position::START, evidence.accept_loss)?;
    schema::create(path, &Meta::new(options.identity, options.now))
}

/// Opens a ledger that is to be served. Nothing is written before it is known that nothing is missing.
pub(super) fn open_to_serve(
    files: &Files,
    evidence: &Evidence,
) -> Result<(Connection, Meta, UpTo), StoreError> {
    let path = &files.ledger;
    check_writable(path)?;
    let (conn, mut meta, end) = look(path, Access::Write)?;
    let all = evidence.all(files);
    let found = contradictions(&all, meta.identity, |previous| next(&conn, path, previous))?;
    settle(files, &found, end.position, evidence.accept_loss)?;
    if !evidence.accept_loss {
        check_closed(path, &meta, end)?;
    } else if meta.closed_at > end.position {
        meta.closed_at = end.position;
        meta.write(&conn).map_err(|error| file_error(path, end.position, &error))?;
    }
    Ok((conn, meta, end))
}

/// Refuses to answer from a ledger that has lost its end, without changing anything.
pub(super) fn check_whole(dir: &Path, seen: Vec<Seen>) -> Result<(), StoreError> {
    let files = Files::of(dir);
    // A process that serves the ledger may go on at the same time, so the files are looked at before the ledger is.
    let all = Evidence { seen, accept_loss: false }.all(&files);
    let (conn, meta, end) = open_and_look(&files.ledger, Access::Read)?;
    let found = contradictions(&all, meta.identity, |previous| next(&conn, &files.ledger, previous))?;
    settle(&files, &found, end.position, false)
}

/// The record after a position.
fn next(conn: &Connection, path: &Path, previous: Position) -> Result<Option<Record>, StoreError> {
    Ok(rows::page(conn, path, previous, 1)?.pop())
}

/// Refuses a ledger that has lost its end; or, on an operator's word, lets it go on from there.
fn settle(
    files: &Files,
    found: &[Contradiction<'_>],
    end: Position,
    accept_loss: bool,
) -> Result<(), StoreError> {
    let path = &files.ledger;
    let Some(first) = found.first() else { return Ok(()) };
    if !accept_loss {
        return Err(first.refusal(path, end));
    }
    let wal = with_suffix(path, "-wal");
    if wal.exists() {
        // What is written next is written over the end that cannot be read.
        let kept = aside(&wal, end);
        fs::copy(&wal, &kept).map_err(|error| cannot_write(&kept, &error))?;
    }
    for Contradiction { seen, .. } in found {
        let kept = move_aside(&seen.file, end).map_err(|error| cannot_write(&seen.file, &error))?;
        tracing::warn!(
            ledger = %path.display(), ends_at = %end, seen = %seen.position, by = %seen.file.display(),
            kept = %kept.display(),
            "events that were acknowledged are missing, and the operator said to go on without them"
        );
    }
    Ok(())
}

/// SQLite would take an empty file for a new one.
pub(super) fn check_not_empty(path: &Path) -> Result<(), StoreError> {
    let size = fs::metadata(path)
        .map_err(|error| StoreError::Unavailable(format!("{}: {error}", path.display())))?;
    if size.len() == 0 {
        let what = "it is empty (if it never was a ledger, remove it to begin one)";
        return Err(damaged(path, Position::START, what));
    }
    Ok(())
}

/// SQLite opens a file that it may not write for reading, and says so only at the first write. Must come
/// before the first connection: see `schema::file_versions`.
fn check_writable(path: &Path) -> Result<(), StoreError> {
    for name in database::files_of(path) {
        match fs::OpenOptions::new().write(true).open(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(cannot_write(&name, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first connection to a ledger file. Checks what can be checked without reading everything: the
/// format, both ends, and that nothing is missing that was there at the last clean stop.
pub(super) fn open_and_look(path: &Path, access: Access) -> Result<(Connection, Meta, UpTo), StoreError> {
    let (conn, meta, end) = look(path, access)?;
    check_closed(path, &meta, end)?;
    Ok((conn, meta, end))
}

fn look(path: &Path, access: Access) -> Result<(Connection, Meta, UpTo), StoreError> {
    let versions = schema::file_versions(path);
    let conn = connect(path, access).map_err(|error| file_error(path, Position::START, &error))?;
    schema::check(&conn, path, versions)?;
    let (meta, end) = look_at(&conn, path)?;
    Ok((conn, meta, end))
}

fn look_at(conn: &Connection, path: &Path) -> Result<(Meta, UpTo), StoreError> {
    let meta = Meta::read(conn, path)?;
    let last = rows::last_position(conn, path)?;
    rows::page(conn, path, Position::START, 1)?;
    let page = rows::page(conn, path, Position::new(last.as_u64().saturating_sub(2)), 2)?;
    let end = page.last().map(|record| UpTo { position: record.position, digest: record.digest });
    match end {
        Some(end) if end.position == last => Ok((meta, end)),
        None if last == Position::START => Ok((meta, UpTo::NOTHING)),
        _ => Err(damaged(path, last, "the record is missing")),
    }
}

/// Whether everything is there that was there at the last clean stop.
fn check_closed(path: &Path, meta: &Meta, end: UpTo) -> Result<(), StoreError> {
    if end.position >= meta.closed_at {
        return Ok(());
    }
    let what = format!("it ends at {}, but it was closed at {}", end.position, meta.closed_at);
    Err(damaged(path, end.position, &what))
}
