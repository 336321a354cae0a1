//! Event ids that are in a ledger twice. They are looked for in a temporary file, so that memory does not grow with the
//! ledger.

use grantbook_events::Position;
use rusqlite::Connection;

use crate::store::Record;

const SETUP: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768; BEGIN";
const TABLE: &str = "CREATE TABLE events (event_id BLOB, position INTEGER)";
/// Sorted once in the end, which is faster than keeping an index of random ids.
const REPEATED: &str = "SELECT first, position FROM events JOIN \
                        (SELECT event_id, min(position) AS first FROM events GROUP BY event_id HAVING count(*) > 1) \
                        USING (event_id) WHERE position > first ORDER BY position";

/// A database without a name is a temporary file, which SQLite removes.
pub(super) fn temporary(table: &str) -> rusqlite::Result<Connection> {
    let conn = Connection::open("")?;
    conn.execute_batch(SETUP)?;
    conn.execute_batch(table)?;
    Ok(conn)
}

#[derive(Debug)]
pub(super) struct EventIds(Connection);

impl EventIds {
    pub(super) fn new() -> rusqlite::Result<Self> {
        Ok(Self(temporary(TABLE)?))
    }

    pub(super) fn add(&self, records: &[Record]) -> rusqlite::Result<()> {
        let mut insert = self.0.prepare_cached("INSERT INTO events VALUES (?1, ?2)")?;
        for record in records {
            insert.execute((record.event_id.as_uuid().as_bytes(), record.position.as_u64().cast_signed()))?;
        }
        Ok(())
    }

    /// Each event whose id an earlier event has: the position of that one, and its own.
    pub(super) fn repeated(&self) -> rusqlite::Result<Vec<(Position, Position)>> {
        let mut select = self.0.prepare(REPEATED)?;
        let found = select.query_map((), |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
        let position = |at: i64| Position::new(at.cast_unsigned());
        found.map(|pair| pair.map(|(first, later)| (position(first), position(later)))).collect()
    }
}
