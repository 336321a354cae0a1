//! The opening of a ledger file, up to the first write to it: that it is one, that both of its ends are whole,
//! and that nothing is missing that was there before. Knows: files. Must not know: what is done with the ledger.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use grantbook_events::{Position, Timestamp};
use uuid::Uuid;

use super::evidence;
use super::opened::{Files, Opened};
use super::schema::{self, Access, Log, Meta, cannot_write, damaged};
use super::seen_file::End;
use crate::files::{self, with_suffix};
use crate::store::evidence::Evidence;
use crate::store::follow::NEVER;
use crate::store::{StoreError, database};

/// What a ledger that does not exist yet is made with. An existing one keeps its own.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Tells this ledger from every other: a random UUID.
    pub identity: Uuid,
    /// When it is made.
    pub now: Timestamp,
}

/// Opens a ledger to serve it, and creates it if there never was one. Nothing is written before it is known that
/// nothing is missing.
pub(super) fn open_to_serve(
    files: &Files,
    options: Options,
    evidence: &Evidence,
) -> Result<Opened, StoreError> {
    let (path, accept_loss) = (&files.ledger, evidence.accept_loss.as_ref());
    if !path.try_exists().map_err(|error| cannot_write(path, &error))? {
        if with_suffix(path, "-wal").exists() {
            let what = "it is missing, but its write-ahead log is there";
            return Err(damaged(path, Position::START, what));
        }
        evidence::check(files, None, &evidence::gather(files, &evidence.seen), accept_loss)?;
        create(path, &Meta::new(options.identity, options.now))?;
    }
    check_writable(path)?;
    let mut opened = open_unchecked(path, Access::Write)?;
    let is_lost =
        evidence::check(files, Some(&opened), &evidence::gather(files, &evidence.seen), accept_loss)?;
    if let Some(word) = accept_loss
        && opened.meta.closed_at > opened.end.position
    {
        if !is_lost {
            word.keep(opened.end.position, &evidence::closed(files, &opened))?;
        }
        opened.meta.closed_at = opened.end.position;
        opened.log.ask(opened.end.position, |conn| opened.meta.write(conn))?;
    }
    opened.check_closed()
}

/// Opens a ledger to read it, maybe while another process serves it. It is refused if it ends before what files have
/// seen of it.
pub(super) fn open_to_read(files: &Files, evidence: Option<&Evidence>) -> Result<Opened, StoreError> {
    // A process that serves the ledger may go on at the same time, so what was seen is read before the ledger is.
    let all = evidence.map(|evidence| evidence::gather(files, &evidence.seen)).unwrap_or_default();
    let opened = open(&files.ledger, Access::Read)?;
    evidence::check(files, Some(&opened), &all, None)?;
    Ok(opened)
}

/// Opens a ledger file. Checks what can be checked without reading all of it: the format, both ends, and that nothing
/// is missing that was there at the last clean stop.
pub(super) fn open(path: &Path, access: Access) -> Result<Opened, StoreError> {
    open_unchecked(path, access)?.check_closed()
}

fn open_unchecked(path: &Path, access: Access) -> Result<Opened, StoreError> {
    let unavailable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => StoreError::Unavailable(format!("there is no ledger at {}", path.display())),
        _ => StoreError::Unavailable(format!("{}: {error}", path.display())),
    };
    // SQLite would take an empty file for a new one.
    if fs::metadata(path).map_err(unavailable)?.len() == 0 {
        let what = "it is empty (if it never was a ledger, remove it to begin one)";
        return Err(damaged(path, Position::START, what));
    }
    let versions = schema::file_versions(path);
    let log = Log::open(path, access)?;
    log.check_format(versions)?;
    let meta = Meta::read(&log)?;
    let last = log.last_position()?;
    log.page(Position::START, 1)?;
    let (end, latest) = match log.page(Position::new(last.as_u64().saturating_sub(2)), 2)?.last() {
        Some(record) if record.position == last => (End::of(record), record.recorded_at),
        None if last == Position::START => (End::NOTHING, NEVER),
        _ => return Err(log.damaged(last, "the record is missing")),
    };
    Ok(Opened { log, meta, end, latest })
}

impl Opened {
    /// Whether everything is there that was there at the last clean stop.
    fn check_closed(self) -> Result<Self, StoreError> {
        let (end, closed_at) = (self.end.position, self.meta.closed_at);
        if end >= closed_at {
            return Ok(self);
        }
        Err(self.log.damaged(end, &format!("it ends at {end}, but it was closed at {closed_at}")))
    }
}

/// Creates a ledger file where there is none. It gets its name only when it is whole, so that a crash leaves either a
/// ledger or nothing.
pub(super) fn create(path: &Path, meta: &Meta) -> Result<(), StoreError> {
    let unfinished = path.with_extension("db.new");
    let log = Log::create(&unfinished)?;
    log.ask(Position::START, |conn| meta.write(conn))?;
    log.close()?;
    files::rename(&unfinished, path).map_err(|error| cannot_write(path, &error))
}

/// SQLite opens a file that it may not write for reading, and says so only at the first write. Must come
/// before the first connection: see `schema::file_versions`.
fn check_writable(path: &Path) -> Result<(), StoreError> {
    for file in database::files_of(path) {
        match fs::OpenOptions::new().write(true).open(&file) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(cannot_write(&file, &error)),
            _ => {}
        }
    }
    Ok(())
}
