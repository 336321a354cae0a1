//! What files of a data directory have seen of a ledger. A ledger never gets shorter: one that ends before what any of
//! them has seen, or has another record there, has lost what was acknowledged. Knows: positions, records, names of
//! files, and an operator's word. Must not know: what else is in the files, or how a store finds a record.

use std::cmp::Reverse;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use grantbook_events::{EventId, Position};
use uuid::Uuid;

use super::database;
use super::record::{ChainDigest, Record};
use super::{Found, StoreError};
use crate::files::with_suffix;

/// The last record that a file has seen.
#[derive(Debug, Clone)]
pub struct Seen {
    pub file: PathBuf,
    /// The ledger that the record is in.
    pub ledger: Uuid,
    pub record: SeenRecord,
    /// Whether the file is what was written, which is asked only if a ledger contradicts it.
    pub is_intact: fn(&Seen) -> bool,
}

/// A record that was seen in a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenRecord {
    pub position: Position,
    /// The position of the record before it.
    pub previous: Position,
    pub mark: SeenMark,
}

/// What identifies a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SeenMark {
    Event(EventId),
    Digest(ChainDigest),
}

impl SeenRecord {
    pub fn is(&self, record: &Record) -> bool {
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

/// What files have seen that a ledger does not have.
#[derive(Debug)]
pub(super) struct Lost<'a> {
    /// Where the ledger ends.
    end: Position,
    /// Each file, and what the ledger has instead, in words; the highest position first.
    missing: Vec<(&'a Seen, String)>,
}

impl<'a> Lost<'a> {
    /// What of all that was seen is not in a ledger. `ledger` names it in messages; nothing was found if there is none.
    pub(super) fn of(
        ledger: &str,
        end: Position,
        all: impl IntoIterator<Item = (&'a Seen, Option<Found>)>,
    ) -> Option<Self> {
        let wrong = |(seen, found)| Some((seen, contradiction(ledger, seen, found)?));
        let mut missing: Vec<_> =
            all.into_iter().filter_map(wrong).filter(|(seen, _)| (seen.is_intact)(seen)).collect();
        missing.sort_by_key(|(seen, _)| Reverse(seen.record.position));
        (!missing.is_empty()).then_some(Self { end, missing })
    }

    /// Why the ledger is not served. `instead` says how what is missing can be put back.
    pub(super) fn refusal(&self, instead: &str) -> StoreError {
        let wrong = self.missing.first().map_or("", |(_, wrong)| wrong);
        StoreError::EndsEarly(format!(
            "{wrong}: events that were acknowledged are missing. Nothing was changed. {instead}; or go on without what \
             is missing: grantbook serve --accept-loss"
        ))
    }

    /// Moves the files out of the way, so that the ledger goes on from its end.
    pub(super) fn accept(&self) -> Result<(), StoreError> {
        for (seen, wrong) in &self.missing {
            let kept = move_away(&seen.file, self.end).map_err(|error| {
                StoreError::CannotWrite(format!("{} cannot be moved away: {error}", seen.file.display()))
            })?;
            tracing::warn!(
                ends_at = %self.end, seen = %seen.record.position, by = %seen.file.display(), kept = %kept.display(),
                wrong,
                "events that were acknowledged are missing, and the operator said to go on without them"
            );
        }
        Ok(())
    }
}

/// What a ledger has instead of what a file has seen; `None` if it has just that.
fn contradiction(ledger: &str, seen: &Seen, found: Option<Found>) -> Option<String> {
    let (file, at) = (seen.file.display(), seen.record.position);
    match found {
        Some(Found::There) => None,
        Some(Found::Another) => {
            Some(format!("the {ledger} has another event at position {at} than {file} has seen there"))
        }
        Some(Found::EndsBefore(end)) => {
            Some(format!("the {ledger} ends at position {end}, but {file} has seen position {at}"))
        }
        None => Some(format!("there is no {ledger}, but {file} has seen position {at} of it")),
    }
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

/// A name for a file that is kept because a ledger that ends there was accepted.
pub(super) fn unused_name(file: &Path, end: Position) -> PathBuf {
    let mut number = 1;
    loop {
        let name = with_suffix(file, &format!(".lost-after-{end}.{number}"));
        if !name.exists() {
            return name;
        }
        number += 1;
    }
}
