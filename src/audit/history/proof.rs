//! What proves at the next opening that a file is what was closed: a checksum over all of it, in a file next to it. Knows: files.
//! Must not know: what is in them.
//!
//! A flipped bit in an index hides a row, which no check of rows can tell. So a file is taken as it is only with
//! its proof, which is removed before the file changes; without it, all of it is looked at.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crate::store::private;

/// What a proof is called, behind the name of its file.
pub(super) const SUFFIX: &str = "-crc";

/// How much is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// What is known of a file before it is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is what was closed.
    Proven,
    /// It was not closed.
    Missing,
    /// It is not what was closed.
    Refuted,
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn checksum(path: &Path) -> io::Result<String> {
    let (mut file, mut piece) = (File::open(path)?, vec![0; PIECE_BYTES]);
    let mut crc = crc32fast::Hasher::new();
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(format!("{:08x}", crc.finalize())),
            read => crc.update(piece.get(..read).unwrap_or_default()),
        }
    }
}

/// Looks at a file and its proof, and removes the proof.
pub(super) fn take(path: &Path) -> io::Result<Proof> {
    let proof = beside(path, SUFFIX);
    let kept = match fs::read(&proof) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Proof::Missing),
        kept => kept?,
    };
    fs::remove_file(&proof)?;
    // Its end is in the log then, which the proof knows nothing of.
    if fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0) {
        return Ok(Proof::Missing);
    }
    Ok(if checksum(path)?.as_bytes() == kept { Proof::Proven } else { Proof::Refuted })
}

/// Proves a file that nobody has open.
pub(super) fn write(path: &Path) -> io::Result<()> {
    if beside(path, "-wal").exists() {
        // Somebody reads it, so that its end is not in it yet.
        return Ok(());
    }
    let crc = checksum(path)?;
    private::open_file(&beside(path, SUFFIX))?.write_all(crc.as_bytes())
}
