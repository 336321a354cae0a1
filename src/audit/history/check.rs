//! What a file says beside its rows, for those who hold it against the ledger. Knows: every table. Must not
//! know: what would be right.

use std::collections::BTreeSet;

use grantbook_events::{EventId, Position, Timestamp, TokenId, UserId};
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;
use rusqlite::{Connection, OptionalExtension as _};

use super::HistoryError;
use super::file::{End, HistoryReader};
use super::leads::{KeptToken, Leads};
use super::rows::{COLUMNS, is_intact, opaque, read, read_as_it_is};
use super::schema;

/// What SQLite says of a file in which it finds nothing wrong.
const SOUND: &str = "ok";

/// A row, and the latest time up to it.
#[derive(Debug)]
pub struct KeptRow {
    /// The row.
    pub row: HistoryRow,
    /// Whether it is what was written.
    pub is_intact: bool,
    /// The latest time of all rows up to this one.
    pub latest_at: Timestamp,
}

/// Everything that a file is made of, by name.
fn made_of(conn: &Connection) -> Result<BTreeSet<(String, Option<String>)>, HistoryError> {
    let mut select = conn.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
    Ok(select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

impl HistoryReader {
    /// What SQLite finds wrong with the file: with its pages, its tables and its indexes.
    ///
    /// # Errors
    /// If it cannot even look.
    pub fn damages(&self) -> Result<Vec<String>, HistoryError> {
        let mut check = self.conn()?.prepare("PRAGMA integrity_check")?;
        let said = check.query_map((), |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let mut damages: Vec<String> = said.into_iter().filter(|said| said != SOUND).collect();
        let (there, wanted) = (made_of(self.conn()?)?, made_of(&schema::empty()?)?);
        let differ = |what: &str, (name, _): &(String, Option<String>)| format!("{name} {what}");
        damages.extend(wanted.difference(&there).map(|item| differ("is missing, or is another", item)));
        damages.extend(there.difference(&wanted).map(|item| differ("does not belong there", item)));
        damages.extend(self.strays()?);
        Ok(damages)
    }

    /// Rows where none can be: before the first event, or behind the end.
    fn strays(&self) -> Result<Vec<String>, HistoryError> {
        let mut strays = Vec::new();
        for table in ["events", "event_tokens", "event_users"] {
            // One statement sees one moment, while the file may grow.
            let query = format!(
                "SELECT count(*), min(position) FROM {table} \
                 WHERE position < 1 OR position > (SELECT position FROM state)"
            );
            let (count, first): (i64, Option<i64>) =
                self.conn()?.query_row(&query, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
            if let Some(first) = first {
                strays.push(format!(
                    "{count} rows of {table} are beyond where its rows end, the first at position {first}"
                ));
            }
        }
        Ok(strays)
    }

    /// Rows behind a position and up to another, the oldest first, with what is kept of time beside them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn kept(&self, after: Position, up_to: Position, most: usize) -> Result<Vec<KeptRow>, HistoryError> {
        let query = format!(
            "SELECT {COLUMNS} FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3"
        );
        let mut select = self.conn()?.prepare_cached(&query)?;
        let [after, up_to] = [after, up_to].map(|position| position.as_u64().cast_signed());
        let mut rows = select.query((after, up_to, i64::try_from(most).unwrap_or(i64::MAX)))?;
        let mut kept = Vec::new();
        while let Some(row) = rows.next()? {
            let latest_at = Timestamp::from_micros(row.get("latest_at")?);
            let at: i64 = row.get("position")?;
            let is_intact = is_intact(row)?;
            let row = read_as_it_is(row).map_err(|error| match error {
                HistoryError::File(why) => HistoryError::File(format!("at position {at}: {why}")),
                error => error,
            });
            kept.push(KeptRow { row: row?, is_intact, latest_at });
        }
        Ok(kept)
    }

    /// What is kept of a token beside the row of a position.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn kept_token(&self, token: TokenId, at: Position) -> Result<Option<KeptToken>, HistoryError> {
        let select = "SELECT user_id, expires_at FROM event_tokens WHERE token_id = ?1 AND position = ?2";
        let found: Option<(Option<String>, Option<i64>)> = self
            .conn()?
            .prepare_cached(select)?
            .query_row((token.as_uuid().as_bytes(), at.as_u64().cast_signed()), |row| {
                Ok((row.get(0)?, row.get(1)?))
            })
            .optional()?;
        let Some((user, expires_at)) = found else { return Ok(None) };
        Ok(Some(KeptToken {
            token_id: token,
            user_id: user.map(opaque).transpose()?,
            expires_at: expires_at.map(Timestamp::from_micros),
        }))
    }

    /// Whether a user leads to the row of a position.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn leads_to(&self, user: &UserId, at: Position) -> Result<bool, HistoryError> {
        let select = "SELECT 1 FROM event_users WHERE user_id = ?1 AND position = ?2";
        let mut select = self.conn()?.prepare_cached(select)?;
        Ok(select.exists((user.as_str(), at.as_u64().cast_signed()))?)
    }

    /// Some of the events that could not be read, each with the position before it.
    pub(super) fn unreadable(&self, most: usize) -> Result<Vec<(Position, Position)>, HistoryError> {
        let query = "SELECT position, \
                     (SELECT max(position) FROM events AS earlier WHERE earlier.position < events.position) \
                     FROM events WHERE actor_kind IS NULL ORDER BY position DESC LIMIT ?1";
        let mut select = self.conn()?.prepare(query)?;
        let mut rows = select.query([i64::try_from(most).unwrap_or(i64::MAX)])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let (position, previous): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
            let previous = previous.map_or(Position::START, |at| Position::new(at.cast_unsigned()));
            found.push((previous, Position::new(position.cast_unsigned())));
        }
        Ok(found)
    }

    /// What leads to rows up to a position.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn leads(&self, up_to: Position) -> Result<Leads, HistoryError> {
        let mut leads = Leads::default();
        let up_to = [up_to.as_u64().cast_signed()];
        let tokens = "SELECT token_id, position, user_id, expires_at FROM event_tokens WHERE position <= ?1";
        let mut select = self.conn()?.prepare(tokens)?;
        let mut rows = select.query(up_to)?;
        while let Some(row) = rows.next()? {
            let token = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            let user = row.get_ref(2)?.as_str_or_null().map_err(rusqlite::Error::from)?;
            leads.add_token(token, row.get(1)?, user, row.get(3)?);
        }
        let users = "SELECT user_id, position FROM event_users WHERE position <= ?1";
        let mut select = self.conn()?.prepare(users)?;
        let mut rows = select.query(up_to)?;
        while let Some(row) = rows.next()? {
            leads.add_user(row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?, row.get(1)?);
        }
        Ok(leads)
    }

    /// The event that the rows end with, and the position before it, as they are kept with the end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn last(&self) -> Result<(Option<EventId>, Position), HistoryError> {
        let End { event_id, previous, .. } = self.end()?;
        Ok((event_id, previous))
    }

    /// The latest time of all, as it is kept with the position.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn latest_at(&self) -> Result<Timestamp, HistoryError> {
        let latest: i64 = self.conn()?.query_row("SELECT latest_at FROM state", (), |row| row.get(0))?;
        Ok(Timestamp::from_micros(latest))
    }

    /// Whether everything in the file is what was written: its pages, its indexes, its rows and their ends. Reads all
    /// of it.
    pub(super) fn is_whole(&self) -> Result<bool, HistoryError> {
        let (position, digest) = self.state()?;
        let (rows, leads) = (self.sum_of_rows()?, self.leads(position)?);
        let last = self.kept(Position::new(position.as_u64().saturating_sub(1)), position, 1)?.pop();
        let ends_so = match last {
            Some(kept) => kept.latest_at == self.latest_at()? && Some(kept.row.event_id) == self.last()?.0,
            None => position == Position::START,
        };
        Ok(ends_so && rows == digest && leads.digest() == self.leads_digest()? && self.damages()?.is_empty())
    }

    /// The sum over all rows.
    fn sum_of_rows(&self) -> Result<StateDigest, HistoryError> {
        let mut sum = StateDigest::default();
        let mut select = self.conn()?.prepare(&format!("SELECT {COLUMNS} FROM events"))?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            read(row)?.digest(&mut sum);
        }
        Ok(sum)
    }

    /// The sum that everything which leads to rows should have.
    fn leads_digest(&self) -> Result<StateDigest, HistoryError> {
        let digest = self.conn()?.query_row("SELECT leads FROM state", (), |row| row.get(0))?;
        Ok(StateDigest::from_bytes(digest))
    }

    /// What everything up to a position comes to, in every table.
    pub(super) fn sum_up_to(&self, position: Position) -> Result<(StateDigest, Leads), HistoryError> {
        let mut sum = StateDigest::default();
        let query = format!("SELECT {COLUMNS} FROM events WHERE position <= ?1");
        let mut select = self.conn()?.prepare(&query)?;
        let mut rows = select.query([position.as_u64().cast_signed()])?;
        while let Some(row) = rows.next()? {
            let (kept, latest_at): (_, i64) = (read(row)?, row.get("latest_at")?);
            kept.digest(&mut sum);
            sum.add("latest", &[&kept.position.as_u64().to_le_bytes(), &latest_at.to_le_bytes()]);
        }
        Ok((sum, self.leads(position)?))
    }
}
