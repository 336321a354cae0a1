//! The files of the history in their directory. Knows: names. Must not know: what is in a file.
//!
//! A file is named after its generation, and gets its name when it is complete. So the highest generation is the current
//! one, and those below are kept only until it was opened.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use uuid::Uuid;

use super::file::File;
use super::{HistoryError, schema};
use crate::files;
use crate::store::database;

/// Most of what a row costs is writing the pages of indexes that it changes, and fewer, larger pages cost less.
const PAGE_BYTES: i64 = 16_384;

#[derive(Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self(dir)
    }

    fn path(&self, generation: u64) -> PathBuf {
        self.0.join(format!("history-{generation}.db"))
    }

    fn building(&self) -> PathBuf {
        self.0.join("history.building")
    }

    /// The generations that exist, the newest first.
    fn generations(&self) -> Result<Vec<u64>, HistoryError> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
            entries => entries?,
        };
        for entry in entries {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_prefix("history-")?.strip_suffix(".db"));
            found.extend(number.and_then(|number| number.parse::<u64>().ok()));
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        Ok(found)
    }

    pub(super) fn newest(&self) -> Result<Option<PathBuf>, HistoryError> {
        Ok(self.generations()?.first().map(|generation| self.path(*generation)))
    }

    fn next(&self) -> Result<PathBuf, HistoryError> {
        Ok(self.path(self.generations()?.first().map_or(1, |newest| newest + 1)))
    }

    /// Opens the newest file that can be used for a ledger, or makes one, and removes all others.
    pub(super) fn open(&self, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        files::create_dir_all(&self.0)?;
        let paths: Vec<_> = self.generations()?.into_iter().map(|generation| self.path(generation)).collect();
        let usable = paths.iter().find_map(|path| match File::open_checked(path.clone(), ledger) {
            Ok(file) => Some(file),
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a history file cannot be used, and is built again");
                None
            }
        });
        let file = match usable {
            Some(file) => file,
            None => self.create(ledger)?,
        };
        for path in paths.iter().filter(|path| *path != file.path()) {
            database::remove(path)?;
        }
        database::remove(&self.building())?;
        Ok(file)
    }

    fn create(&self, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        let path = self.next()?;
        make(&path, ledger)?;
        Ok(Arc::new(File::open(path, ledger)?))
    }

    /// Removes a file and makes an empty one.
    pub(super) fn replace(&self, old: &File, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        old.close();
        let file = self.create(ledger)?;
        database::remove(old.path())?;
        Ok(file)
    }

    /// An empty file to build beside the current one.
    pub(super) fn begin_building(&self, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        database::remove(&self.building())?;
        make(&self.building(), ledger)?;
        Ok(Arc::new(File::open(self.building(), ledger)?))
    }

    /// Gives the file that was built the name of the current one, and opens it.
    pub(super) fn end_building(&self, built: &File, ledger: Uuid) -> Result<Arc<File>, HistoryError> {
        built.close();
        let path = self.next()?;
        fs::rename(self.building(), &path)?;
        Ok(Arc::new(File::open(path, ledger)?))
    }

    pub(super) fn remove_building(&self) {
        remove_later(&self.building());
    }

    /// Removes a file that is not the current one any more.
    pub(super) fn remove_old(&self, old: &File) {
        old.close();
        remove_later(old.path());
    }
}

/// Makes a file. It gets its name when it is complete, so that nothing finds one that is only begun.
fn make(path: &Path, ledger: Uuid) -> Result<(), HistoryError> {
    let begun = path.with_extension("begun");
    database::remove(&begun)?;
    drop(files::open(&begun)?);
    let conn = Connection::open(&begun)?;
    conn.pragma_update(None, "page_size", PAGE_BYTES)?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    schema::make(&conn, ledger)?;
    conn.close().map_err(|(_, error)| error)?;
    Ok(fs::rename(&begun, path)?)
}

/// If a file cannot be removed now, the next start does it.
fn remove_later(path: &Path) {
    if let Err(error) = database::remove(path) {
        tracing::warn!(%error, "a history file that is not needed any more cannot be removed");
    }
}
