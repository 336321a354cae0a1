//! The file with the key that checks the platform's sign-in assertions. Knows: files, and how a shared
//! secret is written in one. Must not know: which key fits which algorithm.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::takes::Why;
use crate::identity::handoff::{HandoffAlgorithm, HandoffKey};

/// The largest key file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Reads the key for an algorithm.
pub(super) fn read(algorithm: HandoffAlgorithm, path: &Path) -> Result<HandoffKey, Why> {
    let size = std::fs::metadata(path).map_err(cannot_read)?.len();
    if size > MAX_FILE_BYTES {
        return Err("is too large a file to be a key".to_owned());
    }
    let content = Zeroizing::new(std::fs::read(path).map_err(cannot_read)?);
    let material = match algorithm {
        HandoffAlgorithm::Hs256 => shared_secret(&content)?,
        HandoffAlgorithm::Rs256 | HandoffAlgorithm::Es256 | HandoffAlgorithm::EdDsa => content,
    };
    HandoffKey::new(algorithm, &material).map_err(|error| format!("does not fit: {error}"))
}

fn cannot_read(error: std::io::Error) -> Why {
    format!("cannot be read ({error})")
}

/// `base64:` and the secret in base64, or the secret itself; a line break at the end is not part of it. The
/// prefix is there because many a secret in hex is good base64, too.
fn shared_secret(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, Why> {
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Zeroizing::new(match line.strip_prefix(b"base64:") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "holds no padded base64 after \"base64:\"")?,
        None => line.to_vec(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_hs256(content: &[u8]) -> Result<HandoffKey, Why> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        std::fs::write(&path, content).expect("written");
        read(HandoffAlgorithm::Hs256, &path)
    }

    #[test]
    fn a_shared_secret_is_raw_or_marked_base64() {
        let secret = |content: &[u8]| shared_secret(content).expect("stands").to_vec();
        let raw = [b'k'; 32];
        assert_eq!(secret(&raw), raw);
        assert_eq!(secret(&[&raw[..], b"\n"].concat()), raw, "the line break is not part of it");
        assert_eq!(secret(&[&raw[..], b"\r\n"].concat()), raw);
        assert_eq!(secret(&[0xff; 40]), [0xff; 40], "it may be any bytes");
        assert_eq!(secret(format!("base64:{}\n", STANDARD.encode([7u8; 32])).as_bytes()), [7; 32]);
        assert!(read_hs256(b"base64:!").expect_err("refused").contains("no padded base64"));
        let short = read_hs256(&[b'k'; 31]).expect_err("refused");
        assert!(short.contains("at least 32 random bytes, not 31"), "{short}");
        assert!(read_hs256(&raw).is_ok());
    }

    #[test]
    fn a_missing_file_is_said() {
        let missing = read(HandoffAlgorithm::EdDsa, Path::new("/nonexistent/key")).expect_err("refused");
        assert!(missing.starts_with("cannot be read (No such file"), "{missing}");
    }
}
