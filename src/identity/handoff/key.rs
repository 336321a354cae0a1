//! What the host signs with. Knows: algorithms, the form of their keys, and how a shared secret is written in a file. Must
//! not know: what is signed.

use std::fmt;
use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};
use zeroize::Zeroizing;

/// The largest key file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The shortest shared secret, in bytes: as many as the digest has (RFC 7518 section 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// A P-256 point: a tag and two coordinates.
const P256_POINT_BYTES: usize = 65;
/// The modulus alone of a 2048-bit RSA key (RFC 7518 section 3.3).
const MIN_RSA_BYTES: usize = 2048 / 8;

/// A key together with the only algorithm it is ever used with.
#[derive(Clone)]
pub struct HandoffKey {
    algorithm: Algorithm,
    decoding_key: DecodingKey,
}

impl HandoffKey {
    /// Reads a key from a file.
    ///
    /// # Errors
    /// What is wrong, as a clause about the file. It says nothing of the key itself.
    pub fn read(algorithm: Algorithm, path: &Path) -> Result<Self, String> {
        let cannot_read = |error| format!("cannot be read ({error})");
        if fs::metadata(path).map_err(cannot_read)?.len() > MAX_FILE_BYTES {
            return Err("is too large a file to be a key".to_owned());
        }
        let content = Zeroizing::new(fs::read(path).map_err(cannot_read)?);
        let material = if algorithm == Algorithm::HS256 { shared_secret(&content)? } else { content };
        Self::new(algorithm, &material).map_err(|why| format!("does not fit: {why}"))
    }

    /// For HS256 the bytes of the shared secret; for all others a public key in PEM.
    ///
    /// # Errors
    /// Why the key cannot be used with the algorithm.
    pub fn new(algorithm: Algorithm, material: &[u8]) -> Result<Self, String> {
        if algorithm != Algorithm::HS256 && contains(material, b"PRIVATE KEY-----") {
            let why =
                "this is a private key, which only the host may have; give the public key that belongs to it";
            return Err(why.to_owned());
        }
        let (parsed, right_size, expected): (_, fn(usize) -> bool, _) = match algorithm {
            // Everyone who has the public key could sign in as anyone.
            Algorithm::HS256 if contains(material, b"-----BEGIN ") => {
                let why =
                    "the shared secret for HS256 is a PEM file; for a public key, set RS256, ES256 or EdDSA";
                return Err(why.to_owned());
            }
            Algorithm::HS256 if material.len() < MIN_SECRET_BYTES => {
                return Err(format!(
                    "the shared secret for HS256 must be at least {MIN_SECRET_BYTES} random bytes, not {}",
                    material.len()
                ));
            }
            Algorithm::HS256 => (Ok(DecodingKey::from_secret(material)), |_| true, "a secret"),
            Algorithm::RS256 => (
                DecodingKey::from_rsa_pem(material),
                |size| size >= MIN_RSA_BYTES,
                "an RSA public key of at least 2048 bits",
            ),
            Algorithm::ES256 => (
                DecodingKey::from_ec_pem(material),
                |size| size == P256_POINT_BYTES,
                "an EC public key on P-256",
            ),
            Algorithm::EdDSA => {
                (DecodingKey::from_ed_pem(material), |size| size == 32, "an Ed25519 public key")
            }
            other => return Err(format!("{other:?} is not HS256, RS256, ES256 or EdDSA")),
        };
        let is_right = |key: &DecodingKey| key.try_get_as_bytes().is_ok_and(|bytes| right_size(bytes.len()));
        match parsed {
            Ok(decoding_key) if is_right(&decoding_key) => Ok(Self { algorithm, decoding_key }),
            _ => Err(format!(
                "the key for {algorithm:?} must be {expected}, as PEM that begins with -----BEGIN PUBLIC KEY-----"
            )),
        }
    }

    /// The only algorithm this key is used with.
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(super) const fn decoding_key(&self) -> &DecodingKey {
        &self.decoding_key
    }
}

impl fmt::Debug for HandoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandoffKey({:?}, …)", self.algorithm)
    }
}

