//! Files that only the user who runs the server can read, written as a whole or not at all. Knows: paths,
//! permissions, fsync. Must not know: what is in the files.
//!
//! A file that exists already keeps its permissions: they are the operator's.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Creates a directory and its parents, unless they exist.
pub fn create_dir_all(dir: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Opens a file to read and write it, and creates it if it does not exist.
pub fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes a file in place of the one that may exist. A crash leaves the old file or the new one.
pub fn replace<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let draft = draft(path, write)?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(sync_dir(parent(path))?)
}

/// Writes a file that must not exist yet: `AlreadyExists` if it does, also if another process was faster.
pub fn create_new<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let draft = draft(path, write)?;
    draft.persist_noclobber(path).map_err(|error| error.error)?;
    Ok(sync_dir(parent(path))?)
}

/// A temporary file beside `path`, durable. It is created with permissions for its owner alone.
fn draft<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<NamedTempFile, E> {
    let name = path.file_name().unwrap_or_else(|| OsStr::new("file"));
    let mut builder = tempfile::Builder::new();
    let mut draft = builder.prefix(name).suffix(".unfinished").tempfile_in(parent(path))?;
    write(draft.as_file_mut())?;
    draft.as_file().sync_all()?;
    Ok(draft)
}

/// Gives a finished file its name, and makes both durable.
pub fn rename(finished: &Path, path: &Path) -> io::Result<()> {
    File::open(finished)?.sync_all()?;
    fs::rename(finished, path)?;
    sync_dir(parent(path))
}

/// Removes a file, if it exists.
pub fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// The path with a suffix after its name: `ledger.db` and `-wal` give `ledger.db-wal`.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes the names in a directory durable. Only Unix can open a directory.
fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap();
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        replace(&path, |file| file.write_all(b"first")).unwrap();
        let failed = replace(&path, |file| {
            file.write_all(b"sec")?;
            Err(io::Error::other("on purpose"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "on purpose");
        assert_eq!(fs::read(&path).unwrap(), b"first");
        replace(&path, |file| file.write_all(b"second")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[test]
    fn a_new_file_replaces_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        create_new(&path, |file| file.write_all(b"first")).unwrap();
        let refused = create_new(&path, |file| file.write_all(b"second")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["file"]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let inner = dir.path().join("a/b");
        create_dir_all(&inner).unwrap();
        assert_eq!((mode(&inner), mode(inner.parent().unwrap())), (0o700, 0o700));
        drop(open(&inner.join("opened")).unwrap());
        replace(&inner.join("replaced"), |file| file.write_all(b"")).unwrap();
        create_new(&inner.join("new"), |file| file.write_all(b"")).unwrap();
        for name in ["opened", "replaced", "new"] {
            assert_eq!(mode(&inner.join(name)), 0o600, "{name}");
        }
    }
}
