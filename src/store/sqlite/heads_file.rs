//! `heads.db`: where each stream ends, for the streams that are not in memory. Knows: the file. Must not
//! know: what is in memory, or when to write.
//!
//! Everything in it is derived from the log and may be thrown away. It says up to which position it is
//! good, in the same transaction as the rows; the log says the rest. A row carries a checksum, because a
//! wrong head would make a wrong record. How many rows there are and the sum of their checksums are kept too,
//! because a row that is missing would make a second first record: one scan proves the whole file.

use std::path::{Path, PathBuf};

use grantbook_events::{Position, Revision, StreamName};
use rusqlite::{Connection, OptionalExtension, Row, params};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::rows::StreamHead;
use super::schema::{cannot_write, damaged, file_error};
use crate::files;
use crate::store::database;
use crate::store::{ChainDigest, Record, StoreError};

/// "grnh", in the header of the file.
const APPLICATION_ID: i64 = 0x6772_6e68;
const FORMAT: i64 = 3;
const TABLES: &str = "\
    CREATE TABLE heads(stream BLOB PRIMARY KEY, position INTEGER NOT NULL, revision INTEGER NOT NULL, \
    digest BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID; \
    CREATE TABLE state(id INTEGER PRIMARY KEY CHECK (id = 1), identity BLOB NOT NULL, position INTEGER NOT NULL, \
    digest BLOB NOT NULL, rows INTEGER NOT NULL, sum INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;";
const FIND: &str = "SELECT position, revision, digest, crc FROM heads WHERE stream = ?1";
/// What a connection that looks heads up may keep of the file: a negative number counts KiB.
const READ_CACHE_KIB: i64 = -32 * 1024;

/// The first 16 bytes of the SHA-256 of a stream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn of(stream: &StreamName) -> Self {
        let digest: [u8; 32] = Sha256::digest(stream.as_str().as_bytes()).into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

/// Up to where something is complete: the last position, and the digest of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpTo {
    pub position: Position,
    pub digest: ChainDigest,
}

impl UpTo {
    pub(super) const NOTHING: Self = Self { position: Position::START, digest: ChainDigest::NONE };

    pub(super) fn of(last: &Record) -> Self {
        Self { position: last.position, digest: last.digest }
    }
}

/// What the file says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub identity: Uuid,
    pub up_to: UpTo,
    rows: u64,
    /// Of the checksums of all rows.
    sum: u64,
}

impl State {
    fn checksum(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(self.identity.as_bytes());
        crc.update(&self.up_to.position.as_u64().to_le_bytes());
        crc.update(self.up_to.digest.as_bytes());
        crc.update(&self.rows.to_le_bytes());
        crc.update(&self.sum.to_le_bytes());
        crc.finalize()
    }

    fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut replace =
            conn.prepare_cached("INSERT OR REPLACE INTO state VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)")?;
        replace.execute(params![
            self.identity.as_bytes(),
            self.up_to.position.as_u64().cast_signed(),
            self.up_to.digest.as_bytes(),
            self.rows.cast_signed(),
            self.sum.cast_signed(),
            self.checksum(),
        ])?;
        Ok(())
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<(Self, u32)> {
        let position = Position::new(row.get::<_, i64>(1)?.cast_unsigned());
        let state = Self {
            identity: Uuid::from_bytes(row.get(0)?),
            up_to: UpTo { position, digest: ChainDigest::new(row.get(2)?) },
            rows: row.get::<_, i64>(3)?.cast_unsigned(),
            sum: row.get::<_, i64>(4)?.cast_unsigned(),
        };
        Ok((state, row.get(5)?))
    }
}

/// A connection to the file.
#[derive(Debug)]
pub(super) struct HeadsFile {
    conn: Connection,
    path: PathBuf,
}

impl HeadsFile {
    /// Creates an empty file for a ledger, in place of the one that may exist.
    pub(super) fn create(path: &Path, identity: Uuid) -> Result<Self, StoreError> {
        let emptied = database::remove(path).and_then(|()| files::open(path));
        emptied.map_err(|error| cannot_write(path, &error))?;
        let made = database::create(path, APPLICATION_ID, FORMAT).and_then(|conn| {
            conn.execute_batch(TABLES)?;
            State { identity, up_to: UpTo::NOTHING, rows: 0, sum: 0 }.write(&conn)?;
            conn.close().map_err(|(_, error)| error)
        });
        made.map_err(|error| file_error(path, Position::START, &error))?;
        Self::open(path, true)
    }

    pub(super) fn open(path: &Path, writable: bool) -> Result<Self, StoreError> {
        let open = || {
            let conn = if writable { database::open_to_write(path)? } else { database::open_to_read(path)? };
            conn.pragma_update(None, "trusted_schema", false)?;
            if writable {
                // What is lost is read from the log again.
                conn.pragma_update(None, "synchronous", "normal")?;
            } else {
                conn.pragma_update(None, "cache_size", READ_CACHE_KIB)?;
            }
            let pragma = |name: &str| conn.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            Ok((pragma("application_id")?, pragma("user_version")?, conn))
        };
        match open().map_err(|error| file_error(path, Position::START, &error))? {
            (APPLICATION_ID, FORMAT, conn) => Ok(Self { conn, path: path.to_owned() }),
            _ => Err(damaged(path, Position::START, "it is not an index of streams")),
        }
    }

