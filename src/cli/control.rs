//! `control.json`: how the other commands on this machine find a running server. Knows: the file. Must not
//! know: what a server is asked.
//!
//! It holds a key that may do everything, so only the user who runs the server may read it. The key
//! ends with the process: the key in a file that a crash left is worth nothing.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::json;

use super::failure::Failure;
use super::running::Running;
use crate::files;

const NAME: &str = "control.json";

/// The file of a server that runs in this process; removed when this goes.
#[derive(Debug)]
pub(super) struct ControlFile(PathBuf);

/// What a control file says.
#[derive(Deserialize)]
pub(super) struct Control {
    /// Where the server is reached.
    pub(super) url: String,
    /// The key it is asked with.
    pub(super) key: String,
    /// Which directory the server keeps; older ones do not say it.
    data_dir: Option<String>,
}

/// Where the control file of a ledger is.
pub(super) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(NAME)
}

impl ControlFile {
    /// Writes the file. Readers see the whole of it or none.
    pub(super) fn write(data_dir: &Path, server: &Running) -> io::Result<Self> {
        let path = path(data_dir);
        // A copy of the directory has a copy of this file, and the server has nothing to do with that.
        let served = fs::canonicalize(data_dir);
        let written = served.and_then(|dir| {
            let text = json!({
                "url": server.url, "key": server.key.expose(), "pid": std::process::id(), "data_dir": dir.to_string_lossy(),
            });
            files::replace(&path, |file| writeln!(file, "{text}"))
        });
        let cannot = |error: io::Error| {
            io::Error::new(error.kind(), format!("{} cannot be written: {error}", path.display()))
        };
        written.map_err(cannot).map(|()| Self(path))
    }
}

impl Drop for ControlFile {
    fn drop(&mut self) {
        // One that stays is as harmless as after a crash.
        let _ = fs::remove_file(&self.0);
    }
}

/// What the control file says, if there is one that says anything and is of this directory.
pub(super) fn read(data_dir: &Path) -> Result<Option<Control>, Failure> {
    let path = path(data_dir);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            let advice = "run this as the user who runs the server";
            return Err(Failure::new(format!("{} cannot be read: {error}; {advice}", path.display())));
        }
    };
    // A file that cannot be read as JSON is ignored; the lock still guards the ledger.
    let Ok(control) = serde_json::from_str::<Control>(&text) else { return Ok(None) };
    let is_here = |dir: &String| fs::canonicalize(data_dir).is_ok_and(|here| here.to_string_lossy() == **dir);
    Ok(control.data_dir.as_ref().is_none_or(is_here).then_some(control))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No server serves a copy of a served directory.
    #[test]
    fn a_file_of_another_directory_leads_nowhere() {
        let (served, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of = |dir: Option<&Path>| {
            let mut text = json!({ "url": "http://127.0.0.1:1", "key": "k", "pid": 1 });
            if let Some(dir) = dir {
                text["data_dir"] = json!(fs::canonicalize(dir).unwrap());
            }
            for dir in [&served, &copy] {
                fs::write(path(dir.path()), text.to_string()).unwrap();
            }
            [&served, &copy].map(|dir| read(dir.path()).unwrap().is_some())
        };
        assert_eq!(of(Some(served.path())), [true, false]);
        assert_eq!(of(None), [true, true], "an older server did not say it");
        // However the directory is named.
        let roundabout = served.path().join("..").join(served.path().file_name().unwrap());
        of(Some(served.path()));
        assert!(read(&roundabout).unwrap().is_some());
    }
}
