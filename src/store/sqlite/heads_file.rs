//! `heads.db`: where each stream ends, for the streams that are not in memory. Knows: the file. Must not
//! know: what is in memory, or when to write.
//!
//! Everything in it is derived from the log and may be thrown away. It says up to which position it is
//! good, in the same transaction as the rows; the log says the rest. A row carries a checksum, because a
//! wrong head would make a wrong record. How many rows there are and their sum are kept too, because a row
//! that is missing would make a second first record: one scan proves the whole file.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use grantbook_events::{Position, Revision};
use rusqlite::{Connection, OptionalExtension, Row, params};
use uuid::Uuid;

use super::heads_total::{Key, State, Total, UpTo};
use super::rows::StreamHead;
use super::schema::{cannot_write, damaged, file_error};
use crate::files;
use crate::store::database;
use crate::store::{ChainDigest, StoreError};

/// "grnh", in the header of the file.
const APPLICATION_ID: i64 = 0x6772_6e68;
const FORMAT: i64 = 2;
const FIND: &str = "SELECT position, revision, digest, crc FROM heads WHERE stream = ?1";
/// What a connection that looks heads up may keep of the file: a negative number counts KiB.
const READ_CACHE_KIB: i64 = -32 * 1024;

/// A connection to the file.
#[derive(Debug)]
pub(super) struct HeadsFile {
    conn: Connection,
    path: PathBuf,
}

impl HeadsFile {
    /// Makes an empty file for a ledger, in place of whatever is there.
    pub(super) fn create(path: &Path, identity: &Uuid) -> Result<Self, StoreError> {
        let emptied = database::remove(path).and_then(|()| files::open(path));
        emptied.map_err(|error| cannot_write(path, &error))?;
        let made = || {
            let conn = database::create(path, APPLICATION_ID, FORMAT)?;
            conn.execute_batch(
                "CREATE TABLE heads(stream BLOB PRIMARY KEY, position INTEGER NOT NULL, \
                 revision INTEGER NOT NULL, digest BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                 CREATE TABLE up_to(id INTEGER PRIMARY KEY CHECK (id = 1), identity BLOB NOT NULL, \
                 position INTEGER NOT NULL, digest BLOB NOT NULL, rows INTEGER NOT NULL, sum BLOB NOT NULL, \
                 crc INTEGER NOT NULL) STRICT;",
            )?;
            let state =
                State { identity: *identity.as_bytes(), up_to: UpTo::NOTHING, total: Total::default() };
            state.write(&conn)?;
            Ok(conn)
        };
        made()
            .map_err(|error| file_error(path, Position::START, &error))?
            .close()
            .map_err(|(_, error)| file_error(path, Position::START, &error))?;
        Self::open(path, true)
    }

    /// Opens the file if it is one.
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

    /// Up to where the rows are good, if they are of this ledger at all.
    pub(super) fn up_to(&self, identity: &Uuid) -> Result<UpTo, StoreError> {
        let state = self.state()?;
        if state.identity == *identity.as_bytes() {
            Ok(state.up_to)
        } else {
            Err(damaged(&self.path, Position::START, "it belongs to another ledger"))
        }
    }

    /// Up to where the rows are good, and of which ledger.
    pub(super) fn seen(&self) -> Result<(Uuid, UpTo), StoreError> {
        let state = self.state()?;
        Ok((Uuid::from_bytes(state.identity), state.up_to))
    }

    fn state(&self) -> Result<State, StoreError> {
        let read = || {
            let sql = "SELECT identity, position, digest, rows, sum, crc FROM up_to";
            self.conn.prepare_cached(sql)?.query_one([], |row| {
                let (position, rows): (i64, i64) = (row.get(1)?, row.get(3)?);
                let up_to = UpTo {
                    position: Position::new(position.cast_unsigned()),
                    digest: ChainDigest::new(row.get(2)?),
                };
                let total = Total { rows: rows.cast_unsigned(), sum: u128::from_le_bytes(row.get(4)?) };
                Ok((State { identity: row.get(0)?, up_to, total }, row.get::<_, u32>(5)?))
            })
        };
        match read().map_err(|error| self.error(&error))? {
            (state, crc) if crc == state.checksum() => Ok(state),
            _ => Err(damaged(&self.path, Position::START, "what it says of itself is not what was written")),
        }
    }

    /// Reads every row: each is what was written, all are there, and a look-up finds each, because they are in
    /// order.
    pub(super) fn prove(&self) -> Result<(), StoreError> {
        let mut total = Total::default();
        let mut before: Option<Key> = None;
        let up_to = self.each(|key, head, is_intact| {
            let in_order = before.is_none_or(|before| before < key);
            before = Some(key);
            total.add(&key, &head);
            is_intact && in_order
        })?;
        match up_to {
            Some(state) if state.total == total => Ok(()),
            _ => Err(damaged(&self.path, Position::START, "its rows are not those that were written")),
        }
    }

