//! Whether a file agrees with itself: its pages, its indexes, its rows, and what is kept beside them. Knows: every table.
//! Must not know: what the ledger says.

use std::collections::BTreeSet;

use grantbook_events::Position;
use grantbook_projections::live::StateDigest;
use rusqlite::Connection;

use super::HistoryError;
use super::file::HistoryReader;
use super::rows::{COLUMNS, read, read_unchecked};
use super::schema;
use super::writer::several;

/// What SQLite says of a file in which it finds nothing wrong.
const SOUND: &str = "ok";

/// What must not be in a file: how many there are, and the first position.
const CONTRADICTIONS: [(&str, &str); 6] = [
    (
        "rows of events are beyond where its rows end",
        "SELECT position FROM events WHERE position < 1 OR position > (SELECT position FROM state)",
    ),
    (
        "rows of several are beyond where its rows end",
        "SELECT position FROM several WHERE position < 1 OR position > (SELECT position FROM state)",
    ),
    (
        "rows have another latest time than the rows up to them",
        "SELECT position FROM (SELECT position, latest_at, max(recorded_at) OVER (ORDER BY position) AS latest \
         FROM events) WHERE latest_at <> latest",
    ),
    (
        "times kept with its end are not those of its rows",
        "SELECT position FROM state WHERE position > 0 AND (latest_at, most_behind) IS NOT \
         (SELECT max(latest_at), max(latest_at - recorded_at) FROM events)",
    ),
    (
        "events kept with its end are not its last",
        "SELECT position FROM state WHERE position > 0 AND (position, event_id) IS NOT \
         (SELECT position, event_id FROM events ORDER BY position DESC LIMIT 1)",
    ),
    (
        "positions kept as the one before its end are not that",
        "SELECT position FROM state WHERE previous <> \
         coalesce((SELECT max(position) FROM events WHERE position < (SELECT position FROM state)), 0)",
    ),
];

/// Everything that a file consists of, by name.
fn parts_of(conn: &Connection) -> Result<BTreeSet<(String, Option<String>)>, HistoryError> {
    let mut select = conn.prepare("SELECT type || ' ' || name, sql FROM sqlite_schema")?;
    Ok(select.query_map((), |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?)
}

impl HistoryReader {
    /// What is wrong with the file, whatever the ledger says. Reads all of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn damages(&self) -> Result<Vec<String>, HistoryError> {
        // The file may grow meanwhile: everything is seen at one moment.
        let conn = self.conn()?.unchecked_transaction()?;
        let mut check = conn.prepare("PRAGMA integrity_check")?;
        let said = check.query_map((), |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let mut damages: Vec<String> = said.into_iter().filter(|said| said != SOUND).collect();
        let (there, wanted) = (parts_of(&conn)?, parts_of(&schema::empty()?)?);
        damages
            .extend(wanted.difference(&there).map(|(name, _)| format!("{name} is missing, or is another")));
        damages.extend(there.difference(&wanted).map(|(name, _)| format!("{name} does not belong there")));
        for (what, query) in CONTRADICTIONS {
            let query = format!("SELECT count(*), min(position) FROM ({query})");
            let found: (i64, Option<i64>) =
                conn.query_row(&query, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
            if let (count, Some(first)) = found {
                damages.push(format!("{count} {what}, the first at position {first}"));
            }
        }
        damages.extend(self.wrongly_named()?);
        Ok(damages)
    }

    /// What is wrong with the tokens and users that lead to rows by the table of their own.
    fn wrongly_named(&self) -> Result<Vec<String>, HistoryError> {
        let query =
            format!("SELECT {COLUMNS} FROM events WHERE length(token_ids) > 16 OR token_users IS NOT NULL");
        let mut select = self.conn()?.prepare(&query)?;
        let mut named = self.conn()?.prepare("SELECT 1 FROM several WHERE named = ?1 AND position = ?2")?;
        let (mut right, mut missing, mut first) = (0, 0, None);
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let row = read_unchecked(row)?.row;
            for name in several(&row) {
                if named.exists((name, row.position.as_u64().cast_signed()))? {
                    right += 1;
                } else {
                    missing += 1;
                    first = first.or(Some(row.position));
                }
            }
        }
        let there: i64 = self.conn()?.query_row("SELECT count(*) FROM several", (), |row| row.get(0))?;
        let missing = first.map(|first| {
            format!("{missing} tokens or users do not lead to their row, the first at position {first}")
        });
        let surplus =
            (there != right).then(|| format!("{there} tokens and users lead to rows, and {right} are right"));
        Ok(missing.into_iter().chain(surplus).collect())
    }

    /// The sum over the rows up to a position, each as it was written.
    pub(super) fn sum_up_to(&self, position: Position) -> Result<StateDigest, HistoryError> {
        let mut sum = StateDigest::default();
        let mut select =
            self.conn()?.prepare(&format!("SELECT {COLUMNS} FROM events WHERE position <= ?1"))?;
        let mut rows = select.query([position.as_u64().cast_signed()])?;
        while let Some(row) = rows.next()? {
            sum.merge(read(row)?.digest);
        }
        Ok(sum)
    }

    /// Whether everything in the file is what was written. Reads all of it.
    pub(super) fn is_intact(&self) -> Result<bool, HistoryError> {
        let end = self.end()?;
        Ok(self.sum_up_to(end.position)? == end.digest && self.damages()?.is_empty())
    }

    /// Some of the events that could not be read, each with the position before it.
    pub(super) fn unreadable(&self, limit: usize) -> Result<Vec<(Position, Position)>, HistoryError> {
        let query = "SELECT position, coalesce(\
                     (SELECT max(position) FROM events AS earlier WHERE earlier.position < events.position), 0) \
                     FROM events WHERE actor_kind IS NULL ORDER BY position DESC LIMIT ?1";
        let mut select = self.conn()?.prepare(query)?;
        let read = |column, row: &rusqlite::Row<'_>| {
            Ok::<_, rusqlite::Error>(Position::new(row.get::<_, i64>(column)?.cast_unsigned()))
        };
        let found = select.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
            Ok((read(1, row)?, read(0, row)?))
        })?;
        Ok(found.collect::<Result<_, _>>()?)
    }
}
