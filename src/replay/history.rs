//! The history folded again, and the stored rows held against it. Knows: rows. Must not know: the live
//! projection.

use std::collections::VecDeque;

use grantbook_events::Position;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;

use super::run::each;
use super::{Compared, Finding, ReplayError, Step, Until, check_end};
use crate::audit::{HistoryError, HistoryReader, StoredRow, digest_of, row_of};
use crate::ledger::read;
use crate::store::{Record, Store};

/// Stored rows read at once.
const ROWS_AT_ONCE: usize = 1000;

/// Folds the history from the ledger's first event. `take` is given every row, in order. Gives how many there
/// were, the last of their positions, and their digest.
///
/// # Errors
/// If the store cannot be read, and those of `take`.
pub async fn run_history<E: From<ReplayError>>(
    store: &dyn Store,
    until: Until,
    mut progress: impl FnMut(Step),
    mut take: impl FnMut(&HistoryRow) -> Result<(), E>,
) -> Result<(u64, Position, StateDigest), E> {
    check_end(store, until).await?;
    let (mut digest, mut events, mut position, mut refused) =
        (StateDigest::default(), 0, Position::START, None);
    let folded = each(store, |records, head| {
        for record in records {
            if until.is_before(record.position) {
                return Ok(false);
            }
            if !until.takes(record.position, record.recorded_at) {
                continue;
            }
            let row = row_of(record, &read(record));
            digest.merge(digest_of(&row));
            if let Err(error) = take(&row) {
                refused = Some(error);
                return Ok(false);
            }
            (events, position) = (events + 1, record.position);
        }
        progress(Step { events, position, head });
        Ok(true)
    });
    folded.await?;
    match refused {
        Some(error) => Err(error),
        None => Ok((events, position, digest)),
    }
}

/// Stored rows on their way to be compared with those of the ledger's events.
#[derive(Debug)]
pub(super) struct Stored {
    reader: HistoryReader,
    /// Where the stored rows end, and the digest kept with that.
    end: (Position, StateDigest),
    read: VecDeque<StoredRow>,
    last_read: Position,
    /// That of the rows of the ledger's events.
    digest: StateDigest,
    is_right: bool,
    is_compared: bool,
}

impl Stored {
    pub(super) fn new(reader: HistoryReader) -> Result<Self, HistoryError> {
        let end = reader.end()?;
        Ok(Self {
            reader,
            end: (end.position, end.digest),
            read: VecDeque::new(),
            last_read: Position::START,
            digest: StateDigest::default(),
            is_right: true,
            is_compared: false,
        })
    }

    /// Compares the rows of records with the stored ones, and says what is wrong.
    pub(super) fn check(
        &mut self,
        records: &[Record],
        findings: &mut Vec<Finding>,
    ) -> Result<(), HistoryError> {
        let (before, (end, digest)) = (findings.len(), self.end);
        for record in records.iter().filter(|record| record.position <= end) {
            let expected = row_of(record, &read(record));
            self.digest.merge(digest_of(&expected));
            self.compare_row(&expected, findings)?;
            if record.position == end {
                self.is_compared = true;
                if self.is_right && findings.len() == before && self.digest != digest {
                    findings.push(wrong(
                        end,
                        "its rows are right, and the digest kept with them is not".to_owned(),
                    ));
                }
            }
        }
        self.is_right &= findings.len() == before;
        Ok(())
    }

    fn compare_row(
        &mut self,
        expected: &HistoryRow,
        findings: &mut Vec<Finding>,
    ) -> Result<(), HistoryError> {
        let position = expected.position;
        let mut surplus = Surplus::default();
        while let Some(stored) = self.next()? {
            if stored.row.position < position {
                surplus.add(stored.row.position);
                continue;
            }
            findings.extend(surplus.told());
            if stored.row.position == position {
                findings.extend(difference(&stored, expected));
            } else {
                findings.push(missing(position));
                self.read.push_front(stored);
            }
            return Ok(());
        }
        findings.extend(surplus.told());
        findings.push(missing(position));
        Ok(())
    }

    /// What is left when the ledger has ended; or that all was the same.
    pub(super) fn end(mut self) -> Result<Result<Compared, Vec<Finding>>, HistoryError> {
        let mut findings = Vec::new();
        let mut surplus = Surplus::default();
        while let Some(stored) = self.next()? {
            surplus.add(stored.row.position);
        }
        findings.extend(surplus.told());
        let (position, _) = self.end;
        if !self.is_compared && position != Position::START {
            findings
                .push(wrong(position, "it ends at this position, which the ledger does not have".to_owned()));
        }
        if self.is_right && findings.is_empty() {
            return Ok(Ok(Compared { what: "the history, row by row".to_owned(), position }));
        }
        Ok(Err(findings))
    }

    fn next(&mut self) -> Result<Option<StoredRow>, HistoryError> {
        if self.read.is_empty() {
            // The file may grow meanwhile.
            self.read = self.reader.rows_between(self.last_read, self.end.0, ROWS_AT_ONCE)?.into();
            if let Some(last) = self.read.back() {
                self.last_read = last.row.position;
            }
        }
        Ok(self.read.pop_front())
    }
}

fn difference(stored: &StoredRow, expected: &HistoryRow) -> Option<Finding> {
    let at = expected.position;
    if let Some((field, stored, replayed)) = stored.row.difference(expected) {
        let what = format!("{field} is {stored} in the row of this event, and {replayed} replayed");
        return Some(wrong(at, what));
    }
    let what = "the row of this event is right, and the check kept with it is not";
    (!stored.is_intact).then(|| wrong(at, what.to_owned()))
}

fn wrong(position: Position, what: String) -> Finding {
    Finding::at(position, format!("history: {what}"))
}

fn missing(position: Position) -> Finding {
    wrong(position, "the row of this event is missing".to_owned())
}

/// Rows in a row of which the ledger has no event: told together, however many there are.
#[derive(Debug, Default)]
struct Surplus {
    rows: u64,
    first: Position,
    last: Position,
}

impl Surplus {
    fn add(&mut self, position: Position) {
        if self.rows == 0 {
            self.first = position;
        }
        (self.rows, self.last) = (self.rows + 1, position);
    }

    fn told(&self) -> Option<Finding> {
        let Self { rows, last, .. } = self;
        let what = match rows {
            0 => return None,
            1 => "there is a row of this position, which the ledger does not have".to_owned(),
            _ => {
                format!("there are {rows} rows from this position to {last}, which the ledger does not have")
            }
        };
        Some(wrong(self.first, what))
    }
}