    /// What the file says of itself.
    pub(super) fn state(&self) -> Result<State, StoreError> {
        let sql = "SELECT identity, position, digest, rows, sum, crc FROM state";
        match self.ask(|conn| conn.prepare_cached(sql)?.query_one([], State::read))? {
            (state, crc) if crc == state.checksum() => Ok(state),
            _ => Err(self.damaged("what it says of itself is not what was written")),
        }
    }

    /// Up to where the rows are good, if they are of this ledger at all.
    pub(super) fn up_to(&self, identity: Uuid) -> Result<UpTo, StoreError> {
        let state = self.state()?;
        if state.identity == identity {
            Ok(state.up_to)
        } else {
            Err(self.damaged("it belongs to another ledger"))
        }
    }

    /// Reads every row of one moment: each is what was written, all are there, and a look-up finds each, because
    /// they are in order. Up to where they are good.
    pub(super) fn scan(&self, mut see: impl FnMut(Key, StreamHead)) -> Result<UpTo, StoreError> {
        let _one_moment = self.ask(Connection::unchecked_transaction)?;
        let state = self.state()?;
        let is_right = self.ask(|conn| {
            let sql = "SELECT position, revision, digest, crc, stream FROM heads ORDER BY stream";
            let mut select = conn.prepare(sql)?;
            let mut found = select.query([])?;
            let (mut rows, mut sum, mut before) = (0_u64, 0_u64, None);
            while let Some(row) = found.next()? {
                let ((head, crc), key) = (head_of(row)?, Key(row.get(4)?));
                if crc != checksum(&key, &head) || before.replace(key).is_some_and(|before| before >= key) {
                    return Ok(false);
                }
                (rows, sum) = (rows + 1, sum.wrapping_add(crc.into()));
                see(key, head);
            }
            Ok((rows, sum) == (state.rows, state.sum))
        })?;
        if is_right { Ok(state.up_to) } else { Err(self.damaged("its rows are not those that were written")) }
    }

    /// Where a stream ends, as of the position the file is good up to.
    pub(super) fn find(&self, key: &Key) -> Result<Option<StreamHead>, StoreError> {
        match self.ask(|conn| conn.prepare_cached(FIND)?.query_one([key.0], head_of).optional())? {
            None => Ok(None),
            Some((head, crc)) if crc == checksum(key, &head) => Ok(Some(head)),
            Some(_) => Err(self.damaged("a row is not what was written")),
        }
    }

    /// Puts heads, in the order of their keys, which is that of the pages, and how far the file is good then, in one
    /// transaction.
    pub(super) fn put(&self, heads: &[(Key, StreamHead)], up_to: UpTo) -> Result<(), StoreError> {
        let mut state = State { up_to, ..self.state()? };
        self.ask(|conn| {
            let transaction = conn.unchecked_transaction()?;
            let mut select = transaction.prepare_cached(FIND)?;
            let mut insert =
                transaction.prepare_cached("INSERT OR REPLACE INTO heads VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for (key, head) in heads {
                match select.query_one([key.0], head_of).optional()? {
                    Some((_, old)) => state.sum = state.sum.wrapping_sub(old.into()),
                    None => state.rows += 1,
                }
                let crc = checksum(key, head);
                state.sum = state.sum.wrapping_add(crc.into());
                insert.execute(params![
                    key.0,
                    head.position.as_u64().cast_signed(),
                    head.revision.as_u64().cast_signed(),
                    head.digest.as_bytes(),
                    crc,
                ])?;
            }
            drop((select, insert));
            state.write(&transaction)?;
            transaction.commit()
        })
    }

    /// Runs several look-ups in one read transaction, which is what makes each of them cheap.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        if self.conn.is_autocommit() {
            self.ask(|conn| conn.execute_batch("BEGIN"))?;
        }
        Ok(())
    }

    /// Ends what `begin` began.
    pub(super) fn end(&self) {
        if !self.conn.is_autocommit() {
            // Nothing was written; a connection that cannot even end is reported by its next look-up.
            let _ = self.conn.execute_batch("COMMIT");
        }
    }

    /// Closes the file so that the next opening need not read all of it.
    pub(super) fn finish(self) -> Result<(), StoreError> {
        self.scan(|_, _| ())?;
        let Self { conn, path } = self;
        let moved = conn.query_one("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        let closed = moved.and_then(|()| conn.close().map_err(|(_, error)| error));
        closed.map_err(|error| file_error(&path, Position::START, &error))?;
        database::write_checksum(&path).map_err(|error| cannot_write(&path, &error))
    }

    fn ask<'a, T>(
        &'a self,
        ask: impl FnOnce(&'a Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        ask(&self.conn).map_err(|error| file_error(&self.path, Position::START, &error))
    }

    fn damaged(&self, what: &str) -> StoreError {
        damaged(&self.path, Position::START, what)
    }
}

/// A head and its checksum, from the columns position, revision, digest and crc.
fn head_of(row: &Row<'_>) -> rusqlite::Result<(StreamHead, u32)> {
    let head = StreamHead {
        position: Position::new(row.get::<_, i64>(0)?.cast_unsigned()),
        revision: Revision::new(row.get::<_, i64>(1)?.cast_unsigned()),
        digest: ChainDigest::new(row.get(2)?),
    };
    Ok((head, row.get(3)?))
}

fn checksum(key: &Key, head: &StreamHead) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&key.0);
    crc.update(&head.position.as_u64().to_le_bytes());
    crc.update(&head.revision.as_u64().to_le_bytes());
    crc.update(head.digest.as_bytes());
    crc.finalize()
}
