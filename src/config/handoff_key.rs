//! The key that checks the platform's sign-in assertions. Knows: key files and which key fits which
//! algorithm. Must not know: what an assertion says.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::{Algorithm, DecodingKey};
use zeroize::Zeroizing;

use super::values::Why;

/// The least bytes of a shared secret: as many as the hash has (RFC 7518 section 3.2).
pub const MIN_SECRET_BYTES: usize = 32;
/// The largest key file that is read, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;
/// The least bytes of a DER-encoded RSA public key: a modulus of 2048 bits (RFC 7518 section 3.3).
const MIN_RSA_BYTES: usize = 256;
/// An uncompressed point on P-256, the curve of ES256 (RFC 7518 section 3.4).
const P256_POINT_BYTES: usize = 65;
/// A public key on Ed25519 (RFC 8037).
const ED25519_BYTES: usize = 32;

/// A key that fits its algorithm. Debug shows no byte of it.
#[derive(Clone)]
pub struct HandoffKey {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl HandoffKey {
    /// Reads the key file.
    pub(super) fn read(algorithm: Algorithm, path: &Path) -> Result<Self, Why> {
        let size = std::fs::metadata(path).map_err(cannot_read)?.len();
        if size > MAX_FILE_BYTES {
            return Err("is too large a file to be a key".to_owned());
        }
        let content = Zeroizing::new(std::fs::read(path).map_err(cannot_read)?);
        let key = match algorithm {
            Algorithm::HS256 => shared_secret(&content),
            _ => public_key(algorithm, &content),
        }?;
        Ok(Self { algorithm, key })
    }

