//! The shape of `ledger.db`, its making, and the checks of its format. Knows: tables, pragmas, versions.
//! Must not know: threads, callers, or how appends are decided.

use std::fs::File;
use std::path::Path;

use grantbook_events::{Position, Timestamp};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, params};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::files;
use crate::store::StoreError;
use crate::store::database;

/// "grnt", in the header of the file.
pub(super) const APPLICATION_ID: i64 = 0x6772_6e74;
/// The format written here, and the newest one read here; `PRAGMA user_version`.
pub(super) const FORMAT: i64 = 1;

/// The file versions of a database with a write-ahead log.
const WAL_VERSIONS: [u8; 2] = [2, 2];

/// The log only grows at its end: no other index, because a random page in the acknowledged transaction
/// is what makes an append slow. `previous` is the position of the record before it in its stream, so
/// that a stream is read backwards by primary key.
const LOG: &str = "CREATE TABLE log(\
    position INTEGER PRIMARY KEY, stream TEXT NOT NULL, revision INTEGER NOT NULL, previous INTEGER, \
    event_id TEXT NOT NULL, type TEXT NOT NULL, version INTEGER NOT NULL, recorded_at INTEGER NOT NULL, \
    metadata TEXT NOT NULL, payload TEXT NOT NULL, previous_digest BLOB, digest BLOB NOT NULL) STRICT";
const META: &str = "CREATE TABLE meta(\
    id INTEGER PRIMARY KEY CHECK (id = 1), identity TEXT NOT NULL, created_at INTEGER NOT NULL, \
    closed_at INTEGER NOT NULL, heads_crc INTEGER, touched INTEGER NOT NULL, digest BLOB NOT NULL) STRICT";
/// For people with the `sqlite3` tool.
const EVENTS: &str = "CREATE VIEW events AS SELECT \
    position, stream, revision, event_id, type, version, \
    strftime('%Y-%m-%dT%H:%M:%S', (recorded_at - (recorded_at % 1000000 + 1000000) % 1000000) / 1000000, \
    'unixepoch') || printf('.%06dZ', (recorded_at % 1000000 + 1000000) % 1000000) AS recorded_at, \
    metadata, payload, lower(hex(digest)) AS digest FROM log";

/// The one row of `meta`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Meta {
    /// Tells one ledger from another.
    pub identity: Uuid,
    pub created_at: Timestamp,
    /// The last position at the last clean stop: the log must reach at least this far.
    pub closed_at: Position,
    /// CRC-32 of `heads.db` as it was left by a clean stop; none while the ledger is being served.
    pub heads_crc: Option<u32>,
    /// Counts writes that exist only to be written.
    pub touched: u32,
}

impl Meta {
    pub(super) const fn new(identity: Uuid, created_at: Timestamp) -> Self {
        Self { identity, created_at, closed_at: Position::START, heads_crc: None, touched: 0 }
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.identity.as_bytes());
        hasher.update(self.created_at.as_micros().to_le_bytes());
        hasher.update(self.closed_at.as_u64().to_le_bytes());
        hasher.update(self.heads_crc.map_or(-1, i64::from).to_le_bytes());
        hasher.update(self.touched.to_le_bytes());
        hasher.finalize().into()
    }

    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.execute(
            "INSERT OR REPLACE INTO meta VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.identity.hyphenated().to_string(),
                self.created_at.as_micros(),
                self.closed_at.as_u64().cast_signed(),
                self.heads_crc,
                self.touched,
                self.digest(),
            ],
        )?;
        Ok(())
    }

    pub(super) fn read(conn: &Connection, path: &Path) -> Result<Self, StoreError> {
        let columns = "SELECT identity, created_at, closed_at, heads_crc, touched, digest FROM meta";
        let (identity, created_at, closed_at, heads_crc, touched, digest): (String, _, i64, _, _, [u8; 32]) =
            conn.query_one(columns, [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            })
            .map_err(|error| file_error(path, Position::START, &error))?;
        let meta = Self {
            identity: Uuid::parse_str(&identity).unwrap_or_default(),
            created_at: Timestamp::from_micros(created_at),
            closed_at: Position::new(closed_at.cast_unsigned()),
            heads_crc,
            touched,
        };
        if meta.digest() == digest {
            Ok(meta)
        } else {
            Err(damaged(path, Position::START, "its meta row is not what was written"))
        }
    }
}

/// Makes a new ledger file where there is none. It gets its name only when it is whole, so that a crash
/// leaves either a ledger or nothing.
pub(super) fn create(path: &Path, meta: &Meta) -> Result<(), StoreError> {
    let unfinished = path.with_extension("db.new");
    database::remove(&unfinished).map_err(|error| cannot_write(&unfinished, &error))?;
    let conn = create_empty(&unfinished)?;
    let written = meta.write(&conn).and_then(|()| conn.close().map_err(|(_, error)| error));
    written.map_err(|error| file_error(&unfinished, Position::START, &error))?;
    files::rename(&unfinished, path).map_err(|error| cannot_write(path, &error))
}

