//! What the sample app keeps between runs: its client credentials and its tokens. Knows: one file. Must not
//! know: grantbook, pages.
//!
//! An app must present its secrets, so it has to keep them in plain form, in a place that only it can read.
//! (grantbook keeps digests.) What holds a secret here has no Debug, so that it cannot reach a log.

use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::files;

/// The oldest tokens are forgotten first.
const MAX_TOKENS: usize = 200;

/// What registration gave.
#[derive(Serialize, Deserialize)]
pub(super) struct Credentials {
    pub client_id: String,
    pub client_secret: String,
}

#[derive(Clone, Serialize, Deserialize)]
pub(super) struct KeptToken {
    /// The token reply as it came, with the access token in it.
    pub reply: Value,
    /// What introspection said about the token when it was new: its id (`jti`), user (`sub`), account and installation.
    pub facts: Value,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    #[serde(skip)]
    pub path: PathBuf,
    pub credentials: Credentials,
    /// Oldest first.
    pub tokens: Vec<KeptToken>,
}

impl Kept {
    /// Reads the file; `None` if there is none.
    pub(super) fn load(path: &Path) -> io::Result<Option<Self>> {
        match fs::read(path) {
            Ok(json) => Ok(Some(Self { path: path.into(), ..serde_json::from_slice(&json)? })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn token(&self, token_id: &str) -> Option<KeptToken> {
        self.tokens.iter().find(|token| text(&token.facts, "jti") == token_id).cloned()
    }

    /// Keeps one more token: until the process ends, if the file cannot be written.
    pub(super) fn add(&mut self, token: KeptToken) -> io::Result<()> {
        self.tokens.push(token);
        let excess = self.tokens.len().saturating_sub(MAX_TOKENS);
        self.tokens.drain(..excess);
        self.write()
    }

    /// Writes the file, in place of any other.
    pub(super) fn write(&self) -> io::Result<()> {
        let json = serde_json::to_vec_pretty(self)?;
        files::replace(&self.path, |file| file.write_all(&json))
    }
}

/// A text in some JSON; empty if it is not there.
pub(super) fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn create(path: &Path) -> Kept {
        let credentials = Credentials { client_id: "c".into(), client_secret: "hush".into() };
        let kept = Kept { path: path.into(), credentials, tokens: Vec::new() };
        kept.write().unwrap();
        kept
    }

    fn token(number: usize) -> KeptToken {
        let reply = json!({ "access_token": format!("hush{number}") });
        KeptToken { reply, facts: json!({ "jti": number.to_string() }) }
    }

    #[test]
    fn what_is_kept_is_there_after_a_restart_and_the_oldest_is_forgotten_first() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample-app.json");
        assert!(Kept::load(&path).unwrap().is_none());
        let mut kept = create(&path);
        for number in 0..=MAX_TOKENS {
            kept.add(token(number)).unwrap();
        }
        let again = Kept::load(&path).unwrap().unwrap();
        assert_eq!(again.credentials.client_secret, "hush");
        let ids: Vec<_> = again.tokens.iter().map(|token| text(&token.facts, "jti").to_owned()).collect();
        let expected: Vec<_> = (1..=MAX_TOKENS).map(|number| number.to_string()).collect();
        assert_eq!(ids, expected);
        assert_eq!(text(&again.token("7").unwrap().reply, "access_token"), "hush7");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no draft is left");
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_this_user_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample-app.json");
        create(&path).add(token(1)).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_file_that_is_something_else_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("sample-app.json");
        fs::write(&path, "{}").unwrap();
        assert!(Kept::load(&path).is_err());
    }
}
