//! What a file says beside its rows, for those who hold it against the ledger. Knows: every table. Must not
//! know: what would be right.

use grantbook_events::{Position, Timestamp, TokenId, UserId};
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;
use rusqlite::OptionalExtension as _;

use super::file::HistoryReader;
use super::rows::{COLUMNS, KeptToken, opaque, read};
use super::{Filter, HistoryError, Order};

/// What SQLite says of a file in which it finds nothing wrong.
const SOUND: &str = "ok";

/// A row, and the latest time up to it.
#[derive(Debug)]
pub struct KeptRow {
    /// The row.
    pub row: HistoryRow,
    /// The latest time of all rows up to this one.
    pub latest_at: Timestamp,
}

impl HistoryReader {
    /// What SQLite finds wrong with the file: with its pages, its tables and its indexes.
    ///
    /// # Errors
    /// If it cannot even look.
    pub fn damages(&self) -> Result<Vec<String>, HistoryError> {
        let mut check = self.conn()?.prepare("PRAGMA integrity_check")?;
        let said = check.query_map((), |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        Ok(said.into_iter().filter(|said| said != SOUND).collect())
    }

    /// Rows behind a position and up to another, the oldest first, with what is kept of time beside them.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn kept(&self, after: Position, up_to: Position, most: usize) -> Result<Vec<KeptRow>, HistoryError> {
        let filter = Filter { after: Some(after), up_to: Some(up_to), ..Filter::default() };
        let rows = self.rows(&filter, Order::OldestFirst, most)?;
        let latest = "SELECT latest_at FROM events WHERE position = ?1";
        let mut latest = self.conn()?.prepare_cached(latest)?;
        let mut kept = Vec::with_capacity(rows.len());
        for row in rows {
            let at: i64 = latest.query_row([row.position.as_u64().cast_signed()], |row| row.get(0))?;
            kept.push(KeptRow { row, latest_at: Timestamp::from_micros(at) });
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

    /// How many tokens and users lead to rows up to a position.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn leads(&self, up_to: Position) -> Result<(u64, u64), HistoryError> {
        let count = |table: &str| -> Result<u64, HistoryError> {
            let select = format!("SELECT count(*) FROM {table} WHERE position <= ?1");
            let count: i64 =
                self.conn()?.query_row(&select, [up_to.as_u64().cast_signed()], |row| row.get(0))?;
            Ok(count.cast_unsigned())
        };
        Ok((count("event_tokens")?, count("event_users")?))
    }

    /// The latest time of all, as it is kept with the position.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn latest_at(&self) -> Result<Timestamp, HistoryError> {
        let latest: i64 = self.conn()?.query_row("SELECT latest_at FROM state", (), |row| row.get(0))?;
        Ok(Timestamp::from_micros(latest))
    }

    /// What everything up to a position comes to, in every table.
    pub(super) fn sum_up_to(&self, position: Position) -> Result<StateDigest, HistoryError> {
        let mut sum = StateDigest::default();
        let up_to = [position.as_u64().cast_signed()];
        let query = format!("SELECT {COLUMNS}, latest_at FROM events WHERE position <= ?1");
        let mut select = self.conn()?.prepare(&query)?;
        let mut rows = select.query(up_to)?;
        while let Some(row) = rows.next()? {
            let (kept, latest_at): (_, i64) = (read(row)?, row.get("latest_at")?);
            kept.digest(&mut sum);
            sum.add("latest", &[&kept.position.as_u64().to_le_bytes(), &latest_at.to_le_bytes()]);
        }
        for (table, columns) in [
            ("event_tokens", "hex(token_id), position, ifnull(user_id, ''), ifnull(expires_at, '')"),
            ("event_users", "'', position, user_id, ''"),
        ] {
            let query = format!("SELECT {columns} FROM {table} WHERE position <= ?1");
            let mut select = self.conn()?.prepare(&query)?;
            let mut rows = select.query(up_to)?;
            while let Some(row) = rows.next()? {
                let (token, position): (String, i64) = (row.get(0)?, row.get(1)?);
                let (user, expires_at): (String, rusqlite::types::Value) = (row.get(2)?, row.get(3)?);
                let expires_at = format!("{expires_at:?}");
                let fields =
                    [token.as_bytes(), &position.to_le_bytes(), user.as_bytes(), expires_at.as_bytes()];
                sum.add(table, &fields);
            }
        }
        Ok(sum)
    }
}
