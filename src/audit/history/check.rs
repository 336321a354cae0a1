//! Whether a file agrees with itself: its pages, its rows, its keys, and what is kept beside them. Knows: every table.
//! Must not know: what the ledger says.

use std::collections::BTreeSet;

use grantbook_events::Position;
use grantbook_projections::live::StateDigest;
use rusqlite::Connection;

use super::error::HistoryError;
use super::file::HistoryReader;
use super::rows::{COLUMNS, SCHEMA, fnv, keys_of, number, read, read_unchecked};

/// What SQLite says of a file in which it finds nothing wrong.
const SOUND: &str = "ok";

/// What must not be in a file: how many there are, and the first position.
const CONTRADICTIONS: [(&str, &str); 5] = [
    (
        "rows of events are beyond where its rows end",
        "SELECT position FROM events WHERE position < 1 OR position > (SELECT position FROM state)",
    ),
    (
        "rows of keys are beyond where its rows end",
        "SELECT position FROM keys WHERE position < 1 OR position > (SELECT position FROM state)",
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

/// The parts of a new file.
fn right_parts() -> Result<BTreeSet<(String, Option<String>)>, HistoryError> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(SCHEMA)?;
    parts_of(&conn)
}

/// One number of a key and where it leads. What these add up to does not depend on their order.
fn weight_of(key: i64, position: i64) -> i64 {
    fnv([key, position].into_iter().flat_map(i64::to_le_bytes))
}

impl HistoryReader {
    /// What is wrong with the file, whatever the ledger says. Reads all of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn damages(&self) -> Result<Vec<String>, HistoryError> {
        // The file may grow meanwhile: everything is seen at one moment.
        let conn = self.conn.unchecked_transaction()?;
        let mut check = conn.prepare("PRAGMA integrity_check")?;
        let said = check.query_map((), |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
        let mut damages: Vec<String> = said.into_iter().filter(|said| said != SOUND).collect();
        let (there, right) = (parts_of(&conn)?, right_parts()?);
        damages.extend(right.difference(&there).map(|(name, _)| format!("{name} is missing, or is another")));
        damages.extend(there.difference(&right).map(|(name, _)| format!("{name} does not belong there")));
        for (what, query) in CONTRADICTIONS {
            let query = format!("SELECT count(*), min(position) FROM ({query})");
            let found: (i64, Option<i64>) =
                conn.query_row(&query, (), |row| Ok((row.get(0)?, row.get(1)?)))?;
            if let (count, Some(first)) = found {
                damages.push(format!("{count} {what}, the first at position {first}"));
            }
        }
        let end = self.end()?;
        let is_empty = end.event_id.is_none() && end.position == Position::START;
        if !is_empty && !self.ends_with(end)? {
            damages.push(format!(
                "the event kept with its end is not its last, that of position {}",
                end.position
            ));
        }
        damages.extend(self.wrong_keys()?);
        Ok(damages)
    }

    /// What is wrong with the keys. What they add up to is compared first, as looking each up takes much longer.
    fn wrong_keys(&self) -> Result<Vec<String>, HistoryError> {
        let (mut of_rows, mut of_keys, mut there) = (0_i64, 0_i64, 0);
        self.each_key(|key, position| {
            of_rows = of_rows.wrapping_add(weight_of(key, position));
            Ok(())
        })?;
        let mut select = self.conn.prepare("SELECT key, position FROM keys")?;
        let mut keys = select.query(())?;
        while let Some(row) = keys.next()? {
            of_keys = of_keys.wrapping_add(weight_of(row.get(0)?, row.get(1)?));
            there += 1;
        }
        let (mut right, mut missing, mut first) = (0, 0, None);
        if of_rows != of_keys {
            let mut find = self.conn.prepare("SELECT 1 FROM keys WHERE key = ?1 AND position = ?2")?;
            self.each_key(|key, position| {
                if find.exists((key, position))? {
                    right += 1;
                } else {
                    missing += 1;
                    first = first.or(Some(position));
                }
                Ok(())
            })?;
        } else {
            right = there;
        }
        let missing = first
            .map(|first| format!("{missing} keys do not lead to their row, the first at position {first}"));
        let surplus = (there != right).then(|| format!("{there} keys lead to rows, and {right} are right"));
        Ok(missing.into_iter().chain(surplus).collect())
    }

    /// Every key that must be there, and where it leads.
    fn each_key(
        &self,
        mut take: impl FnMut(i64, i64) -> Result<(), HistoryError>,
    ) -> Result<(), HistoryError> {
        let mut select = self.conn.prepare(&format!("SELECT {COLUMNS} FROM events"))?;
        let mut rows = select.query(())?;
        while let Some(row) = rows.next()? {
            let row = read_unchecked(row)?.row;
            keys_of(&row).into_iter().try_for_each(|key| take(key, number(row.position)))?;
        }
        Ok(())
    }

    /// The sum over the rows up to a position, each as it was written.
    pub(super) fn sum_up_to(&self, position: Position) -> Result<StateDigest, HistoryError> {
        let mut sum = StateDigest::default();
        let mut select = self.conn.prepare(&format!("SELECT {COLUMNS} FROM events WHERE position <= ?1"))?;
        let mut rows = select.query([number(position)])?;
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
}
