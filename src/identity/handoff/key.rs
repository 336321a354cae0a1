//! What the host signs with. Knows: algorithms and the form of their keys. Must not know: what is signed.

use std::fmt;

use jsonwebtoken::{Algorithm, DecodingKey};

/// The shortest shared secret, in bytes: as many as the digest has (RFC 7518 section 3.2).
const MIN_SECRET_BYTES: usize = 32;
/// A P-256 point: a tag and two coordinates.
const P256_POINT_BYTES: usize = 65;
/// The modulus alone of a 2048-bit RSA key (RFC 7518 section 3.3).
const MIN_RSA_BYTES: usize = 2048 / 8;

/// The algorithms a host may sign with. Exactly one is configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandoffAlgorithm {
    /// HMAC with SHA-256: one secret that the host and grantbook share.
    Hs256,
    /// RSA PKCS#1 v1.5 with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

impl HandoffAlgorithm {
    /// The name in a JWT header.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Hs256, Self::Rs256, Self::Es256, Self::EdDsa].into_iter().find(|one| one.name() == name)
    }

    pub(super) const fn as_jwt(self) -> Algorithm {
        match self {
            Self::Hs256 => Algorithm::HS256,
            Self::Rs256 => Algorithm::RS256,
            Self::Es256 => Algorithm::ES256,
            Self::EdDsa => Algorithm::EdDSA,
        }
    }
}

/// A key together with the only algorithm it is ever used with.
#[derive(Clone)]
pub struct HandoffKey {
    algorithm: HandoffAlgorithm,
    decoding_key: DecodingKey,
}

/// Why a key cannot be used with its algorithm. Says nothing of the key itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HandoffKeyError {
    #[error("the shared secret for HS256 must be at least {MIN_SECRET_BYTES} random bytes, not {0}")]
    ShortSecret(usize),
    /// A key file where a shared secret should be: everyone who has the public key could sign in as anyone.
    #[error("the shared secret for HS256 is a PEM file; for a public key, set RS256, ES256 or EdDSA")]
    PemAsSecret,
    #[error("this is a private key, which only the host may have; give the public key that belongs to it")]
    PrivateKey,
    #[error("the key for {algorithm} must be {expected}, as PEM that begins with -----BEGIN PUBLIC KEY-----")]
    WrongKey { algorithm: &'static str, expected: &'static str },
}

impl HandoffKey {
    /// For HS256 the bytes of the shared secret; for all others a public key in PEM.
    pub fn new(algorithm: HandoffAlgorithm, material: &[u8]) -> Result<Self, HandoffKeyError> {
        let pem = is_pem(material);
        if algorithm != HandoffAlgorithm::Hs256 && contains(material, b"PRIVATE KEY-----") {
            return Err(HandoffKeyError::PrivateKey);
        }
        let (parsed, right_size, expected): (_, fn(usize) -> bool, _) = match algorithm {
            HandoffAlgorithm::Hs256 if pem => return Err(HandoffKeyError::PemAsSecret),
            HandoffAlgorithm::Hs256 if material.len() < MIN_SECRET_BYTES => {
                return Err(HandoffKeyError::ShortSecret(material.len()));
            }
            HandoffAlgorithm::Hs256 => (Ok(DecodingKey::from_secret(material)), |_| true, "a secret"),
            HandoffAlgorithm::Rs256 => (
                DecodingKey::from_rsa_pem(material),
                |size| size >= MIN_RSA_BYTES,
                "an RSA public key of at least 2048 bits",
            ),
            HandoffAlgorithm::Es256 => (
                DecodingKey::from_ec_pem(material),
                |size| size == P256_POINT_BYTES,
                "an EC public key on P-256",
            ),
            HandoffAlgorithm::EdDsa => {
                (DecodingKey::from_ed_pem(material), |size| size == 32, "an Ed25519 public key")
            }
        };
        let wrong = HandoffKeyError::WrongKey { algorithm: algorithm.name(), expected };
        let decoding_key = parsed.map_err(|_| wrong)?;
        if !decoding_key.try_get_as_bytes().is_ok_and(|bytes| right_size(bytes.len())) {
            return Err(wrong);
        }
        Ok(Self { algorithm, decoding_key })
    }

    /// The only algorithm this key is used with.
    pub const fn algorithm(&self) -> HandoffAlgorithm {
        self.algorithm
    }

    pub(super) const fn decoding_key(&self) -> &DecodingKey {
        &self.decoding_key
    }
}

impl fmt::Debug for HandoffKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HandoffKey({}, …)", self.algorithm.name())
    }
}

fn is_pem(material: &[u8]) -> bool {
    contains(material, b"-----BEGIN ")
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &[u8] = include_bytes!("../testdata/rsa.public.pem");
    const RSA_1024: &[u8] = include_bytes!("../testdata/rsa-1024.public.pem");
    const ES256: &[u8] = include_bytes!("../testdata/es256.public.pem");
    const ES384: &[u8] = include_bytes!("../testdata/es384.public.pem");
    const EDDSA: &[u8] = include_bytes!("../testdata/eddsa.public.pem");
    const EDDSA_PRIVATE: &[u8] = include_bytes!("../testdata/eddsa.private.pem");

    #[test]
    fn every_algorithm_takes_its_own_kind_of_key_and_no_other() {
        use HandoffAlgorithm::{EdDsa, Es256, Rs256};
        for (algorithm, own) in [(Rs256, RSA), (Es256, ES256), (EdDsa, EDDSA)] {
            assert!(HandoffKey::new(algorithm, own).is_ok(), "{algorithm:?}");
            for other in [RSA, RSA_1024, ES256, ES384, EDDSA, b"", b"nonsense", &[0xFF; 64]] {
                if other != own {
                    let refused = HandoffKey::new(algorithm, other).unwrap_err();
                    assert!(matches!(refused, HandoffKeyError::WrongKey { .. }), "{algorithm:?} {refused:?}");
                }
            }
            assert_eq!(HandoffKey::new(algorithm, EDDSA_PRIVATE).unwrap_err(), HandoffKeyError::PrivateKey);
        }
    }

    #[test]
    fn a_shared_secret_is_long_enough_and_not_a_key_file() {
        let new = |secret| HandoffKey::new(HandoffAlgorithm::Hs256, secret);
        assert!(new(&[7; 32]).is_ok());
        assert_eq!(new(&[7; 31]).unwrap_err(), HandoffKeyError::ShortSecret(31));
        for pem in [RSA, ES256, EDDSA, EDDSA_PRIVATE] {
            assert_eq!(new(pem).unwrap_err(), HandoffKeyError::PemAsSecret);
        }
    }

    #[test]
    fn algorithms_have_one_spelling_and_none_is_none() {
        assert_eq!(HandoffAlgorithm::named("EdDSA"), Some(HandoffAlgorithm::EdDsa));
        for wrong in ["none", "None", "hs256", "RS384", ""] {
            assert_eq!(HandoffAlgorithm::named(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_never_shows() {
        let key = HandoffKey::new(HandoffAlgorithm::Hs256, b"secretsecretsecretsecretsecretse").unwrap();
        assert_eq!(format!("{key:?}"), "HandoffKey(HS256, …)");
    }
}
