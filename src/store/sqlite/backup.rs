//! A second ledger file, beside a running server, and back. Knows: copying the log, verified. Must not
//! know: the server, or where backups are kept.
//!
//! What is in the log does not change, so the records up to a position are a consistent copy whenever
//! they are read: page by page, in short reads that hold up no checkpoint and no writer. Every record is
//! held against its digest on the way, so a backup of a damaged ledger fails instead of hiding it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use grantbook_events::Position;
use rusqlite::Connection;

use super::heads::Heads;
use super::heads_total::Key;
use super::heads_total::UpTo;
use super::opening::{Files, check_not_empty, open_and_look};
use super::rows;
use super::schema::{self, Access, Meta, cannot_write};
use crate::files;
use crate::store::database;
use crate::store::lock::Lock;
use crate::store::{Head, MAX_PAGE, StoreError};

/// Writes a complete ledger file, which serves as it is when it is put into an empty directory under the
/// name `ledger.db`. Works beside a process that serves the ledger. Blocks.
///
/// `progress` is told how many records are copied, of how many. Returns where the backup ends. Memory grows with
/// streams, about 50 bytes each.
/// Errors: `Target` if the target exists or cannot be written, `Damaged` if a record is not what was written.
pub fn backup(dir: &Path, target: &Path, progress: impl FnMut(u64, u64)) -> Result<Head, StoreError> {
    refuse_existing(
        target,
        "a file is there already, and a backup replaces none: choose another name or move it away",
    )?;
    let source = Files::of(dir).ledger;
    let (conn, meta, end) = open_source(&source, Access::Read)?;
    let mut unfinished = target.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = PathBuf::from(unfinished);
    let copied = copy_log((&conn, &source), &unfinished, &meta, end, progress)
        .and_then(|copy| close(copy, &unfinished))
        .and_then(|()| files::rename(&unfinished, target).map_err(|error| cannot_write(target, &error)))
        .map_err(|error| match error {
            // The ledger is only read here.
            StoreError::CannotWrite(why) => {
                StoreError::Target(format!("the backup cannot be written: {why}"))
            }
            error => error,
        });
    finish(copied, &unfinished)?;
    Ok(Head { position: end.position, identity: meta.identity })
}

/// Makes the ledger of a directory from a backup, or any other ledger file that is not being served.
/// Every record's digest and the chain of every stream are verified first. Blocks.
///
/// Errors: `Target` if the directory has a ledger, `Damaged` if the source is.
pub fn restore(source: &Path, dir: &Path, progress: impl FnMut(u64, u64)) -> Result<Head, StoreError> {
    let own = Files::of(dir);
    files::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
    let _lock = Lock::take(&own.lock)?;
    for name in ["ledger.db", "ledger.db-wal"] {
        refuse_existing(&dir.join(name), "a ledger is there already: restore into an empty directory")?;
    }
    let (conn, meta, end) = open_source(source, Access::Still)?;
    let unfinished = own.ledger.with_extension("db.restoring");
    let restored = copy_log((&conn, source), &unfinished, &meta, end, progress)
        .and_then(|copy| index(copy, &unfinished, &own.heads, &meta, end))
        .and_then(|()| {
            files::rename(&unfinished, &own.ledger).map_err(|error| cannot_write(&own.ledger, &error))
        });
    if restored.is_err() {
        // It would be evidence of a ledger that is not there.
        let _ = database::remove(&own.heads);
    }
    finish(restored, &unfinished)?;
    Ok(Head { position: end.position, identity: meta.identity })
}

fn open_source(path: &Path, access: Access) -> Result<(Connection, Meta, UpTo), StoreError> {
    if !path.exists() {
        return Err(StoreError::Unavailable(format!("there is no ledger at {}", path.display())));
    }
    check_not_empty(path)?;
    open_and_look(path, access)
}

fn refuse_existing(path: &Path, why: &str) -> Result<(), StoreError> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::Target(format!("{}: {why}", path.display()))),
        Err(error) => Err(StoreError::Target(format!("{}: {error}", path.display()))),
    }
}

/// Copies the log up to a position into a new file.
fn copy_log(
    (from, source): (&Connection, &Path),
    target: &Path,
    meta: &Meta,
    end: UpTo,
    mut progress: impl FnMut(u64, u64),
) -> Result<Connection, StoreError> {
    database::remove(target).map_err(|error| cannot_write(target, &error))?;
    let failed = |error: rusqlite::Error| cannot_write(target, &error);
    let to = schema::create_empty(target)?;
    // The file counts only when it is whole, and is made durable then.
    to.pragma_update(None, "synchronous", "off").map_err(failed)?;
    let (mut last, mut ends) = (Position::START, HashMap::new());
    while last < end.position {
        let wanted = usize::try_from(end.position.as_u64() - last.as_u64()).unwrap_or(MAX_PAGE);
        let page = rows::page(from, source, last, wanted.min(MAX_PAGE))?;
        let Some(newest) = page.last() else {
            return Err(schema::damaged(source, last, "the record after it is missing"));
        };
        last = newest.position;
        let transaction = to.unchecked_transaction().map_err(failed)?;
        for record in &page {
            let before = record.link.previous().map(|at| rows::end_at(&to, at, &record.stream));
            let before = before.transpose().map_err(failed)?.flatten();
            // A record may follow its predecessor and not be the only one that does.
            let last_in_stream = ends.insert(Key::of(&record.stream), record.position);
            if last_in_stream != record.link.previous() || !rows::follows(record, before.as_ref()) {
                let what = "the record does not follow the one before it in its stream";
                return Err(schema::damaged(source, record.position, what));
            }
            rows::insert(&transaction, record).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        progress(last.as_u64(), end.position.as_u64());
    }
    let meta = Meta { closed_at: end.position, heads_crc: None, ..meta.clone() };
    meta.write(&to).map_err(failed)?;
    Ok(to)
}

/// Builds the index of streams, which verifies every chain, and vouches for it.
fn index(copy: Connection, path: &Path, heads_path: &Path, meta: &Meta, end: UpTo) -> Result<(), StoreError> {
    let (heads, file) = Heads::open(heads_path, &meta.identity, None, (&copy, path))?;
    heads.close();
    let heads_crc = heads.keep(file)?;
    let meta = Meta { closed_at: end.position, heads_crc, ..meta.clone() };
    meta.write(&copy).map_err(|error| cannot_write(path, &error))?;
    close(copy, path)
}

fn close(copy: Connection, path: &Path) -> Result<(), StoreError> {
    copy.close().map_err(|(_, error)| cannot_write(path, &error))
}

/// Leaves nothing half-done behind.
fn finish(outcome: Result<(), StoreError>, unfinished: &Path) -> Result<(), StoreError> {
    if outcome.is_err() {
        // The first error is the one to report.
        let _ = database::remove(unfinished);
    }
    outcome
}
