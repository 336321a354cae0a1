//! `heads.db`: where each stream ends, for the streams that are not in memory. Knows: the file. Must not
//! know: what is in memory, or when to write.
//!
//! Everything in it is derived from the log and may be thrown away. It says up to which position it is
//! good, in the same transaction as the rows; the log says the rest. A row carries a checksum, because a
//! wrong head would make a wrong record.

use std::fs;
use std::path::{Path, PathBuf};

use grantbook_events::{Position, Revision, StreamName};
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::rows::StreamHead;
use super::schema::{cannot_write, damaged, file_error};
use crate::store::private;
use crate::store::{ChainDigest, StoreError};

/// "grnh", in the header of the file.
const APPLICATION_ID: i64 = 0x6772_6e68;
const FORMAT: i64 = 1;
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

/// Up to where the rows are good: the last position looked at, and the digest of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpTo {
    pub position: Position,
    pub digest: ChainDigest,
}

impl UpTo {
    pub(super) const NOTHING: Self = Self { position: Position::START, digest: ChainDigest::NONE };
}

/// A connection to the file.
#[derive(Debug)]
pub(super) struct HeadsFile {
    conn: Connection,
    path: PathBuf,
}

impl HeadsFile {
    /// Makes an empty file for a ledger, in place of whatever is there.
    pub(super) fn create(path: &Path, identity: &Uuid) -> Result<Self, StoreError> {
        remove(path)?;
        private::open_file(path).map_err(|error| cannot_write(path, &error))?;
        let made = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let conn = Connection::open_with_flags(path, flags)?;
            conn.pragma_update(None, "journal_mode", "wal")?;
            conn.pragma_update(None, "application_id", APPLICATION_ID)?;
            conn.pragma_update(None, "user_version", FORMAT)?;
            conn.execute_batch(
                "CREATE TABLE heads(stream BLOB PRIMARY KEY, position INTEGER NOT NULL, \
                 revision INTEGER NOT NULL, digest BLOB NOT NULL, crc INTEGER NOT NULL) STRICT, WITHOUT ROWID;
                 CREATE TABLE up_to(id INTEGER PRIMARY KEY CHECK (id = 1), identity BLOB NOT NULL, \
                 position INTEGER NOT NULL, digest BLOB NOT NULL) STRICT;",
            )?;
            let nothing = [0_u8; 32];
            conn.execute("INSERT INTO up_to VALUES (1, ?1, 0, ?2)", params![identity.as_bytes(), nothing])?;
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
            let access =
                if writable { OpenFlags::SQLITE_OPEN_READ_WRITE } else { OpenFlags::SQLITE_OPEN_READ_ONLY };
            let conn = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
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
        let read = || {
            let sql = "SELECT identity, position, digest FROM up_to";
            self.conn.query_one(sql, [], |row| {
                let position: i64 = row.get(1)?;
                let up_to = UpTo {
                    position: Position::new(position.cast_unsigned()),
                    digest: ChainDigest::new(row.get(2)?),
                };
                Ok((row.get::<_, [u8; 16]>(0)?, up_to))
            })
        };
        match read().map_err(|error| self.error(&error))? {
            (found, up_to) if found == *identity.as_bytes() => Ok(up_to),
            _ => Err(damaged(&self.path, Position::START, "it belongs to another ledger")),
        }
    }

    /// Where a stream ends, as of the position the file is good up to.
    pub(super) fn find(&self, key: &Key) -> Result<Option<StreamHead>, StoreError> {
        let read = || {
            let sql = "SELECT position, revision, digest, crc FROM heads WHERE stream = ?1";
            let mut select = self.conn.prepare_cached(sql)?;
            select.query_one([&key.0[..]], head_of).optional()
        };
        match read().map_err(|error| self.error(&error))? {
            None => Ok(None),
            Some((head, crc)) if crc == checksum(key, &head) => Ok(Some(head)),
            Some(_) => Err(damaged(&self.path, Position::START, "a row is not what was written")),
        }
    }

    /// The newest position after another in a row that is what was written. Looks at every row.
    pub(super) fn newest_after(&self, position: Position) -> Result<Option<Position>, StoreError> {
        let read = || {
            let sql = "SELECT position, revision, digest, crc, stream FROM heads WHERE position > ?1 \
                       ORDER BY position DESC";
            let mut select = self.conn.prepare(sql)?;
            let mut rows = select.query([position.as_u64().cast_signed()])?;
            while let Some(row) = rows.next()? {
                let (head, crc) = head_of(row)?;
                if checksum(&Key(row.get(4)?), &head) == crc {
                    return Ok(Some(head.position));
                }
            }
            Ok(None)
        };
        read().map_err(|error| self.error(&error))
    }

    /// Puts heads, sorted by key, and how far the file is good then, in one transaction.
    pub(super) fn put(&mut self, heads: &[(Key, StreamHead)], up_to: UpTo) -> Result<(), StoreError> {
        let path = &self.path;
        let mut put = || {
            let transaction = self.conn.transaction()?;
            let sql = "INSERT OR REPLACE INTO heads VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = transaction.prepare_cached(sql)?;
            for (key, head) in heads {
                insert.execute(params![
                    &key.0[..],
                    head.position.as_u64().cast_signed(),
                    head.revision.as_u64().cast_signed(),
                    &head.digest.as_bytes()[..],
                    checksum(key, head),
                ])?;
            }
            drop(insert);
            let up_to = params![up_to.position.as_u64().cast_signed(), &up_to.digest.as_bytes()[..]];
            transaction.execute("UPDATE up_to SET position = ?1, digest = ?2", up_to)?;
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

    /// Moves everything into the main file and closes. The checksum of the file, if it is complete.
    pub(super) fn finish(self) -> Result<Option<u32>, StoreError> {
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

/// Removes the file and what SQLite keeps beside it.
pub(super) fn remove(path: &Path) -> Result<(), StoreError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(&name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::CannotWrite(format!("{}: {error}", name.display())));
            }
            _ => {}
        }
    }
    Ok(())
}
