//! What the sample app keeps between runs: its client credentials and its tokens, in one file of its own.
//! Knows: that file. Must not know: grantbook.
//!
//! An app has to keep its secrets in plain form, because it must present them. That is the app's side of
//! the border: grantbook itself keeps digests.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::{fmt, mem};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The most tokens that are kept; the oldest goes first.
const MAX_TOKENS: usize = 200;

/// A secret that its owner must be able to write down. Its Debug is opaque.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Hidden(String);

impl Hidden {
    pub(super) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden(…)")
    }
}

/// What an app proves itself with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Credentials {
    pub client_id: String,
    pub client_secret: Hidden,
}

/// A token that was handed over once, and what it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct KeptToken {
    pub token_id: String,
    pub installation_id: String,
    pub account: String,
    pub user: String,
    pub access_token: Hidden,
    /// The rest of the reply it came in.
    pub reply: Map<String, Value>,
}

/// All that is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    credentials: Credentials,
    /// Oldest first.
    tokens: Vec<KeptToken>,
}

/// The file, and what is in it.
#[derive(Debug)]
pub(super) struct Keeper {
    path: PathBuf,
    kept: Mutex<Kept>,
}

impl Keeper {
    /// Reads the file; `None` if there is none.
    ///
    /// # Errors
    /// If there is something that cannot be read as what is kept.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let kept: Kept = serde_json::from_slice(&bytes)?;
        Ok(Some(Self { path: path.into(), kept: Mutex::new(kept) }))
    }

    /// Starts a new file, in place of any other.
    pub(super) fn create(path: &Path, credentials: Credentials) -> io::Result<Self> {
        let kept = Kept { credentials, tokens: Vec::new() };
        write(path, &kept)?;
        Ok(Self { path: path.into(), kept: Mutex::new(kept) })
    }

    pub(super) fn credentials(&self) -> Credentials {
        self.read(|kept| kept.credentials.clone())
    }

    /// The tokens, newest first.
    pub(super) fn tokens(&self) -> Vec<KeptToken> {
        self.read(|kept| kept.tokens.iter().rev().cloned().collect())
    }

    /// Keeps one more token.
    pub(super) fn add(&self, token: KeptToken) -> io::Result<()> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = kept.clone();
        next.tokens.push(token);
        let excess = next.tokens.len().saturating_sub(MAX_TOKENS);
        next.tokens.drain(..excess);
        let written = write(&self.path, &next);
        // A token that could not be written down still works until the process ends.
        drop(mem::replace(&mut *kept, next));
        written
    }

    fn read<T>(&self, look: impl FnOnce(&Kept) -> T) -> T {
        look(&self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Writes the file whole or not at all, for this user alone.
fn write(path: &Path, kept: &Kept) -> io::Result<()> {
    let draft = path.with_extension("json.draft");
    match fs::remove_file(&draft) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(kept)?)?;
    file.sync_all()?;
    fs::rename(&draft, path)?;
    sync_folder_of(path)
}

#[cfg(unix)]
fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

#[cfg(not(unix))]
fn sync_folder_of(_: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials() -> Credentials {
        Credentials { client_id: "c".into(), client_secret: Hidden("hush".into()) }
    }

    fn token(number: usize) -> KeptToken {
        KeptToken {
            token_id: number.to_string(),
            installation_id: "i".into(),
            account: "acme".into(),
            user: "ana".into(),
            access_token: Hidden(format!("hush{number}")),
            reply: Map::new(),
        }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_the_newest_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample-app.json");
        assert!(Keeper::load(&path).unwrap().is_none());
        let keeper = Keeper::create(&path, credentials()).unwrap();
        for number in 0..=MAX_TOKENS {
            keeper.add(token(number)).unwrap();
        }
        let again = Keeper::load(&path).unwrap().unwrap();
        assert_eq!(again.credentials(), credentials());
        assert_eq!(again.tokens(), keeper.tokens());
        assert_eq!(again.tokens().len(), MAX_TOKENS);
        assert_eq!(again.tokens().first(), Some(&token(MAX_TOKENS)));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no draft stays behind");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_this_user_alone_and_debug_shows_no_secret() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample-app.json");
        fs::write(path.with_extension("json.draft"), "left behind, for everybody").unwrap();
        let keeper = Keeper::create(&path, credentials()).unwrap();
        keeper.add(token(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!format!("{keeper:?}").contains("hush"));
    }

    #[test]
    fn a_file_that_is_something_else_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample-app.json");
        fs::write(&path, "{}").unwrap();
        Keeper::load(&path).unwrap_err();
    }
}
