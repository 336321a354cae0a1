//! One server to a directory. Knows: the lock file. Must not know: what it guards.
//!
//! The lock is the operating system's, on an open file: it ends with the process, however that ends, and
//! a left-over file locks nothing.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::path::Path;

use super::StoreError;
use crate::files;

/// Held for as long as the ledger is served.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock in a file, which is made if it is not there.
    ///
    /// # Errors
    /// `InUse` if another process holds it, `CannotWrite` if the file cannot be locked.
    pub fn take(path: &Path) -> Result<Self, StoreError> {
        let cannot = |error: std::io::Error| {
            StoreError::CannotWrite(format!("{} cannot be locked: {error}", path.display()))
        };
        let mut file = files::open(path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(StoreError::InUse(in_use(path, &mut file))),
            Err(TryLockError::Error(error)) => return Err(cannot(error)),
        }
        // The number only helps people; that it cannot be written must not stop a server.
        let _ = file.set_len(0).and_then(|()| file.rewind());
        let _ = writeln!(file, "{}", std::process::id());
        Ok(Self { _file: file })
    }
}

/// Who holds the lock in a file, in words; `None` if nobody does, or there is no such file. Nothing is changed.
///
/// # Errors
/// If that cannot be told.
pub fn held(path: &Path) -> std::io::Result<Option<String>> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => Ok(Some(in_use(path, &mut file))),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

fn in_use(path: &Path, file: &mut File) -> String {
    let mut text = String::new();
    let holder = match file.take(32).read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok()) {
        Some::<u32>(pid) => format!("process {pid}"),
        None => "another process".to_owned(),
    };
    let dir = path.parent().unwrap_or(path);
    format!(
        "the ledger in {} is in use by {holder}, which holds {}: stop it, or use another data directory",
        dir.display(),
        path.display()
    )
}
