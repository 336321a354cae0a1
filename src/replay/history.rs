//! The history folded again, and the stored rows held against it. Knows: rows. Must not know: the live
//! projection.

use std::collections::{BTreeSet, VecDeque};

use grantbook_events::{EventId, Position, Timestamp, UserId};
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;

use super::run::each;
use super::{Compared, Finding, ReplayError, Step, Until, check_end};
use crate::audit::{HistoryError, HistoryReader, KeptRow, KeptToken, Leads, row_and_tokens};
use crate::ledger::read;
use crate::store::{Record, Store};

/// Stored rows read at once.
const ROWS_AT_ONCE: usize = 1000;

/// Rows made of records, in order.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub digest: StateDigest,
    /// The latest time so far, whatever clocks did.
    latest_at: Option<Timestamp>,
}

/// What a record comes to.
struct Expected {
    row: HistoryRow,
    latest_at: Timestamp,
    tokens: Vec<KeptToken>,
}

impl Expected {
    fn users(&self) -> BTreeSet<&UserId> {
        self.row.users().collect()
    }
}

impl Rows {
    pub(super) fn row(&mut self, record: &Record) -> HistoryRow {
        self.expected(record).row
    }

    fn expected(&mut self, record: &Record) -> Expected {
        let event = read(record);
        let (row, tokens) = row_and_tokens(record, &event);
        row.digest(&mut self.digest);
        let latest_at = self.latest_at.unwrap_or(row.recorded_at).max(row.recorded_at);
        self.latest_at = Some(latest_at);
        Expected { row, latest_at, tokens }
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
    check_end(store, until).await?;
    let (mut rows, mut events, mut position, mut refused) = (Rows::default(), 0, Position::START, None);
    let folded = each(store, |records, head| {
        for record in records {
            if until.is_before(record.position) {
                return Ok(false);
            }
            if !until.takes(record.position, record.recorded_at) {
                continue;
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
    /// The last event and the position before it, as they are kept with where the rows end.
    last: (Option<EventId>, Position),
    /// The latest time, as it is kept with where they end.
    latest_at: Timestamp,
    /// The position of the record looked at before.
    previous: Position,
    read: VecDeque<KeptRow>,
    last_read: Position,
    rows: Rows,
    /// What should lead to rows.
    leads: Leads,
    /// Whether nothing is wrong with the file so far.
    is_right: bool,
    is_compared: bool,
}

impl Stored {
    pub(super) fn new(reader: HistoryReader) -> Result<Self, HistoryError> {
        let (end, last, latest_at) = (reader.state()?, reader.last()?, reader.latest_at()?);
        Ok(Self {
            reader,
            end,
            last,
            latest_at,
            previous: Position::START,
            read: VecDeque::new(),
            last_read: Position::START,
            rows: Rows::default(),
            leads: Leads::default(),
            is_right: true,
            is_compared: false,
        })
    }

    /// Holds the rows of records against the stored ones, and says what is wrong.
    pub(super) fn check(
        &mut self,
        records: &[Record],
        findings: &mut Vec<Finding>,
    ) -> Result<(), HistoryError> {
        let (before, end) = (findings.len(), self.end.0);
        for record in records.iter().filter(|record| record.position <= end) {
            let expected = self.rows.expected(record);
            self.compare_row(&expected, findings)?;
            self.leads.add(record.position, &expected.tokens, expected.users());
            let previous = std::mem::replace(&mut self.previous, record.position);
            if record.position == end {
                self.is_compared = true;
                self.is_right &= findings.len() == before;
                self.compare_end(&expected, previous, findings);
            }
        }
        self.is_right &= findings.len() == before;
        Ok(())
    }

    fn compare_row(&mut self, expected: &Expected, findings: &mut Vec<Finding>) -> Result<(), HistoryError> {
        let position = expected.row.position;
        let mut surplus = Surplus::default();
        loop {
            let Some(stored) = self.next()? else {
                findings.extend(surplus.told());
                findings.push(missing(position));
                return Ok(());
            };
            if stored.row.position < position {
                surplus.add(stored.row.position);
                continue;
            }
            findings.extend(surplus.told());
            if stored.row.position > position {
                findings.push(missing(position));
                self.read.push_front(stored);
            } else {
                findings.extend(difference(&stored, expected));
            }
            return Ok(());
        }
    }

    /// What is kept with the end of the rows.
    fn compare_end(&self, expected: &Expected, previous: Position, findings: &mut Vec<Finding>) {
        let (position, latest_at) = (self.end.0, expected.latest_at);
        if self.last != (Some(expected.row.event_id), previous) {
            let what = "the event kept with its end, or the position before it, is another".to_owned();
            findings.push(wrong(position, what));
        }
        if self.latest_at != latest_at {
            let what =
                format!("the latest time kept with its end is {}, and {latest_at} replayed", self.latest_at);
            findings.push(wrong(position, what));
        }
        if self.rows.digest != self.end.1 && self.is_right {
            let what = "its rows are right, and the digest kept with them is not".to_owned();
            findings.push(wrong(position, what));
        }
    }

    /// What is left when the ledger has ended; or that all was the same.
    pub(super) fn end(mut self) -> Result<Ended, HistoryError> {
        let mut findings = Vec::new();
        let mut surplus = Surplus::default();
        while let Some(stored) = self.next()? {
            surplus.add(stored.row.position);
        }
        findings.extend(surplus.told());
        let position = self.end.0;
        if !self.is_compared && position != Position::START {
            findings
                .push(wrong(position, "it ends at this position, which the ledger does not have".to_owned()));
        }
        let (kept, replayed) = (self.reader.leads(position)?, self.leads);
        for (what, kept, replayed) in
            [("tokens", kept.tokens, replayed.tokens), ("users", kept.users, replayed.users)]
        {
            // Those that are missing are named.
            if kept > replayed {
                let what = format!("history: {kept} {what} lead to rows, and {replayed} replayed");
                findings.push(Finding { position: None, what });
            }
        }
        let is_right = self.is_right && findings.is_empty() && kept == replayed;
        let same = is_right.then(|| Compared { what: "the history, row by row".to_owned(), position });
        let leading = Leading { reader: self.reader, end: position, rows: Rows::default() };
        Ok(Ended { findings, misled: (kept != replayed).then_some(leading), same })
    }

    fn next(&mut self) -> Result<Option<KeptRow>, HistoryError> {
        if self.read.is_empty() {
            // The file may grow meanwhile.
            self.read = self.reader.kept(self.last_read, self.end.0, ROWS_AT_ONCE)?.into();
            if let Some(last) = self.read.back() {
                self.last_read = last.row.position;
            }
        }
        Ok(self.read.pop_front())
    }
}

/// What became of the comparison.
#[derive(Debug)]
pub(super) struct Ended {
    /// What is wrong that was not told yet.
    pub findings: Vec<Finding>,
    /// If what leads to the rows is not what it should be: finds out where.
    pub misled: Option<Leading>,
    /// That nothing differs, if so.
    pub same: Option<Compared>,
}

/// Looks for each token and user whether it leads to its row: much slower than comparing the sum of them all, so
/// this is done only if that differs.
#[derive(Debug)]
pub(super) struct Leading {
    reader: HistoryReader,
    end: Position,
    rows: Rows,
}

impl Leading {
    /// Says which tokens and users of some events do not lead to their rows.
    pub(super) fn check(
        &mut self,
        records: &[Record],
        findings: &mut Vec<Finding>,
    ) -> Result<(), HistoryError> {
        for record in records.iter().filter(|record| record.position <= self.end) {
            let (expected, at) = (self.rows.expected(record), record.position);
            for token in &expected.tokens {
                findings.extend(self.token(token, at)?);
            }
            for user in expected.users() {
                if !self.reader.leads_to(user, at)? {
                    findings.push(wrong(at, format!("user {user} does not lead to the row of this event")));
                }
            }
        }
        Ok(())
    }

    fn token(&self, token: &KeptToken, at: Position) -> Result<Option<Finding>, HistoryError> {
        let id = token.token_id;
        Ok(match self.reader.kept_token(id, at)? {
            Some(kept) if kept == *token => None,
            Some(kept) => Some(wrong(
                at,
                format!(
                    "token {id} is kept with user {} and end {}, and has user {} and end {} replayed",
                    or_none(kept.user_id.as_ref()),
                    or_none(kept.expires_at.as_ref()),
                    or_none(token.user_id.as_ref()),
                    or_none(token.expires_at.as_ref()),
                ),
            )),
            None => Some(wrong(at, format!("token {id} does not lead to the row of this event"))),
        })
    }
}

fn difference(stored: &KeptRow, expected: &Expected) -> Option<Finding> {
    let at = expected.row.position;
    if stored.row == expected.row && stored.latest_at == expected.latest_at && stored.is_intact {
        return None;
    }
    if let Some((field, stored, replayed)) = stored.row.difference(&expected.row) {
        return Some(wrong(
            at,
            format!("{field} is {stored} in the row of this event, and {replayed} replayed"),
        ));
    }
    let (kept, replayed) = (stored.latest_at, expected.latest_at);
    if kept == replayed {
        return Some(wrong(
            at,
            "the row of this event is right, and the check kept with it is not".to_owned(),
        ));
    }
    (kept != replayed).then(|| {
        wrong(at, format!("the latest time is {kept} in the row of this event, and {replayed} replayed"))
    })
}

fn or_none<T: ToString>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), T::to_string)
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
