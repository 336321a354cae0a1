//! Ids that are in a ledger twice. They are kept in a temporary file, so that memory does not grow
//! with the ledger. Knows: ids and positions. Must not know: what has the id.

use grantbook_events::Position;
use rusqlite::Connection;
use uuid::Uuid;

use super::Finding;

const SETUP: &str = "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32768; BEGIN; \
                     CREATE TABLE ids (number INTEGER, id BLOB, position INTEGER)";
/// Sorted once in the end, which is faster than keeping an index of random ids. Numbers are sorted several times faster
/// than ids are, and an id that is there twice has its number twice.
const REPEATED: &str = "WITH few AS MATERIALIZED (SELECT id, position FROM ids WHERE number IN \
                        (SELECT number FROM ids GROUP BY number HAVING count(*) > 1)) \
                        SELECT id, first, position FROM few JOIN \
                        (SELECT id, min(position) AS first FROM few GROUP BY id HAVING count(*) > 1) \
                        USING (id) WHERE position > first ORDER BY position";

#[derive(Debug)]
pub(super) struct Ids(Connection);

impl Ids {
    pub(super) fn new() -> rusqlite::Result<Self> {
        // A database without a name is a temporary file, which SQLite removes.
        let conn = Connection::open("")?;
        conn.execute_batch(SETUP)?;
        Ok(Self(conn))
    }

    pub(super) fn add<'a>(
        &self,
        ids: impl IntoIterator<Item = (&'a Uuid, Position)>,
    ) -> rusqlite::Result<()> {
        let mut insert = self.0.prepare_cached("INSERT INTO ids VALUES (?1, ?2, ?3)")?;
        for (id, position) in ids {
            insert.execute((number_of(id), id.as_bytes(), position.as_u64().cast_signed()))?;
        }
        Ok(())
    }

    /// A finding for each id that was added before, in the words for the id and where it was first.
    pub(super) fn repeated(
        &self,
        words: impl Fn(Uuid, Position) -> String,
    ) -> rusqlite::Result<Vec<Finding>> {
        let mut select = self.0.prepare(REPEATED)?;
        let found = select.query_map((), |row| {
            let [first, later] = [row.get(1)?, row.get(2)?].map(|at: i64| Position::new(at.cast_unsigned()));
            Ok(Finding::at(later, words(Uuid::from_bytes(row.get(0)?), first)))
        })?;
        found.collect()
    }
}

/// The part of an id that is random in every version.
fn number_of(id: &Uuid) -> i64 {
    id.as_u64_pair().1.cast_signed()
}
