//! The shape of `ledger.db`, and the checks of its format. Knows: tables, pragmas, versions. Must not know:
//! threads, callers, or how appends are decided.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use grantbook_events::{Position, Timestamp};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, params};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::files;
use crate::store::StoreError;
use crate::store::database;

/// "grnt", in the header of the file.
const APPLICATION_ID: i64 = 0x6772_6e74;
/// The format written here, and the newest one read here; `PRAGMA user_version`.
pub(super) const FORMAT: i64 = 2;
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
    closed_at INTEGER NOT NULL, touched INTEGER NOT NULL, digest BLOB NOT NULL) STRICT";
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
    /// Counts writes that exist only to be written.
    pub touched: u32,
}

impl Meta {
    pub(super) const fn new(identity: Uuid, created_at: Timestamp) -> Self {
        Self { identity, created_at, closed_at: Position::START, touched: 0 }
    }

    fn digest(&self) -> [u8; 32] {
        let mut hasher = Sha256::new();
        hasher.update(self.identity.as_bytes());
        hasher.update(self.created_at.as_micros().to_le_bytes());
        hasher.update(self.closed_at.as_u64().to_le_bytes());
        hasher.update(self.touched.to_le_bytes());
        hasher.finalize().into()
    }

    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        conn.execute(
            "INSERT OR REPLACE INTO meta VALUES (1, ?1, ?2, ?3, ?4, ?5)",
            params![
                self.identity.hyphenated().to_string(),
                self.created_at.as_micros(),
                self.closed_at.as_u64().cast_signed(),
                self.touched,
                self.digest(),
            ],
        )?;
        Ok(())
    }

    pub(super) fn read(log: &Log) -> Result<Self, StoreError> {
        let (meta, digest) = log.ask(Position::START, |conn| {
            let columns = "SELECT identity, created_at, closed_at, touched, digest FROM meta";
            conn.query_one(columns, [], |row| {
                let meta = Self {
                    identity: Uuid::parse_str(row.get_ref(0)?.as_str()?).unwrap_or_default(),
                    created_at: Timestamp::from_micros(row.get(1)?),
                    closed_at: Position::new(row.get::<_, i64>(2)?.cast_unsigned()),
                    touched: row.get(3)?,
                };
                Ok((meta, row.get::<_, [u8; 32]>(4)?))
            })
        })?;
        if meta.digest() == digest {
            Ok(meta)
        } else {
            Err(log.damaged(Position::START, "its meta row is not what was written"))
        }
    }
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Write,
    Read,
    /// To read a file that nothing writes.
    Unchanging,
}

/// A connection to a ledger file.
#[derive(Debug)]
pub(super) struct Log {
    pub conn: Connection,
    pub path: PathBuf,
}

impl Log {
    /// Creates a file with the tables and no rows, in place of the one that may exist.
    pub(super) fn create(path: &Path) -> Result<Self, StoreError> {
        let emptied = database::remove(path).and_then(|()| files::open(path));
        emptied.map_err(|error| cannot_write(path, &error))?;
        let made = database::open_to_write(path).and_then(|conn| {
            conn.pragma_update(None, "journal_mode", "wal")?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            conn.pragma_update(None, "user_version", FORMAT)?;
            conn.pragma_update(None, "synchronous", "full")?;
            [LOG, META, EVENTS].iter().try_for_each(|sql| conn.execute_batch(sql))?;
            Ok(conn)
        });
        let conn = made.map_err(|error| file_error(path, Position::START, &error))?;
        Ok(Self { conn, path: path.to_owned() })
    }

    /// Opens an existing file, without a look into it.
    pub(super) fn open(path: &Path, access: Access) -> Result<Self, StoreError> {
        let open = || {
            let conn = match access {
                Access::Write => database::open_to_write(path)?,
                Access::Read => database::open_to_read(path)?,
                Access::Unchanging => database::open_unchanging(path)?,
            };
            conn.pragma_update(None, "trusted_schema", false)?;
            conn.pragma_update(None, "cell_size_check", true)?;
            if access == Access::Write {
                conn.pragma_update(None, "synchronous", "full")?;
                // A ledger that is refused is left as it is: its write-ahead log may be all that is left of its end.
                conn.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
                // Checkpoints are made in `upkeep.rs`, so that no append waits for one.
                conn.pragma_update(None, "wal_autocheckpoint", 0)?;
            }
            Ok(conn)
        };
        let conn = open().map_err(|error| file_error(path, Position::START, &error))?;
        Ok(Self { conn, path: path.to_owned() })
    }

