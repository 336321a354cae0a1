//! What a file of the history consists of. Knows: tables, indexes, the version. Must not know: where files are.

use grantbook_projections::live::StateDigest;
use rusqlite::Connection;
use uuid::Uuid;

use super::HistoryError;

/// What is in a file: another number for every release that writes other rows.
pub const VERSION: u32 = 6;

/// No grantbook will have this version: a file that says so is damaged.
const MAX_VERSION: u32 = 10_000;

const SCHEMA: &str = "
-- Where the rows end.
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ledger BLOB NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB,
    -- The position before the last.
    previous INTEGER NOT NULL,
    latest_at INTEGER NOT NULL,
    -- The most by which an event was recorded before the latest time of those before it.
    most_behind INTEGER NOT NULL,
    -- The sum over all rows.
    digest BLOB NOT NULL
) STRICT;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    recorded_at INTEGER NOT NULL,
    -- The latest time up to this row. It never falls, so a time leads to a position by a binary search.
    latest_at INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL,
    type TEXT NOT NULL,
    client_id BLOB,
    account_id TEXT,
    user_id TEXT,
    installation_id BLOB,
    -- 16 bytes each.
    token_ids BLOB,
    -- A JSON array.
    token_users TEXT,
    actor_kind TEXT,
    actor_id TEXT,
    reason TEXT,
    request_id TEXT,
    -- The first 8 bytes of the row's digest: checked whenever the row is read.
    digest INTEGER NOT NULL
) STRICT;
-- Each ends with the position, as every index does.
CREATE INDEX by_type ON events (type);
CREATE INDEX by_app ON events (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX by_account ON events (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX by_installation ON events (installation_id) WHERE installation_id IS NOT NULL;
CREATE INDEX by_user ON events (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX by_token ON events (token_ids) WHERE length(token_ids) = 16;
CREATE INDEX by_reason ON events (reason) WHERE reason IS NOT NULL;
-- Whatever can be read says who did it.
CREATE INDEX unreadable ON events (position) WHERE actor_kind IS NULL;
-- The tokens and users of an event that has several of them.
CREATE TABLE several (
    named ANY NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (named, position)
) STRICT, WITHOUT ROWID;
";

/// Makes a file of a ledger out of an empty one, all of it or nothing.
pub(super) fn make(conn: &Connection, ledger: Uuid) -> Result<(), HistoryError> {
    conn.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION};"))?;
    conn.execute(
        "INSERT INTO state VALUES (1, ?1, 0, NULL, 0, ?2, 0, ?3)",
        (ledger.as_bytes(), i64::MIN, StateDigest::default().to_bytes()),
    )?;
    Ok(conn.execute_batch("COMMIT")?)
}

/// A file as it is made, in memory.
pub(super) fn empty() -> Result<Connection, HistoryError> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(SCHEMA)?;
    Ok(conn)
}

/// Why a file cannot be used for a ledger, if it cannot.
pub(super) fn is_of(conn: &Connection, ledger: Uuid) -> Result<Option<String>, HistoryError> {
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(1..MAX_VERSION).contains(&version) {
        return Err(HistoryError::File(format!("it has version {version}, which no grantbook gave it")));
    }
    if version != VERSION {
        return Ok(Some(format!("it has version {version}, and version {VERSION} is wanted")));
    }
    let of: Vec<u8> = conn.query_row("SELECT ledger FROM state", (), |row| row.get(0))?;
    Ok((of != ledger.as_bytes()).then(|| "it is of another ledger".to_owned()))
}
