//! The history folded again, and the stored rows held against it. Knows: rows. Must not know: the live
//! projection.

use std::collections::VecDeque;

use grantbook_events::Position;
use grantbook_projections::history::{HistoryRow, Remembered};
use grantbook_projections::live::StateDigest;

use super::run::each;
use super::{Compared, Finding, ReplayError, Step, Until};
use crate::audit::{Filter, HistoryError, HistoryReader, Order, row_of};
use crate::ledger::read;
use crate::store::{Record, Store};

/// Stored rows read at once.
const ROWS_AT_ONCE: usize = 1000;

/// Rows made of records, in order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    earlier: Remembered,
    pub digest: StateDigest,
}

impl Rows {
    pub(super) fn row(&mut self, record: &Record) -> HistoryRow {
        let Ok(row) = row_of(record, &mut self.earlier);
        if let Ok(recorded) = read(record) {
            self.earlier.see(&recorded);
        }
        row.digest(&mut self.digest);
        row
    }
}

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
    let (mut rows, mut events, mut position, mut refused) = (Rows::default(), 0, Position::START, None);
    let folded = each(store, |records, head| {
        for record in records {
            if !until.takes(record.position, record.recorded_at) {
                return Ok(false);
            }
            if let Err(error) = take(&rows.row(record)) {
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
        None => Ok((events, position, rows.digest)),
    }
}

/// Stored rows on their way to be compared with those that the ledger comes to.
#[derive(Debug)]
pub(super) struct Stored {
    reader: HistoryReader,
    /// Where the stored rows end, and what they should come to.
    end: (Position, StateDigest),
    read: VecDeque<HistoryRow>,
    last_read: Position,
    rows: Rows,
    found: u64,
    is_compared: bool,
}

impl Stored {
    pub(super) fn new(reader: HistoryReader) -> Result<Self, HistoryError> {
        let end = reader.state()?;
        Ok(Self {
            reader,
            end,
            read: VecDeque::new(),
            last_read: Position::START,
            rows: Rows::default(),
            found: 0,
            is_compared: false,
        })
    }

    /// Holds the row of a record against the stored one, and says what is wrong.
    pub(super) fn take(&mut self, record: &Record) -> Result<Vec<Finding>, HistoryError> {
        if record.position > self.end.0 {
            return Ok(Vec::new());
        }
        let expected = self.rows.row(record);
        let mut findings = Vec::new();
        loop {
            let Some(stored) = self.next()? else {
                findings.push(missing(record.position));
                break;
            };
            if stored.position < record.position {
                findings.push(surplus(stored.position));
                continue;
            }
            if stored.position > record.position {
                findings.push(missing(record.position));
                self.read.push_front(stored);
            } else if let Some((field, stored, replayed)) = stored.difference(&expected) {
                let what =
                    format!("history: {field} is {stored} in the row of this event, and {replayed} replayed");
                findings.push(Finding { position: Some(record.position), what });
            }
            break;
        }
        if record.position == self.end.0 {
            self.is_compared = true;
            if self.rows.digest != self.end.1 && self.found == 0 && findings.is_empty() {
                let what = "history: its rows are right, and the digest kept with them is not".to_owned();
                findings.push(Finding { position: Some(record.position), what });
            }
        }
        self.found += findings.len() as u64;
        Ok(findings)
    }

    /// What is left when the ledger has ended; or that all was the same.
    pub(super) fn end(mut self) -> Result<Result<Compared, Vec<Finding>>, HistoryError> {
        let mut findings = Vec::new();
        while let Some(row) = self.next()? {
            findings.push(surplus(row.position));
        }
        let position = self.end.0;
        if !self.is_compared && position != Position::START {
            let what = "history: it ends at this position, which the ledger does not have".to_owned();
            findings.push(Finding { position: Some(position), what });
        }
        if !findings.is_empty() || self.found > 0 {
            return Ok(Err(findings));
        }
        Ok(Ok(Compared { what: "the history, row by row".to_owned(), position }))
    }

    fn next(&mut self) -> Result<Option<HistoryRow>, HistoryError> {
        if self.read.is_empty() {
            // The file may grow meanwhile.
            let filter = Filter { after: Some(self.last_read), up_to: Some(self.end.0), ..Filter::default() };
            self.read = self.reader.rows(&filter, Order::OldestFirst, ROWS_AT_ONCE)?.into();
            if let Some(last) = self.read.back() {
                self.last_read = last.position;
            }
        }
        Ok(self.read.pop_front())
    }
}

fn missing(position: Position) -> Finding {
    Finding { position: Some(position), what: "history: the row of this event is missing".to_owned() }
}

fn surplus(position: Position) -> Finding {
    let what = "history: there is a row of this position, which the ledger does not have".to_owned();
    Finding { position: Some(position), what }
}
