//! The history in a directory, for what does not keep it: verification, and the evidence of what the ledger had. Knows:
//! the newest file. Must not know: how rows get into it.

use std::path::{Path, PathBuf};

use grantbook_events::{EventId, Position};
use grantbook_projections::live::StateDigest;
use rusqlite::{Connection, OptionalExtension as _, Row};
use uuid::Uuid;

use super::HistoryError;
use super::directory::Directory;
use super::file::HistoryReader;
use super::rows::{COLUMNS, StoredRow, read_unchecked};
use super::schema::is_of;
use crate::store::{Seen, SeenMark, database};

/// What history there is in a directory.
#[derive(Debug)]
pub enum StoredHistory {
    None,
    /// One of the ledger.
    Here(HistoryReader),
    /// One that cannot be used.
    Other {
        path: PathBuf,
        why: String,
    },
}

/// Where the rows of a file end.
#[derive(Debug, Clone, Copy)]
pub struct End {
    pub position: Position,
    pub event_id: Option<EventId>,
    /// The position before it.
    pub previous: Position,
    /// The sum over all rows.
    pub digest: StateDigest,
}

impl HistoryReader {
    /// The history in a directory, which another process may keep.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(dir: &Path, ledger: Uuid) -> Result<StoredHistory, HistoryError> {
        let Some(path) = Directory::new(dir.to_owned()).newest()? else { return Ok(StoredHistory::None) };
        let conn = database::open_to_read(&path)?;
        Ok(match is_of(&conn, ledger)? {
            None => StoredHistory::Here(Self::of(conn)),
            Some(why) => StoredHistory::Other { path, why },
        })
    }

    /// Where the rows end.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn end(&self) -> Result<End, HistoryError> {
        let read = |row: &Row<'_>| {
            let (position, previous): (i64, i64) = (row.get(0)?, row.get(2)?);
            let event_id: Option<[u8; 16]> = row.get(1)?;
            Ok(End {
                position: Position::new(position.cast_unsigned()),
                event_id: event_id.map(|id| EventId::new(Uuid::from_bytes(id))),
                previous: Position::new(previous.cast_unsigned()),
                digest: StateDigest::from_bytes(row.get(3)?),
            })
        };
        let select = "SELECT position, event_id, previous, digest FROM state";
        Ok(self.conn()?.query_row(select, (), read)?)
    }

    /// Rows after a position and up to another, the oldest first, at most so many, whether they are intact or not.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rows_between(
        &self,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredRow>, HistoryError> {
        let query = format!(
            "SELECT {COLUMNS} FROM events WHERE position > ?1 AND position <= ?2 ORDER BY position LIMIT ?3"
        );
        let mut select = self.conn()?.prepare_cached(&query)?;
        let [after, up_to] = [after, up_to].map(|position| position.as_u64().cast_signed());
        let mut rows = select.query((after, up_to, i64::try_from(limit).unwrap_or(i64::MAX)))?;
        let mut stored = Vec::new();
        while let Some(row) = rows.next()? {
            stored.push(read_unchecked(row)?);
        }
        Ok(stored)
    }

    /// Whether the last row is that of the event that the file says it ends with.
    pub(super) fn ends_with(&self, end: End) -> Result<bool, HistoryError> {
        let Some(event_id) = end.event_id else { return Ok(false) };
        Ok(has_last(self.conn()?, end.position, SeenMark::Event(event_id))?)
    }
}

/// The last event in the history of a directory, if it can be read.
pub fn history_seen(dir: &Path) -> Option<Seen> {
    let file = Directory::new(dir.to_owned()).newest().ok()??;
    let conn = database::open_to_read(&file).ok()?;
    let ledger = conn.query_row("SELECT ledger FROM state", (), |row| row.get(0)).ok()?;
    let end = HistoryReader::of(conn).end().ok()?;
    Some(Seen {
        file,
        ledger: Uuid::from_bytes(ledger),
        position: end.position,
        previous: end.previous,
        mark: SeenMark::Event(end.event_id?),
        is_intact: |seen| {
            database::open_to_read(&seen.file)
                .is_ok_and(|conn| has_last(&conn, seen.position, seen.mark).unwrap_or(false))
        },
    })
}

/// Whether the last row is the one that the end is said to be: two places would have to be damaged in the same
/// way.
fn has_last(conn: &Connection, position: Position, mark: SeenMark) -> rusqlite::Result<bool> {
    let last = "SELECT position, event_id FROM events ORDER BY position DESC LIMIT 1";
    let last = conn.query_row(last, (), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 16]>(1)?)));
    let Some((at, id)) = last.optional()? else { return Ok(false) };
    let id = SeenMark::Event(EventId::new(Uuid::from_bytes(id)));
    Ok(at.cast_unsigned() == position.as_u64() && id == mark)
}
