//! What a file of the history is made of. Knows: tables, indexes, the version. Must not know: where files are.

use grantbook_projections::live::StateDigest;
use rusqlite::Connection;
use uuid::Uuid;

use super::HistoryError;

/// What is in a file: another number for every release that writes other rows.
pub const VERSION: u32 = 5;

/// No grantbook will come to this: what says so is damaged.
const VERSION_BEYOND: u32 = 10_000;

const SCHEMA: &str = "
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ledger BLOB NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB,
    previous INTEGER NOT NULL,
    latest_at INTEGER NOT NULL,
    digest BLOB NOT NULL,
    -- What event_tokens and event_users come to.
    leads BLOB NOT NULL
) STRICT;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    recorded_at INTEGER NOT NULL,
    -- The latest time up to this row: it grows with the position, whatever clocks do.
    latest_at INTEGER NOT NULL,
    event_id BLOB NOT NULL,
    stream TEXT NOT NULL,
    revision INTEGER NOT NULL,
    type TEXT NOT NULL,
    client_id BLOB,
    account_id TEXT,
    user_id TEXT,
    installation_id BLOB,
    token_ids BLOB,
    -- A JSON array.
    token_users TEXT,
    actor_kind TEXT,
    actor_id TEXT,
    reason TEXT,
    request_id TEXT,
    -- Over all other columns: checked whenever the row is read.
    crc INTEGER NOT NULL
) STRICT;
-- Each ends with the position, as every index does.
CREATE INDEX by_time ON events (latest_at);
-- How far clocks were behind, for the rows of those that were.
CREATE INDEX by_lag ON events (latest_at - recorded_at) WHERE recorded_at < latest_at;
CREATE INDEX by_type ON events (type);
CREATE INDEX by_app ON events (client_id) WHERE client_id IS NOT NULL;
CREATE INDEX by_account ON events (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX by_installation ON events (installation_id) WHERE installation_id IS NOT NULL;
CREATE INDEX by_actor ON events (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX by_reason ON events (reason) WHERE reason IS NOT NULL;
-- Whatever can be read says who did it.
CREATE INDEX unreadable ON events (position) WHERE actor_kind IS NULL;
CREATE TABLE event_tokens (
    token_id BLOB NOT NULL,
    position INTEGER NOT NULL,
    -- Whose token it is and until when, on the row of its issue.
    user_id TEXT,
    expires_at INTEGER,
    PRIMARY KEY (token_id, position)
) STRICT, WITHOUT ROWID;
-- Whose grant or tokens an event is about.
CREATE TABLE event_users (
    user_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user_id, position)
) STRICT, WITHOUT ROWID;
";

/// Makes a file of a ledger out of an empty one, all of it or nothing.
pub(super) fn make(conn: &Connection, ledger: Uuid) -> Result<(), HistoryError> {
    conn.execute_batch(&format!("BEGIN; {SCHEMA} PRAGMA user_version = {VERSION};"))?;
    let none = StateDigest::default().to_bytes();
    conn.execute(
        "INSERT INTO state VALUES (1, ?1, 0, NULL, 0, ?2, ?3, ?3)",
        (ledger.as_bytes(), i64::MIN, none),
    )?;
    Ok(conn.execute_batch("COMMIT")?)
}

/// A file as it is made, in memory.
pub(super) fn empty() -> Result<Connection, HistoryError> {
    let conn = Connection::open_in_memory()?;
    conn.execute_batch(SCHEMA)?;
    Ok(conn)
}

/// Why a file is of no use for a ledger, if it is not.
pub(super) fn is_of(conn: &Connection, ledger: Uuid) -> Result<Option<String>, HistoryError> {
    let version: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if !(1..VERSION_BEYOND).contains(&version) {
        return Err(HistoryError::File(format!("it has version {version}, which no grantbook gave it")));
    }
    if version != VERSION {
        return Ok(Some(format!("it has version {version}, and version {VERSION} is wanted")));
    }
    let of: Vec<u8> = conn.query_row("SELECT ledger FROM state", (), |row| row.get(0))?;
    Ok((of != ledger.as_bytes()).then(|| "it is of another ledger".to_owned()))
}