    /// Every row of one moment, and whether it is what was written, for as long as the caller goes on; then what
    /// the file says of itself, if it got there.
    fn each(&self, mut see: impl FnMut(Key, StreamHead, bool) -> bool) -> Result<Option<State>, StoreError> {
        let transaction = self.conn.unchecked_transaction().map_err(|error| self.error(&error))?;
        let state = self.state()?;
        let mut read = || {
            let sql = "SELECT position, revision, digest, crc, stream FROM heads ORDER BY stream";
            let mut select = transaction.prepare(sql)?;
            let mut rows = select.query([])?;
            while let Some(row) = rows.next()? {
                let ((head, crc), key) = (head_of(row)?, Key(row.get(4)?));
                if !see(key, head, crc == checksum(&key, &head)) {
                    return Ok(false);
                }
            }
            Ok(true)
        };
        let is_over = read().map_err(|error| self.error(&error))?;
        Ok(is_over.then_some(state))
    }

    /// Where every stream ends that the file has, and up to where that is so.
    pub(super) fn all(&self, identity: &Uuid) -> Result<(UpTo, HashMap<Key, StreamHead>), StoreError> {
        let up_to = self.up_to(identity)?;
        let mut heads = HashMap::new();
        let state = self.each(|key, head, _| {
            heads.insert(key, head);
            true
        })?;
        Ok((state.map_or(up_to, |state| state.up_to), heads))
    }

    /// Where a stream ends, as of the position the file is good up to.
    pub(super) fn find(&self, key: &Key) -> Result<Option<StreamHead>, StoreError> {
        let read = || {
            let mut select = self.conn.prepare_cached(FIND)?;
            select.query_one([&key.0[..]], head_of).optional()
        };
        match read().map_err(|error| self.error(&error))? {
            None => Ok(None),
            Some((head, crc)) if crc == checksum(key, &head) => Ok(Some(head)),
            Some(_) => Err(damaged(&self.path, Position::START, "a row is not what was written")),
        }
    }

    /// Puts heads, sorted by key, and how far the file is good then, in one transaction.
    pub(super) fn put(&mut self, heads: &[(Key, StreamHead)], up_to: UpTo) -> Result<(), StoreError> {
        let mut state = self.state()?;
        let path = &self.path;
        let mut put = || {
            let transaction = self.conn.unchecked_transaction()?;
            let mut select = transaction.prepare_cached(FIND)?;
            let sql = "INSERT OR REPLACE INTO heads VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (key, head) in heads {
                if let Some((old, _)) = select.query_one([&key.0[..]], head_of).optional()? {
                    state.total.subtract(key, &old);
                }
                state.total.add(key, head);
                insert.execute(params![
                    &key.0[..],
                    head.position.as_u64().cast_signed(),
                    head.revision.as_u64().cast_signed(),
                    &head.digest.as_bytes()[..],
                    checksum(key, head),
                ])?;
            }
            drop((select, insert));
            state.up_to = up_to;
            state.write(&transaction)?;
            transaction.commit()
        };
        put().map_err(|error| file_error(path, Position::START, &error))
    }

    /// Runs several look-ups in one read transaction, which is what makes each of them cheap.
    pub(super) fn begin(&self) -> Result<(), StoreError> {
        if self.conn.is_autocommit() {
            self.conn.execute_batch("BEGIN").map_err(|error| self.error(&error))?;
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

    /// Moves everything into the main file and closes. The checksum of the file, if it is complete and every
    /// row in it is what was written.
    pub(super) fn finish(self) -> Result<Option<u32>, StoreError> {
        self.prove()?;
        let truncate = self.conn.query_one("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
        let busy = truncate.map_err(|error| self.error(&error))?;
        let path = self.path;
        self.conn.close().map_err(|(_, error)| file_error(&path, Position::START, &error))?;
        if busy == 0 { file_checksum(&path).map(Some) } else { Ok(None) }
    }

    fn error(&self, error: &rusqlite::Error) -> StoreError {
        file_error(&self.path, Position::START, error)
    }
}

/// A head and its checksum, from the columns position, revision, digest and crc.
fn head_of(row: &Row<'_>) -> rusqlite::Result<(StreamHead, u32)> {
    let (position, revision): (i64, i64) = (row.get(0)?, row.get(1)?);
    let head = StreamHead {
        position: Position::new(position.cast_unsigned()),
        revision: Revision::new(revision.cast_unsigned()),
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

/// CRC-32 of the whole file.
pub(super) fn file_checksum(path: &Path) -> Result<u32, StoreError> {
    let read = || {
        let mut file = fs::File::open(path)?;
        let (mut crc, mut buffer) = (crc32fast::Hasher::new(), vec![0; 1 << 20]);
        loop {
            match std::io::Read::read(&mut file, &mut buffer)? {
                0 => return Ok(crc.finalize()),
                read => crc.update(&buffer[..read]),
            }
        }
    };
    read().map_err(|error: std::io::Error| StoreError::Unavailable(format!("{}: {error}", path.display())))
}