    /// The one algorithm an assertion may be signed with.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The key to check the signature with.
    pub fn decoding_key(&self) -> &DecodingKey {
        &self.key
    }
}

impl fmt::Debug for HandoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HandoffKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

fn cannot_read(error: std::io::Error) -> Why {
    format!("cannot be read ({error})")
}

/// `base64:` and the secret in base64, or the secret itself; a line break at the end is not part of it. The
/// prefix is there because many a secret in hex is good base64, too.
fn shared_secret(content: &[u8]) -> Result<DecodingKey, Why> {
    let line = content.strip_suffix(b"\n").unwrap_or(content);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    if line.starts_with(b"-----BEGIN") {
        return Err("holds a PEM key, where HS256 needs a shared secret".to_owned());
    }
    let secret = match line.strip_prefix(b"base64:") {
        Some(encoded) => STANDARD.decode(encoded).map_err(|_| "holds no padded base64 after \"base64:\"")?,
        None => line.to_vec(),
    };
    let secret = Zeroizing::new(secret);
    if secret.len() < MIN_SECRET_BYTES {
        return Err(format!("holds {} bytes, where HS256 needs at least {MIN_SECRET_BYTES}", secret.len()));
    }
    Ok(DecodingKey::from_secret(&secret))
}

fn public_key(algorithm: Algorithm, content: &[u8]) -> Result<DecodingKey, Why> {
    if String::from_utf8_lossy(content).contains("PRIVATE KEY-----") {
        return Err(
            "holds a private key, which belongs to the platform alone: give the public one".to_owned()
        );
    }
    let (what, key) = match algorithm {
        Algorithm::EdDSA => ("an Ed25519", DecodingKey::from_ed_pem(content)),
        Algorithm::ES256 => ("a P-256", DecodingKey::from_ec_pem(content)),
        _ => ("an RSA (2048 bits or more)", DecodingKey::from_rsa_pem(content)),
    };
    let fits = |key: &DecodingKey| {
        let size = key.try_get_as_bytes().map_or(0, <[u8]>::len);
        match algorithm {
            Algorithm::EdDSA => size == ED25519_BYTES,
            Algorithm::ES256 => size == P256_POINT_BYTES,
            _ => size >= MIN_RSA_BYTES,
        }
    };
    key.ok().filter(fits).ok_or_else(|| {
        format!(
            "does not hold {what} public key in PEM (\"-----BEGIN PUBLIC KEY-----\"), as {algorithm:?} needs"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=
-----END PUBLIC KEY-----
";
    const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEjnR0AOBPTLzzzEmg679v6HDiaO3O
4yPWamvXVeEQJpU0GwrVkJMmK7QSSQ+1f2vkvtlXG6u7ecZ0v8gPrAQvew==
-----END PUBLIC KEY-----
";
    const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAEIkgzTp5vDQVVEgg6KTLTjJPcCsZ5j6KX
eUVg3V4t9bUmRX9q7PFDzZ9NRhrSDG4i11YhaVAj/XG426EkitYw3chExrfeqNMK
8qbd+hm6LwfaOGZlaeIyxTui8zCgT73o
-----END PUBLIC KEY-----
";
    const RSA_2048: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAt71oA0vaT2MpzxFa8r04
0+mqcDd2COaZCiIQRXVSjtTsFZPyK32YDmRV2VaWypVXJRbZVsSxDfcPzobnuF0O
+yHCNQkfq7WMoWSvvKIyU4P1vvr30hqMjyrzwM09M0xD6civzeh4v6NI9hg1yl2G
v6+0VxhM8mhSC9+lhXxf7G4v2PK5nGJKRKbBfLJZ0GxPHpGUeFyj/Fdgodx2KEfq
MMIOt/bRPVFWRCNJLr8xHOcXPAhqCxVjYB94FLJYENE2h+Au09oyDpxR6bAEz5c6
eWzZpYWcWAD+MIGmPFsR8nMoOom4Z63RrN25pk2TsfyRi3OPNO35gB76R5YNHrEo
NwIDAQAB
-----END PUBLIC KEY-----
";
    const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDbQZ7hFGyq2BddAPDc2jW1WTM4
4dO5pRtdZgUFbj9ZwpycPX0JfOrcLsfaGIZrB6ukIOS8y/FvGzLmwQuUT7vEUWzX
emtLZIGsHfZRdRZTr/TGdEPlE8rO/uI23EU1c2/Quut3ej6+XS3Qk5wh64DRiSNW
X+b7B2gyWbw++YEDTQIDAQAB
-----END PUBLIC KEY-----
";

    fn read(algorithm: Algorithm, content: &[u8]) -> Result<HandoffKey, Why> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("key");
        std::fs::write(&path, content).expect("written");
        HandoffKey::read(algorithm, &path)
    }

    fn refusal(algorithm: Algorithm, content: &[u8]) -> String {
        read(algorithm, content).expect_err("must be refused")
    }

    #[test]
    fn each_algorithm_takes_its_own_key_and_no_other() {
        use Algorithm::{ES256, EdDSA, RS256};
        let keys = [(EdDSA, ED25519), (ES256, P256), (RS256, RSA_2048)];
        for (algorithm, _) in keys {
            for (fits, pem) in keys {
                assert_eq!(
                    read(algorithm, pem.as_bytes()).is_ok(),
                    algorithm == fits,
                    "{algorithm:?} {fits:?}"
                );
            }
            assert!(refusal(algorithm, b"not a key").contains("-----BEGIN PUBLIC KEY-----"));
            assert!(refusal(algorithm, b"").contains("-----BEGIN PUBLIC KEY-----"));
        }
        assert!(refusal(ES256, P384.as_bytes()).contains("does not hold a P-256 public key"));
        assert!(refusal(RS256, RSA_1024.as_bytes()).contains("2048 bits"));
        let private = ED25519.replace("PUBLIC", "PRIVATE");
        assert!(refusal(EdDSA, private.as_bytes()).contains("give the public one"));
    }

    #[test]
    fn a_shared_secret_is_raw_or_marked_base64() {
        let bytes = |content: &[u8]| {
            let key = read(Algorithm::HS256, content).expect("stands");
            key.decoding_key().try_get_as_bytes().expect("bytes").to_vec()
        };
        let raw = [b'k'; 32];
        assert_eq!(bytes(&raw), raw);
        assert_eq!(bytes(&[&raw[..], b"\n"].concat()), raw, "the line break is not part of it");
        assert_eq!(bytes(&[&raw[..], b"\r\n"].concat()), raw);
        assert_eq!(bytes(&[0xff; 40]), [0xff; 40], "it may be any bytes");
        let encoded = format!("base64:{}\n", STANDARD.encode([7u8; 32]));
        assert_eq!(bytes(encoded.as_bytes()), [7; 32]);

        let hs256 = |content: &[u8]| refusal(Algorithm::HS256, content);
        assert_eq!(hs256(&[b'k'; 31]), "holds 31 bytes, where HS256 needs at least 32");
        assert_eq!(hs256(b"base64:AAAA"), "holds 3 bytes, where HS256 needs at least 32");
        assert!(hs256(b"base64:!").contains("no padded base64"));
        assert!(hs256(ED25519.as_bytes()).contains("needs a shared secret"));
    }

    #[test]
    fn debug_shows_no_byte_and_a_missing_file_is_said() {
        let key = read(Algorithm::HS256, b"correct horse battery staple, twice over").expect("stands");
        assert_eq!(format!("{key:?}"), "HandoffKey { algorithm: HS256, .. }");
        let missing = HandoffKey::read(Algorithm::HS256, Path::new("/nonexistent/key")).expect_err("refused");
        assert!(missing.starts_with("cannot be read (No such file"), "{missing}");
    }
}
