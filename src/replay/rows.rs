//! The third look of a verification: whether each stored row of the history is the row of its event. Knows: rows, and the
//! file they are in. Must not know: the live projection.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use grantbook_events::Position;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;
use uuid::Uuid;

use super::compare::file_name;
use super::findings::{Compared, Finding, Skipped, Verified};
use crate::audit::{HistoryError, HistoryReader, StoredHistory, StoredRow, digest_of, row_of};
use crate::ledger::read;
use crate::store::Record;

/// Stored rows read at once.
const ROWS_AT_ONCE: usize = 1000;

/// The stored rows, which are read beside the ledger.
#[derive(Debug)]
pub(super) struct Rows {
    reader: HistoryReader,
    /// Where the stored rows end, and the digest kept with that.
    end: (Position, StateDigest),
    read: VecDeque<StoredRow>,
    last_read: Position,
    /// That of the rows of the ledger's events.
    digest: StateDigest,
    /// The last position that was compared.
    compared: Position,
    is_right: bool,
    is_readable: bool,
    /// Looks at the file as a whole meanwhile.
    damages: JoinHandle<Vec<String>>,
}

impl Rows {
    /// The history in a directory, if it can be compared.
    pub(super) fn open(dir: PathBuf, ledger: Uuid, verified: &mut Verified) -> Option<Self> {
        verified.has_history = true;
        match HistoryReader::open(&dir, ledger) {
            Ok(StoredHistory::None) => verified.has_history = false,
            Ok(StoredHistory::Other { path, why }) => {
                verified.skipped.push(Skipped { what: format!("history {}", file_name(&path)), why });
            }
            Ok(StoredHistory::Here(reader)) => match reader.end() {
                Ok(end) => return Some(Self::new(reader, (end.position, end.digest), dir, ledger)),
                Err(error) => verified.find(Finding::of_history(&error)),
            },
            Err(error) => verified.find(Finding::of_history(&error)),
        }
        None
    }

    fn new(reader: HistoryReader, end: (Position, StateDigest), dir: PathBuf, ledger: Uuid) -> Self {
        let damages = move || match HistoryReader::open(&dir, ledger)? {
            StoredHistory::Here(file) => file.damages(),
            _ => Err(HistoryError::File("it was removed meanwhile".to_owned())),
        };
        Self {
            reader,
            end,
            read: VecDeque::new(),
            last_read: Position::START,
            digest: StateDigest::default(),
            compared: Position::START,
            is_right: true,
            is_readable: true,
            damages: thread::spawn(move || damages().unwrap_or_else(|error| vec![error.to_string()])),
        }
    }

    /// What is wrong with the rows of the next records.
    pub(super) fn check(&mut self, records: &[Record]) -> Vec<Finding> {
        let mut findings = Vec::new();
        let end = self.end.0;
        for record in records.iter().filter(|record| record.position <= end) {
            if !self.is_readable {
                break;
            }
            let expected = row_of(record, &read(record));
            self.digest.merge(digest_of(&expected));
            self.compared = record.position;
            if let Err(error) = self.compare(&expected, &mut findings) {
                findings.push(wrong(record.position, &error.to_string()));
                self.is_readable = false;
            }
        }
        self.is_right &= findings.is_empty();
        findings
    }

    fn compare(&mut self, expected: &HistoryRow, findings: &mut Vec<Finding>) -> Result<(), HistoryError> {
        let position = expected.position;
        findings.extend(self.extra_rows(|at| at < position)?);
        findings.extend(match self.next_if(|at| at == position)? {
            Some(stored) => difference(&stored, expected),
            None => Some(wrong(position, "the row of this event is missing")),
        });
        Ok(())
    }

    /// Rows of positions that the ledger does not have: one finding, however many follow one another.
    fn extra_rows(&mut self, is_extra: impl Fn(Position) -> bool) -> Result<Option<Finding>, HistoryError> {
        let Some(first) = self.next_if(&is_extra)? else { return Ok(None) };
        let first = first.row.position;
        let (mut rows, mut last) = (1, first);
        while let Some(next) = self.next_if(&is_extra)? {
            (rows, last) = (rows + 1, next.row.position);
        }
        let what = match rows {
            1 => "there is a row of this position".to_owned(),
            _ => format!("there are {rows} rows from this position to {last}"),
        };
        Ok(Some(wrong(first, &format!("{what}, which the ledger does not have"))))
    }

    fn next_if(&mut self, is_wanted: impl Fn(Position) -> bool) -> Result<Option<StoredRow>, HistoryError> {
        if self.read.is_empty() {
            // The file may grow meanwhile.
            self.read = self.reader.rows_between(self.last_read, self.end.0, ROWS_AT_ONCE)?.into();
            self.last_read = self.read.back().map_or(self.last_read, |last| last.row.position);
        }
        let is_next = self.read.front().is_some_and(|next| is_wanted(next.row.position));
        Ok(if is_next { self.read.pop_front() } else { None })
    }

    /// What is left when the ledger has ended.
    pub(super) fn end(mut self, verified: &mut Verified) {
        let position = self.end.0;
        let mut findings = Vec::new();
        let rest = if self.is_readable { self.extra_rows(|_| true) } else { Ok(None) };
        findings.extend(rest.unwrap_or_else(|error| Some(Finding::of_history(&error))));
        if self.is_readable && self.compared < position {
            findings.push(wrong(position, "it ends at this position, which the ledger does not have"));
        } else if self.is_right && findings.is_empty() && self.digest != self.end.1 {
            findings.push(wrong(position, "its rows are right, and the digest kept with them is not"));
        }
        let damages = self.damages.join().unwrap_or_else(|_| vec!["looking at it panicked".to_owned()]);
        let damage = |what| Finding { position: None, what: format!("history: its file is damaged: {what}") };
        findings.extend(damages.into_iter().map(damage));
        if self.is_right && findings.is_empty() {
            verified.compared.push(Compared { what: "the history, row by row".to_owned(), position });
        }
        findings.into_iter().for_each(|finding| verified.find(finding));
    }
}

fn difference(stored: &StoredRow, expected: &HistoryRow) -> Option<Finding> {
    let what = if stored.row != *expected {
        let (field, stored, replayed) = stored.row.difference(expected)?;
        format!("{field} is {stored} in the row of this event, and {replayed} replayed")
    } else if !stored.is_intact {
        "the row of this event is right, and the check kept with it is not".to_owned()
    } else {
        return None;
    };
    Some(wrong(expected.position, &what))
}

fn wrong(position: Position, what: &str) -> Finding {
    Finding::at(position, format!("history: {what}"))
}
