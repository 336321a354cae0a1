//! SQLite databases as files, also where nothing can be written, such as a read-only mount. Knows: how SQLite opens
//! a file, and the files it keeps beside one. Must not know: what is in the database.
//!
//! A database with a write-ahead log is read through a file that SQLite creates beside it. Where that cannot be
//! created, the database is opened as one that nothing changes, unless it has a write-ahead log: the records in it must
//! not be left out.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::files::{self, with_suffix};

const READ: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
const WRITE: OpenFlags = OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);
/// The database itself, and the files that belong to it.
const SUFFIXES: [&str; 5] = ["", "-wal", "-shm", "-journal", CHECKSUM];
/// What the name of a checksum adds to that of its database.
const CHECKSUM: &str = "-crc";

/// All files that a database may consist of.
pub(super) fn files_of(path: &Path) -> [PathBuf; 5] {
    SUFFIXES.map(|suffix| with_suffix(path, suffix))
}

/// Removes a database, if it exists.
///
/// # Errors
/// If a file cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    files_of(path).iter().try_for_each(|file| files::remove(file))
}

/// Opens a database that exists.
///
/// # Errors
/// If it cannot be opened.
pub fn open_to_write(path: &Path) -> rusqlite::Result<Connection> {
    open(path, WRITE)
}

/// A plan must not depend on the values that are bound: SQLite would compile the statement again each time a value is
/// bound, which costs more than most statements do.
fn open(path: impl AsRef<Path>, flags: OpenFlags) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, flags)?;
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(conn)
}

/// Opens a database to read it, also while another process writes it.
///
/// # Errors
/// If it cannot be opened. What is wrong inside, the first read says.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let conn = open(path, READ)?;
    let is_readable = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()));
    match is_readable {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => open_unchanging(path),
        _ => Ok(conn),
    }
}

/// Opens a database that no process writes, without creating other files.
pub(super) fn open_unchanging(path: &Path) -> rusqlite::Result<Connection> {
    match fs::canonicalize(path).ok().as_deref().and_then(Path::to_str) {
        Some(name) if !has_wal(path) => {
            let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{name}?immutable=1");
            open(uri, READ | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => open(path, READ),
    }
}

/// What to do about a database that cannot be read where it is, if it is one of those.
pub(super) fn advice(path: &Path) -> Option<String> {
    // A server that runs has both files.
    (has_wal(path) && !with_suffix(path, "-shm").exists()).then(|| {
        format!(
            "{}: nothing can be written here, and its write-ahead log was not moved into it yet, so it cannot be read \
             here: copy the directory to where it can be written, or start the server once where this is writable",
            path.display()
        )
    })
}

/// Readers may leave an empty one.
fn has_wal(path: &Path) -> bool {
    fs::metadata(with_suffix(path, "-wal")).is_ok_and(|wal| wal.len() > 0)
}

/// What the checksum says of a database before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    AsClosed,
    /// It was not closed.
    Unknown,
    /// It is not as it was closed.
    Changed,
}

/// Compares a database with its checksum, and removes the checksum.
///
/// # Errors
/// If a file cannot be read, or the checksum not removed.
pub fn take_checksum(path: &Path) -> io::Result<Checked> {
    let stored = match fs::read(with_suffix(path, CHECKSUM)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checked::Unknown),
        stored => stored?,
    };
    fs::remove_file(with_suffix(path, CHECKSUM))?;
    Ok(match checksum(path)? {
        // The end of the database is in its log then, which the checksum does not cover.
        _ if has_wal(path) => Checked::Unknown,
        now if now.as_bytes() == stored => Checked::AsClosed,
        _ => Checked::Changed,
    })
}

/// Writes the checksum of a database that nothing writes, so that the next opening need not read all of it. A flipped
/// bit in an index hides a row, which no check of rows notices.
///
/// # Errors
/// If a file cannot be read or written.
pub fn write_checksum(path: &Path) -> io::Result<()> {
    if has_wal(path) {
        // Another process reads it, so that its end is not in it yet.
        return Ok(());
    }
    let crc = checksum(path)?;
    files::replace(&with_suffix(path, CHECKSUM), |file| file.write_all(crc.as_bytes()))
}

fn checksum(path: &Path) -> io::Result<String> {
    let (mut file, mut chunk) = (File::open(path)?, vec![0; 1 << 20]);
    let mut crc = crc32fast::Hasher::new();
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(format!("{:08x}", crc.finalize())),
            read => crc.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_compiled_once_whatever_is_bound() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file.db");
        drop(files::open(&path).unwrap());
        let conn = open_to_write(&path).unwrap();
        conn.execute_batch(
            "CREATE TABLE log(position INTEGER PRIMARY KEY); INSERT INTO log VALUES (1), (2), (3)",
        )
        .unwrap();
        for conn in [conn, open_to_read(&path).unwrap(), open_unchanging(&path).unwrap()] {
            // SQLite would look at the value of the limit when it makes a plan.
            let sql = "SELECT position FROM log WHERE position > ?1 ORDER BY position LIMIT ?2";
            let mut next = conn.prepare(sql).unwrap();
            let found = [(0, 3), (1, 2), (2, 1)]
                .map(|bound| next.query_row(bound, |row| row.get::<_, i64>(0)).unwrap());
            assert_eq!(found, [1, 2, 3]);
            assert_eq!(next.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
