//! Adds rows to a file, and keeps beside them where they end. Knows: one connection that writes. Must not know: where
//! rows come from.

use grantbook_events::Position;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::StateDigest;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, Row, params_from_iter};

use super::HistoryError;
use super::rows::{COLUMNS, check_of, digest_of, values_of};

const UPDATE_STATE: &str = "UPDATE state SET position = ?1, event_id = ?2, previous = ?3, latest_at = ?4, \
                            most_behind = ?5, digest = ?6";

#[derive(Debug)]
pub(super) struct Writer {
    conn: Connection,
    sums: Sums,
}

/// What is kept of all rows together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub position: Position,
    pub latest_at: i64,
    pub most_behind: i64,
    pub digest: StateDigest,
}

/// The tokens and users that lead to a row by a table of their own, as the row's columns have room for one.
pub(super) fn several(row: &HistoryRow) -> impl Iterator<Item = Value> {
    let tokens = row.token_ids.iter().filter(|_| row.token_ids.len() > 1);
    let tokens = tokens.map(|token| Value::Blob(token.as_uuid().as_bytes().to_vec()));
    tokens.chain(row.token_users.iter().map(|user| Value::Text(user.to_string())))
}

impl Writer {
    pub(super) fn new(conn: Connection) -> Result<Self, HistoryError> {
        let read = |row: &Row<'_>| {
            Ok(Sums {
                position: Position::new(row.get::<_, i64>(0)?.cast_unsigned()),
                latest_at: row.get(1)?,
                most_behind: row.get(2)?,
                digest: StateDigest::from_bytes(row.get(3)?),
            })
        };
        let sums = conn.query_row("SELECT position, latest_at, most_behind, digest FROM state", (), read)?;
        Ok(Self { conn, sums })
    }

    /// Changes the file as a fault would.
    #[cfg(test)]
    pub(super) fn tamper(&self, sql: &str) {
        self.conn.execute_batch(sql).unwrap();
    }

    pub(super) const fn sums(&self) -> Sums {
        self.sums
    }

    /// Adds the rows that are not there yet, all of them or none.
    pub(super) fn insert(&mut self, rows: impl IntoIterator<Item = HistoryRow>) -> Result<(), HistoryError> {
        let (mut sums, mut ends) = (self.sums, None);
        let transaction = self.conn.transaction()?;
        {
            let insert = format!("INSERT INTO events ({COLUMNS}, latest_at) VALUES (?1{})", ", ?".repeat(17));
            let mut insert = transaction.prepare_cached(&insert)?;
            let mut insert_named =
                transaction.prepare_cached("INSERT OR IGNORE INTO several VALUES (?1, ?2)")?;
            for row in rows.into_iter().skip_while(|row| row.position <= self.sums.position) {
                let (previous, at) = (sums.position, row.recorded_at.as_micros());
                let digest = digest_of(&row);
                sums.position = row.position;
                sums.latest_at = sums.latest_at.max(at);
                sums.most_behind = sums.most_behind.max(sums.latest_at.saturating_sub(at));
                sums.digest.merge(digest);
                let beside = [check_of(digest), sums.latest_at].map(ToSqlOutput::from);
                insert.execute(params_from_iter(values_of(&row).iter().chain(&beside)))?;
                for named in several(&row) {
                    insert_named.execute((named, row.position.as_u64().cast_signed()))?;
                }
                ends = Some((row.event_id, previous));
            }
        }
        let Some((event_id, previous)) = ends else { return Ok(()) };
        transaction.prepare_cached(UPDATE_STATE)?.execute((
            sums.position.as_u64().cast_signed(),
            event_id.as_uuid().as_bytes(),
            previous.as_u64().cast_signed(),
            sums.latest_at,
            sums.most_behind,
            sums.digest.to_bytes(),
        ))?;
        transaction.commit()?;
        self.sums = sums;
        Ok(())
    }
}
