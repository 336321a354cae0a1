//! A second ledger file, beside a running server, and back. Knows: copying the log, verified. Must not
//! know: the server, or where backups are kept.
//!
//! What is in the log does not change, so the records up to a position are a consistent copy whenever
//! they are read: page by page, in short reads that hold up no checkpoint and no writer. Every record is
//! compared with its digest and with the record before it in its stream, so a backup of a damaged ledger fails
//! instead of hiding it.

use std::collections::HashMap;
use std::path::Path;

use grantbook_events::Position;

use super::heads::{self, Key};
use super::opened::{Files, Opened};
use super::opening::open;
use super::rows::{self, StreamHead};
use super::schema::{Access, Log, Meta, cannot_write};
use crate::files::{self, with_suffix};
use crate::store::lock::Lock;
use crate::store::{Head, MAX_PAGE, StoreError, database};

/// Writes a complete ledger file, which serves as it is when it is put into an empty directory under the
/// name `ledger.db`. Works beside a process that serves the ledger. Blocks.
///
/// `progress` receives how many records are copied, of how many. Returns where the backup ends. Memory grows with
/// streams, about 100 bytes each.
///
/// # Errors
/// `Target` if the target exists or cannot be written, `Damaged` if a record is not what was written.
pub fn backup(dir: &Path, target: &Path, progress: impl FnMut(u64, u64)) -> Result<Head, StoreError> {
    refuse_existing(
        target,
        "a file is there already, and a backup replaces none: choose another name or move it away",
    )?;
    let source = open(&Files::of(dir).ledger, Access::Read)?;
    let unfinished = with_suffix(target, ".unfinished");
    let copied = copy_log(&source, &unfinished, progress);
    let named = copied.and_then(|_| give_name(&unfinished, target)).map_err(|error| match error {
        // The ledger is only read here.
        StoreError::CannotWrite(why) => StoreError::Target(format!("the backup cannot be written: {why}")),
        error => error,
    });
    finish(named, &source, &[&unfinished])
}

/// Makes the ledger of a directory from a backup, or any other ledger file that is not being served. Every record is
/// verified first. Blocks.
///
/// # Errors
/// `Target` if the directory has a ledger, `Damaged` if the source is.
pub fn restore(source: &Path, dir: &Path, progress: impl FnMut(u64, u64)) -> Result<Head, StoreError> {
    let target = Files::of(dir);
    files::create_dir_all(dir).map_err(|error| cannot_write(dir, &error))?;
    let _lock = Lock::take(&target.lock)?;
    for name in ["ledger.db", "ledger.db-wal"] {
        refuse_existing(&dir.join(name), "a ledger is there already: restore into an empty directory")?;
    }
    let source = open(source, Access::Unchanging)?;
    let unfinished = target.ledger.with_extension("db.restoring");
    let restored = copy_log(&source, &unfinished, progress).and_then(|ends| {
        let last = ends.into_iter().map(|(key, head)| (key, head.position)).collect();
        heads::write(&target.heads, source.meta.identity, source.end, &last)?;
        give_name(&unfinished, &target.ledger)
    });
    // An index would be evidence of a ledger that is not there.
    finish(restored, &source, &[&unfinished, &target.heads])
}

fn refuse_existing(path: &Path, why: &str) -> Result<(), StoreError> {
    match path.try_exists() {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::Target(format!("{}: {why}", path.display()))),
        Err(error) => Err(StoreError::Target(format!("{}: {error}", path.display()))),
    }
}

/// Copies the log into a new file, and finds where each stream ends.
fn copy_log(
    source: &Opened,
    target: &Path,
    mut progress: impl FnMut(u64, u64),
) -> Result<HashMap<Key, StreamHead>, StoreError> {
    let failed = |error: rusqlite::Error| cannot_write(target, &error);
    let end = source.end.position;
    let to = Log::create(target)?;
    // The file counts only when it is whole, and is made durable then.
    to.conn.pragma_update(None, "synchronous", "off").map_err(failed)?;
    let (mut last, mut ends) = (Position::START, HashMap::new());
    while last < end {
        let wanted = usize::try_from(end.as_u64() - last.as_u64()).unwrap_or(MAX_PAGE);
        let page = source.log.page(last, wanted.min(MAX_PAGE))?;
        let transaction = to.conn.unchecked_transaction().map_err(failed)?;
        for record in &page {
            let before = ends.insert(Key::of(&record.stream), StreamHead::of(record));
            source.log.check_follows(record, before.as_ref())?;
            rows::insert(&transaction, record).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        match page.last() {
            Some(newest) => last = newest.position,
            None => return Err(source.log.damaged(last, "the record after it is missing")),
        }
        progress(last.as_u64(), end.as_u64());
    }
    let meta = Meta { closed_at: end, ..source.meta.clone() };
    meta.write(&to.conn).and_then(|()| to.conn.close().map_err(|(_, error)| error)).map_err(failed)?;
    Ok(ends)
}

fn give_name(unfinished: &Path, target: &Path) -> Result<(), StoreError> {
    files::rename(unfinished, target).map_err(|error| cannot_write(target, &error))
}

/// Leaves nothing half-done behind.
fn finish(
    outcome: Result<(), StoreError>,
    source: &Opened,
    unfinished: &[&Path],
) -> Result<Head, StoreError> {
    if outcome.is_err() {
        // The first error is the one to report.
        unfinished.iter().for_each(|path| drop(database::remove(path)));
    }
    outcome.map(|()| Head { position: source.end.position, identity: source.meta.identity })
}
