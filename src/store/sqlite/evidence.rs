//! What the files of a data directory have seen of a ledger. A ledger never gets shorter: one that ends before
//! what any of them has seen, or has another record there, has lost what was acknowledged. Knows: positions,
//! records, names of files, and an operator's word. Must not know: what else is in the files.

use std::cmp::Reverse;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use grantbook_events::{EventId, Position};
use uuid::Uuid;

use super::opened::{Files, Opened};
use super::schema::cannot_write;
use super::seen_file::{self, End};
use crate::files::with_suffix;
use crate::store::{ChainDigest, Record, StoreError, database};

/// The last record that a file has seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub file: PathBuf,
    /// The ledger that the record is in.
    pub ledger: Uuid,
    pub position: Position,
    /// The position of the record before it.
    pub previous: Position,
    pub mark: SeenMark,
    /// Whether the file is what was written, which is asked only if a ledger contradicts it.
    pub is_intact: fn(&Seen) -> bool,
}

/// What identifies a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenMark {
    Event(EventId),
    Digest(ChainDigest),
}

impl Seen {
    fn is(&self, record: &Record) -> bool {
        record.position == self.position
            && match self.mark {
                SeenMark::Event(id) => record.event_id == id,
                SeenMark::Digest(digest) => record.digest == digest,
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
    pub(super) fn gather(&self, files: &Files) -> Vec<Seen> {
        let own = [&files.heads, &files.seen].into_iter().filter_map(|file| {
            let (ledger, End { position, digest }) = seen_file::read(file)?;
            let previous = Position::new(position.as_u64().saturating_sub(1));
            let mark = SeenMark::Digest(digest);
            Some(Seen { file: file.clone(), ledger, position, previous, mark, is_intact: |_| true })
        });
        own.chain(self.seen.iter().cloned()).filter(|seen| seen.position > Position::START).collect()
    }
}

/// Refuses a ledger, or the lack of one, that contradicts what files have seen; or, on an operator's word, puts these
/// files out of the way so that the ledger goes on from its end.
pub(super) fn check(
    files: &Files,
    ledger: Option<&Opened>,
    all: &[Seen],
    accept_loss: bool,
) -> Result<(), StoreError> {
    let end = ledger.map_or(Position::START, |ledger| ledger.end.position);
    let mut missing = Vec::new();
    for seen in all {
        if let Some(wrong) = contradiction(&files.ledger, ledger, seen)?
            && (seen.is_intact)(seen)
        {
            missing.push((seen, wrong));
        }
    }
    missing.sort_by_key(|(seen, _)| Reverse(seen.position));
    let Some((_, wrong)) = missing.first() else { return Ok(()) };
    if !accept_loss {
        return Err(StoreError::EndsEarly(format!(
            "{wrong}: events that were acknowledged are missing. Nothing was changed. Put back the files that belong \
             together or restore a backup; or go on without what is missing: grantbook serve --accept-loss"
        )));
    }
    let wal = with_suffix(&files.ledger, "-wal");
    if wal.exists() {
        // What is written next is written over the end that cannot be read.
        let kept = unused_name(&wal, end);
        fs::copy(&wal, &kept).map_err(|error| cannot_write(&kept, &error))?;
    }
    for (seen, wrong) in missing {
        let kept = move_away(&seen.file, end).map_err(|error| cannot_write(&seen.file, &error))?;
        tracing::warn!(
            ends_at = %end, seen = %seen.position, by = %seen.file.display(), kept = %kept.display(), wrong,
            "events that were acknowledged are missing, and the operator said to go on without them"
        );
    }
    Ok(())
}

/// What a ledger has not that a file has seen; `None` if it has it, or is another ledger.
fn contradiction(path: &Path, ledger: Option<&Opened>, seen: &Seen) -> Result<Option<String>, StoreError> {
    let (path, file, at) = (path.display(), seen.file.display(), seen.position);
    let Some(ledger) = ledger else {
        return Ok(Some(format!("there is no {path}, but {file} has seen position {at} of it")));
    };
    if ledger.meta.identity != seen.ledger {
        return Ok(None);
    }
    Ok(match ledger.log.page(seen.previous, 1)?.pop() {
        Some(record) if seen.is(&record) => None,
        Some(_) => Some(format!("{path} has another event at position {at} than {file} has seen there")),
        None => {
            let end = ledger.end.position;
            Some(format!("{path} ends at position {end}, but {file} has seen position {at}"))
        }
    })
}

/// Gives a file, and what SQLite keeps with it, a name that nothing opens.
fn move_away(file: &Path, end: Position) -> io::Result<PathBuf> {
    let kept = unused_name(file, end);
    for (from, to) in database::files_of(file).iter().zip(database::files_of(&kept)) {
        match fs::rename(from, to) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(kept)
}

fn unused_name(file: &Path, end: Position) -> PathBuf {
    let mut number = 1;
    loop {
        let name = with_suffix(file, &format!(".lost-after-{end}.{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}
