//! The key that protects sessions. Knows: a file of 64 random bytes and how keys are derived from it.
//! Must not know: what the derived keys protect.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{files, secrets};

/// The size of a session key, in bytes: the block of SHA-256, so that HMAC takes it as it is.
const KEY_BYTES: usize = 64;

/// The secret from which the keys of session cookies, form tickets and authorization codes are derived. Every node that
/// serves the same people needs the same key. Replacing it signs everyone out and does no other harm.
#[derive(Clone)]
pub struct SessionKey(Zeroizing<[u8; KEY_BYTES]>);

/// Why there is no session key.
#[derive(Debug, thiserror::Error)]
#[error("the session key {path} {why}")]
pub struct SessionKeyError {
    path: PathBuf,
    why: String,
}

impl SessionKey {
    /// A key from 64 random bytes.
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A new random key.
    pub fn generate() -> Self {
        Self::new(secrets::random_bytes())
    }

    /// Reads the key from a file; if there is none, makes one that only this user can read. When two
    /// processes start at once, both end up with the same key.
    pub fn load_or_create(path: &Path) -> Result<Self, SessionKeyError> {
        let refused = |why| SessionKeyError { path: path.into(), why };
        if matches!(path.try_exists(), Ok(false)) {
            let key = Self::generate();
            match files::create_new(path, |file| file.write_all(key.0.as_slice())) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(refused(format!(
                        "cannot be made: {error}; its folder must exist and be writable by this user"
                    )));
                }
                // If another process was first, its key is used.
                Ok(()) | Err(_) => {}
            }
        }
        Self::load(path).map_err(refused)
    }

    fn load(path: &Path) -> Result<Self, String> {
        let unreadable =
            |error: io::Error| format!("cannot be read: {error}; it must be a file this user may read");
        let file = File::open(path).map_err(unreadable)?;
        if let Some(mode) = exposing_mode(&file).map_err(unreadable)? {
            return Err(format!(
                "is open to every user of this machine (mode {mode:03o}): run `chmod 600 {}`",
                path.display()
            ));
        }
        // One byte more than is right, so that a longer file is noticed.
        let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_BYTES + 1));
        file.take(KEY_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
        <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map(Self::new).map_err(|_| {
            format!(
                "must be exactly {KEY_BYTES} bytes and is {}; remove the file to have a new key made (everybody signs \
                 in again), or restore it from a backup",
                bytes.len()
            )
        })
    }

    /// A key for one purpose: HMAC-SHA-256 of the purpose's name, once for each half. Keys for different purposes tell
    /// nothing about each other.
    pub fn derive(&self, purpose: &str) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        for (number, half) in (1..).zip(key.chunks_mut(KEY_BYTES / 2)) {
            let mut mac = Hmac::<Sha256>::new((&*self.0).into());
            mac.update(&[number]);
            mac.update(purpose.as_bytes());
            half.copy_from_slice(&mac.finalize().into_bytes());
        }
        key
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionKey(…)")
    }
}

/// The mode of a file that every user of the machine may open.
#[cfg(unix)]
fn exposing_mode(file: &File) -> io::Result<Option<u32>> {
    use std::os::unix::fs::PermissionsExt as _;
    // The group is left to the operator: mounted secrets are often readable by a group of one.
    let mode = file.metadata()?.permissions().mode() & 0o777;
    Ok(Some(mode).filter(|mode| mode & 0o007 != 0))
}

#[cfg(not(unix))]
fn exposing_mode(_: &File) -> io::Result<Option<u32>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_key_is_made_once_and_read_from_then_on() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.key");
        let made = SessionKey::load_or_create(&path).unwrap();
        let read = SessionKey::load_or_create(&path).unwrap();
        assert_eq!(made.0, read.0);
        assert_ne!(*made.0, [0; KEY_BYTES]);
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(files.len(), 1, "no draft stays behind: {files:?}");
    }

    #[cfg(unix)]
    #[test]
    fn only_this_user_can_read_a_new_key_and_an_open_one_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.key");
        SessionKey::load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = SessionKey::load_or_create(&path).unwrap_err().to_string();
        assert!(refused.contains("mode 644") && refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn processes_that_start_at_once_agree_on_one_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("session.key");
        let keys: Vec<SessionKey> = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..8).map(|_| scope.spawn(|| SessionKey::load_or_create(&path).unwrap())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| key.0 == keys[0].0));
    }

    #[test]
    fn a_file_of_another_size_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        for (size, said) in [(0, "is 0;"), (63, "is 63;"), (65, "is 65;"), (4096, "is 65;")] {
            let path = folder.path().join(format!("{size}.key"));
            fs::write(&path, vec![7; size]).unwrap();
            #[cfg(unix)]
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
            let refused = SessionKey::load_or_create(&path).unwrap_err().to_string();
            assert!(refused.contains("exactly 64 bytes") && refused.contains(said), "{refused}");
            assert_eq!(fs::read(&path).unwrap(), vec![7; size]);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let refused = SessionKey::load_or_create(&folder.path().join("no/session.key")).unwrap_err();
        assert!(refused.to_string().contains("cannot be made"), "{refused}");
        assert!(refused.to_string().contains("folder must exist"), "{refused}");
        let refused = SessionKey::load_or_create(folder.path()).unwrap_err();
        assert!(!refused.to_string().contains("cannot be made"), "{refused}");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_cannot_be_looked_for_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        let refused = SessionKey::load_or_create(&folder.path().join("file/session.key")).unwrap_err();
        assert!(refused.to_string().contains("must be a file this user may read"), "{refused}");
    }

    #[test]
    fn derived_keys_differ_by_purpose_and_the_key_never_shows() {
        let key = SessionKey::new([0xA5; KEY_BYTES]);
        assert_ne!(key.derive("one"), key.derive("two"));
        assert_eq!(key.derive("one"), key.derive("one"));
        let key_of_one = key.derive("one");
        assert_ne!(key_of_one[..32], key_of_one[32..]);
        assert_eq!(format!("{key:?}"), "SessionKey(…)");
    }
}
