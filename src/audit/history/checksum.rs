//! A checksum over a whole file, in a file next to it, shows at the next opening that it is as it was closed. Knows: files.
//! Must not know: what is in them.
//!
//! A flipped bit in an index hides a row, which no check of rows notices. So a file is used without a look at all of
//! its rows only with its checksum, which is removed before the file changes.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::store::private;

/// What the name of a checksum adds to that of its file.
pub(super) const SUFFIX: &str = "-crc";

/// How much is read at once.
const CHUNK_BYTES: usize = 1 << 20;

/// What is known of a file before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    AsClosed,
    /// It was not closed.
    Unknown,
    /// It is not as it was closed.
    Changed,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn checksum(path: &Path) -> io::Result<String> {
    let (mut file, mut chunk) = (File::open(path)?, vec![0; CHUNK_BYTES]);
    let mut crc = crc32fast::Hasher::new();
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(format!("{:08x}", crc.finalize())),
            read => crc.update(chunk.get(..read).unwrap_or_default()),
        }
    }
}

/// Compares a file with its checksum, and removes the checksum.
pub(super) fn take(path: &Path) -> io::Result<Checked> {
    let stored = match fs::read(beside(path, SUFFIX)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Checked::Unknown),
        stored => stored?,
    };
    fs::remove_file(beside(path, SUFFIX))?;
    // The end of the file is in its log then, which the checksum does not cover.
    if fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Ok(Checked::Unknown);
    }
    Ok(if checksum(path)?.as_bytes() == stored { Checked::AsClosed } else { Checked::Changed })
}

/// Writes the checksum of a file that nothing has open.
pub(super) fn write(path: &Path) -> io::Result<()> {
    if beside(path, "-wal").exists() {
        // Another process reads it, so that its end is not in it yet.
        return Ok(());
    }
    let crc = checksum(path)?;
    private::open_file(&beside(path, SUFFIX))?.write_all(crc.as_bytes())
}