/// A new file with the tables and no rows.
pub(super) fn create_empty(path: &Path) -> Result<Connection, StoreError> {
    files::open(path).map_err(|error| cannot_write(path, &error))?;
    lay_out(path).map_err(|error| file_error(path, Position::START, &error))
}

fn lay_out(path: &Path) -> rusqlite::Result<Connection> {
    let conn = database::create(path, APPLICATION_ID, FORMAT)?;
    conn.pragma_update(None, "synchronous", "full")?;
    for sql in [LOG, META, EVENTS] {
        conn.execute_batch(sql)?;
    }
    Ok(conn)
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
    /// To read a file that nobody writes.
    Still,
}

/// Opens an existing ledger file, without looking into it.
pub(super) fn connect(path: &Path, access: Access) -> rusqlite::Result<Connection> {
    let conn = match access {
        Access::Write => database::open_to_write(path)?,
        Access::Read => database::open_to_read(path)?,
        Access::Still => database::open_unchanging(path)?,
    };
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "cell_size_check", true)?;
    if access == Access::Write {
        conn.pragma_update(None, "synchronous", "full")?;
        // A ledger that is refused is left as it is: its write-ahead log may be all that is left of its end.
        conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        // Checkpoints are not the writer's business: see `checkpoint.rs`.
        conn.pragma_update(None, "wal_autocheckpoint", 0)?;
    }
    Ok(conn)
}

/// Whether this is a whole ledger file of a format known here. The versions are those of its header, as
/// they were before the connection was opened.
pub(super) fn check(
    conn: &Connection,
    path: &Path,
    versions: std::io::Result<[u8; 2]>,
) -> Result<(), StoreError> {
    let pragma = |name: &str| {
        conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|error| file_error(path, Position::START, &error))
    };
    if pragma("application_id")? != APPLICATION_ID {
        return Err(damaged(path, Position::START, "it is not a grantbook ledger"));
    }
    let found = pragma("user_version")?;
    if found > FORMAT {
        return Err(StoreError::NewerFormat { path: path.display().to_string(), found, newest: FORMAT });
    }
    if found < FORMAT {
        return Err(damaged(path, Position::START, &format!("its format {found} was never in use")));
    }
    let versions = versions.map_err(|error| damaged(path, Position::START, &error.to_string()))?;
    // Pages are never freed. A header that says otherwise would have live pages written over.
    if versions != WAL_VERSIONS || pragma("freelist_count")? != 0 || pragma("auto_vacuum")? != 0 {
        return Err(damaged(path, Position::START, "its header is not what was written"));
    }
    let tables = tables(conn).map_err(|error| file_error(path, Position::START, &error))?;
    if tables != [LOG, META, EVENTS] {
        return Err(damaged(path, Position::START, "its tables are not those of a grantbook ledger"));
    }
    Ok(())
}

/// The write and read versions in the header of the file. SQLite may say something else of a file that it
/// takes for immutable.
///
/// Must not be called while this process has a connection to the file: when any descriptor of a file is
/// closed, the system takes away all locks that the process has on it, and those of the connection with
/// them. Whoever then looked with the `sqlite3` tool would take the server for gone and remove the
/// write-ahead log under it.
pub(super) fn file_versions(path: &Path) -> std::io::Result<[u8; 2]> {
    let mut header = [0; 20];
    std::io::Read::read_exact(&mut File::open(path)?, &mut header)?;
    Ok([header[18], header[19]])
}

fn tables(conn: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut statement = conn.prepare("SELECT sql FROM sqlite_schema ORDER BY rowid")?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Damage in a file, at the nearest position known.
pub(super) fn damaged(path: &Path, position: Position, what: &str) -> StoreError {
    StoreError::Damaged { position, detail: format!("{}: {what}", path.display()) }
}

pub(super) fn cannot_write(path: &Path, error: &dyn std::error::Error) -> StoreError {
    StoreError::CannotWrite(format!("{}: {error}", path.display()))
}

/// What an error of SQLite means for the ledger.
pub(super) fn file_error(path: &Path, position: Position, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull | ErrorCode::ReadOnly) => cannot_write(path, error),
        Some(ErrorCode::CannotOpen) if database::advice(path).is_some() => {
            StoreError::Unavailable(database::advice(path).unwrap_or_default())
        }
        Some(
            ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::CannotOpen
            | ErrorCode::SystemIoFailure
            | ErrorCode::OutOfMemory
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::OperationInterrupted,
        ) => StoreError::Unavailable(format!("{}: {error}", path.display())),
        // The statements are constants that fit the format, so what else can go wrong is the file.
        _ => damaged(path, position, &error.to_string()),
    }
}
