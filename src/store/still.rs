//! Databases to read where nothing can be written, such as a read-only mount. Knows: how SQLite opens a file. Must
//! not know: what is in it.
//!
//! A database with a write-ahead log is read through a file that is made next to it. Where that cannot be made,
//! the file is read as one that nobody changes, unless there is a write-ahead log: it has records that must not
//! be left out.

use std::fs;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// What to do about a database that cannot be read where it is, if it is one of those.
pub(super) fn advice(path: &Path) -> Option<String> {
    // A server that runs has both files.
    (has_wal(path) && !beside(path, "-shm").exists()).then(|| {
        format!(
            "{}: nothing can be written here, and its write-ahead log was not moved into it yet, so it cannot be read \
             here: copy the directory to where it can be written, or start the server once where this is writable",
            path.display()
        )
    })
}

/// Readers may leave an empty one.
fn has_wal(path: &Path) -> bool {
    fs::metadata(beside(path, "-wal")).is_ok_and(|wal| wal.len() > 0)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens a database to read it, maybe beside a process that writes it.
///
/// # Errors
/// If it cannot be opened. What is wrong inside, the first read says.
pub fn open_to_read(path: &Path) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(path, FLAGS)?;
    let is_readable = conn.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()));
    match is_readable {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::CannotOpen) => open_still(path),
        _ => Ok(conn),
    }
}

/// Opens a file that nobody writes without putting other files next to it, so that it can be read on a read-only
/// medium.
pub(super) fn open_still(path: &Path) -> rusqlite::Result<Connection> {
    match fs::canonicalize(path).ok().as_deref().and_then(Path::to_str) {
        Some(name) if !has_wal(path) => {
            let name = name.replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let uri = format!("file:{name}?immutable=1");
            Connection::open_with_flags(uri, FLAGS | OpenFlags::SQLITE_OPEN_URI)
        }
        _ => Connection::open_with_flags(path, FLAGS),
    }
}
