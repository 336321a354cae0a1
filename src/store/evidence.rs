//! What the files of a data directory have seen of a ledger. A ledger never gets shorter: one that ends before
//! what any of them has seen, or has another record there, has lost what was acknowledged. Knows: positions,
//! records, names of files. Must not know: what else is in the files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use grantbook_events::{EventId, Position};
use uuid::Uuid;

use super::{ChainDigest, Record, StoreError, database};
use crate::files::with_suffix;

/// The last record that a file has seen.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The file.
    pub file: PathBuf,
    /// The ledger that the record is in.
    pub ledger: Uuid,
    /// Where it is.
    pub position: Position,
    /// The position of the record before it: positions are not counted with.
    pub previous: Position,
    /// How it is known again.
    pub mark: SeenMark,
    /// Whether the file is what was written, which is asked only if a ledger contradicts it.
    pub is_intact: fn(&Seen) -> bool,
}

/// How a record is known again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenMark {
    /// By the id of its event.
    Event(EventId),
    /// By its digest.
    Digest(ChainDigest),
}

/// A file that has seen what a ledger does not have.
#[derive(Debug)]
pub(super) struct Contradiction<'a> {
    pub seen: &'a Seen,
    there: There,
}

/// What there is in place of what was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum There {
    NoLedger,
    Nothing,
    Another,
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

impl<'a> Contradiction<'a> {
    /// There is no ledger at all.
    pub(super) fn whole(seen: &'a Seen) -> Self {
        Self { seen, there: There::NoLedger }
    }

    /// Why a ledger that ends at a position is refused.
    pub(super) fn refusal(&self, ledger: &Path, end: Position) -> StoreError {
        let (ledger, file, at) = (ledger.display(), self.seen.file.display(), self.seen.position);
        let wrong = match self.there {
            There::NoLedger => format!("there is no {ledger}, but {file} has seen position {at} of it"),
            There::Nothing => format!("{ledger} ends at position {end}, but {file} has seen position {at}"),
            There::Another => {
                format!("{ledger} has another event at position {at} than {file} has seen there")
            }
        };
        StoreError::EndsEarly(format!(
            "{wrong}: events that were acknowledged are missing. Nothing was changed. Put back the files that belong \
             together or restore a backup; or go on without what is missing: grantbook serve --accept-loss"
        ))
    }
}

/// The files that have seen what a ledger does not have, the one that has seen most first. `next` reads the
/// record after a position.
///
/// # Errors
/// If the ledger cannot be read.
pub(super) fn contradictions(
    seen: &[Seen],
    ledger: Uuid,
    mut next: impl FnMut(Position) -> Result<Option<Record>, StoreError>,
) -> Result<Vec<Contradiction<'_>>, StoreError> {
    let mut found = Vec::new();
    for seen in seen.iter().filter(|seen| seen.ledger == ledger && seen.position > Position::START) {
        let there = next(seen.previous)?;
        if !there.as_ref().is_some_and(|record| seen.is(record)) && (seen.is_intact)(seen) {
            let there = if there.is_some() { There::Another } else { There::Nothing };
            found.push(Contradiction { seen, there });
        }
    }
    found.sort_by_key(|contradiction| std::cmp::Reverse(contradiction.seen.position));
    Ok(found)
}

/// Gives a file, and what SQLite keeps with it, a name under which nothing looks for it.
///
/// # Errors
/// If it cannot be renamed.
pub(super) fn move_aside(file: &Path, end: Position) -> io::Result<PathBuf> {
    let aside = aside(file, end);
    for (from, to) in database::files_of(file).iter().zip(database::files_of(&aside)) {
        match fs::rename(from, to) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// A name that is not taken, for what a file was before a ledger went on from its new end.
pub(super) fn aside(file: &Path, end: Position) -> PathBuf {
    let mut number = 1;
    loop {
        let name = with_suffix(file, &format!(".lost-after-{end}.{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}