    /// Uses the connection; an error is one at a position, the nearest that is known.
    pub(super) fn ask<'a, T>(
        &'a self,
        at: Position,
        ask: impl FnOnce(&'a Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        ask(&self.conn).map_err(|error| file_error(&self.path, at, &error))
    }

    pub(super) fn damaged(&self, at: Position, what: &str) -> StoreError {
        damaged(&self.path, at, what)
    }

    pub(super) fn close(self) -> Result<(), StoreError> {
        let Self { conn, path } = self;
        conn.close().map_err(|(_, error)| file_error(&path, Position::START, &error))
    }

    /// Whether this is a whole ledger file of a format known here. The versions are those of its header, as
    /// they were before the connection was opened.
    pub(super) fn check_format(&self, versions: io::Result<[u8; 2]>) -> Result<(), StoreError> {
        let wrong = |what: &str| Err(self.damaged(Position::START, what));
        let pragma = |name: &str| {
            self.ask(Position::START, |conn| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0)))
        };
        if pragma("application_id")? != APPLICATION_ID {
            return wrong("it is not a grantbook ledger");
        }
        let found = pragma("user_version")?;
        if found > FORMAT {
            return Err(StoreError::NewerFormat(format!(
                "the ledger at {} has format {found}; this grantbook reads formats up to {FORMAT}: use a newer grantbook",
                self.path.display()
            )));
        }
        if found < FORMAT {
            return wrong(&format!("its format is {found}, of a grantbook before the first release"));
        }
        let versions = versions.map_err(|error| self.damaged(Position::START, &error.to_string()))?;
        // Pages are never freed. A header that says otherwise would have live pages written over.
        if versions != WAL_VERSIONS || pragma("freelist_count")? != 0 || pragma("auto_vacuum")? != 0 {
            return wrong("its header is not what was written");
        }
        let tables = self.ask(Position::START, |conn| {
            let mut statement = conn.prepare("SELECT sql FROM sqlite_schema ORDER BY rowid")?;
            statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<Vec<String>>>()
        })?;
        if tables != [LOG, META, EVENTS] {
            return wrong("its tables are not those of a grantbook ledger");
        }
        Ok(())
    }
}

/// The write and read versions in the header of the file. SQLite may say something else of a file that it
/// takes for immutable.
///
/// Must not be called while this process has a connection to the file: when any descriptor of a file is
/// closed, the system takes away all locks that the process has on it, and those of the connection with
/// them. The `sqlite3` tool would then assume that no server runs, and remove the write-ahead log.
pub(super) fn file_versions(path: &Path) -> io::Result<[u8; 2]> {
    let mut header = [0; 20];
    File::open(path)?.read_exact(&mut header)?;
    Ok([header[18], header[19]])
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
    use ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseLocked, DiskFull, FileLockingProtocolFailed, OperationInterrupted,
        OutOfMemory, PermissionDenied, ReadOnly, SystemIoFailure,
    };
    match error.sqlite_error_code() {
        Some(DiskFull | ReadOnly) => cannot_write(path, error),
        Some(CannotOpen) => {
            let advice = database::advice(path);
            StoreError::Unavailable(advice.unwrap_or_else(|| format!("{}: {error}", path.display())))
        }
        Some(
            DatabaseBusy
            | DatabaseLocked
            | SystemIoFailure
            | OutOfMemory
            | PermissionDenied
            | FileLockingProtocolFailed
            | OperationInterrupted,
        ) => StoreError::Unavailable(format!("{}: {error}", path.display())),
        // The statements are constants that fit the format, so what else can go wrong is the file.
        _ => damaged(path, position, &error.to_string()),
    }
}