/// `base64:` and the secret in base64, or the secret itself; a line break at the end is not part of it. The
/// prefix is there because many a secret in hex is good base64, too.
fn shared_secret(content: &[u8]) -> Result<Zeroizing<Vec<u8>>, String> {
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Zeroizing::new(match line.strip_prefix(b"base64:") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "holds no padded base64 after \"base64:\"")?,
        None => line.to_vec(),
    }))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &[u8] = include_bytes!("../testdata/rsa.public.pem");
    const RSA_1024: &[u8] = include_bytes!("../testdata/rsa-1024.public.pem");
    const P256: &[u8] = include_bytes!("../testdata/es256.public.pem");
    const P384: &[u8] = include_bytes!("../testdata/es384.public.pem");
    const ED25519: &[u8] = include_bytes!("../testdata/eddsa.public.pem");
    const ED25519_PRIVATE: &[u8] = include_bytes!("../testdata/eddsa.private.pem");

    #[test]
    fn every_algorithm_takes_its_own_kind_of_key_and_no_other() {
        use Algorithm::{ES256, EdDSA, RS256};
        for (algorithm, own) in [(RS256, RSA), (ES256, P256), (EdDSA, ED25519)] {
            assert!(HandoffKey::new(algorithm, own).is_ok(), "{algorithm:?}");
            for other in [RSA, RSA_1024, P256, P384, ED25519, b"", b"nonsense", &[0xFF; 64]] {
                if other != own {
                    let refused = HandoffKey::new(algorithm, other).unwrap_err();
                    assert!(refused.starts_with(&format!("the key for {algorithm:?} must be")), "{refused}");
                }
            }
            let private = HandoffKey::new(algorithm, ED25519_PRIVATE).unwrap_err();
            assert!(private.starts_with("this is a private key"), "{private}");
        }
    }

    #[test]
    fn a_shared_secret_is_long_enough_and_not_a_key_file() {
        let new = |secret| HandoffKey::new(Algorithm::HS256, secret);
        assert!(new(&[7; 32]).is_ok());
        assert!(new(&[7; 31]).unwrap_err().contains("at least 32 random bytes, not 31"));
        for pem in [RSA, P256, ED25519, ED25519_PRIVATE] {
            assert!(new(pem).unwrap_err().contains("is a PEM file"));
        }
    }

    #[test]
    fn no_other_algorithm_has_a_key() {
        for other in [Algorithm::HS384, Algorithm::RS512, Algorithm::ES384, Algorithm::PS256] {
            assert!(HandoffKey::new(other, RSA).unwrap_err().contains("is not HS256"), "{other:?}");
        }
    }

    fn read_hs256(content: &[u8]) -> Result<HandoffKey, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        fs::write(&path, content).unwrap();
        HandoffKey::read(Algorithm::HS256, &path)
    }

    #[test]
    fn a_shared_secret_is_raw_or_marked_base64() {
        let secret = |content: &[u8]| shared_secret(content).unwrap().to_vec();
        let raw = [b'k'; 32];
        assert_eq!(secret(&raw), raw);
        assert_eq!(secret(&[&raw[..], b"\n"].concat()), raw, "the line break is not part of it");
        assert_eq!(secret(&[&raw[..], b"\r\n"].concat()), raw);
        assert_eq!(secret(&[0xff; 40]), [0xff; 40], "it may be any bytes");
        assert_eq!(secret(format!("base64:{}\n", STANDARD.encode([7u8; 32])).as_bytes()), [7; 32]);
        assert!(read_hs256(b"base64:!").unwrap_err().contains("no padded base64"));
        let short = read_hs256(&[b'k'; 31]).unwrap_err();
        assert!(short.contains("at least 32 random bytes, not 31"), "{short}");
        assert!(read_hs256(&raw).is_ok());
    }

    #[test]
    fn a_missing_file_is_said() {
        let missing = HandoffKey::read(Algorithm::EdDSA, Path::new("/nonexistent/key")).unwrap_err();
        assert!(missing.starts_with("cannot be read (No such file"), "{missing}");
    }

    #[test]
    fn a_key_never_shows() {
        let key = HandoffKey::new(Algorithm::HS256, b"secretsecretsecretsecretsecretse").unwrap();
        assert_eq!(format!("{key:?}"), "HandoffKey(HS256, …)");
    }
}
