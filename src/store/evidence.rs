//! What files of a data directory have seen of a ledger. A ledger never gets shorter: one that ends before what any of
//! them has seen, or has another record there, has lost what was acknowledged. Knows: positions, records, names of
//! files, and an operator's word. Must not know: what else is in the files, or how a store finds a record.

use std::cmp::Reverse;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use grantbook_events::{EventId, Position};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::database;
use super::record::{ChainDigest, Record};
use super::{Found, StoreError};
use crate::files::{self, with_suffix};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenRecord {
    pub position: Position,
    /// The position of the record before it.
    pub previous: Position,
    pub mark: SeenMark,
}

/// What identifies a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// An operator's word to go on without what is missing.
    pub accept_loss: Option<AcceptLoss>,
}

/// An operator's word to go on without what is missing. The files that have seen it are kept under another name.
#[derive(Debug, Clone)]
pub struct AcceptLoss {
    pub by: String,
    /// The data directory.
    pub dir: PathBuf,
}

/// An operator's word and what it is about, as it is kept in a file until it is an event in the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLoss {
    pub by: String,
    /// Where the ledger ended.
    pub last_position: Position,
    pub seen: SeenRecord,
    /// The name of the file that had seen it.
    pub seen_by: String,
}

impl AcceptedLoss {
    pub const FILE: &str = "loss.accepted";

    /// The word that is not in the ledger yet, if there is one.
    ///
    /// # Errors
    /// If the file cannot be read or is not what was written.
    pub fn read(dir: &Path) -> io::Result<Option<Self>> {
        match fs::read(dir.join(Self::FILE)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            read => Ok(Some(serde_json::from_slice(&read?)?)),
        }
    }

    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn keep(&self, dir: &Path) -> io::Result<()> {
        let text = serde_json::to_string(self)?;
        files::replace(&dir.join(Self::FILE), |file| writeln!(file, "{text}"))
    }

    /// # Errors
    /// If the file cannot be removed.
    pub fn forget(dir: &Path) -> io::Result<()> {
        files::remove(&dir.join(Self::FILE))
    }
}

impl AcceptLoss {
    /// Keeps it until it is in the ledger, which ends at a position although a file has seen more.
    pub(super) fn keep(&self, last_position: Position, seen: &Seen) -> Result<(), StoreError> {
        let seen_by = seen.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let accepted = AcceptedLoss { by: self.by.clone(), last_position, seen: seen.record, seen_by };
        accepted.keep(&self.dir).map_err(|error| {
            let file = self.dir.join(AcceptedLoss::FILE);
            StoreError::CannotWrite(format!("{} cannot be written: {error}", file.display()))
        })
    }
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
    /// The records that files have seen and a ledger does not have. `ledger` is its name in messages. `Found` is `None` if there
    /// is no ledger.
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

    /// Keeps an operator's word, and moves the files out of the way, so that the ledger goes on from its end. The file that
    /// has seen the most goes last: if this is interrupted, it still refuses the ledger, and says as much as before.
    pub(super) fn accept(&self, word: &AcceptLoss) -> Result<(), StoreError> {
        let Some((last, _)) = self.missing.first() else { return Ok(()) };
        word.keep(self.end, last)?;
        for (seen, wrong) in self.missing.iter().rev() {
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
