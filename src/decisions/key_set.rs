//! The public keys of an app (RFC 7517): which sets are accepted, and which key fits a signature. Knows: JWKs and the algorithms
//! that are accepted. Must not know: what is signed, or where a set is from.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::{Map, Value};

/// The largest key set, in bytes.
pub const KEY_SET_MAX_BYTES: usize = 16 * 1024;
/// The most keys of a set.
pub const KEYS_MAX: usize = 10;
/// The algorithms that an app may sign with.
pub const ALGORITHMS: [&str; 3] = ["ES256", "EdDSA", "RS256"];

/// How many bits an RSA key has (RFC 7518 section 3.3); larger ones take long to check.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;
/// A coordinate on P-256, and an Ed25519 key.
const POINT_BYTES: usize = 32;
/// What only private and secret keys have.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// The keys of a set that signatures can be checked with, at least one.
#[derive(Debug, Clone)]
pub struct KeySet(Vec<PublicKey>);

#[derive(Debug, Clone)]
struct PublicKey {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
}

/// Why a key set is not accepted, as words that follow its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    #[error("must be at most {KEY_SET_MAX_BYTES} bytes")]
    TooLarge,
    #[error("must be a JSON object with an array of objects called keys (RFC 7517 section 5)")]
    NoKeySet,
    #[error("must have 1 to {KEYS_MAX} keys")]
    Count,
    #[error(
        "must have public keys only, without d, p, q, dp, dq, qi, oth and k; replace a key that was sent so"
    )]
    Private,
    #[error("must have a different kid for each key")]
    SameId,
    #[error("has a key that is malformed, or whose kid is no text")]
    Malformed,
    #[error("must have RSA keys of 2048 to 8192 bits only")]
    RsaSize,
    #[error("must have a key for signatures with ES256 (EC, P-256), EdDSA (OKP, Ed25519) or RS256 (RSA)")]
    NoneFits,
}

impl KeySet {
    /// Reads a set. Keys for something else than signatures with an accepted algorithm are skipped, as RFC 7517 section 5 says.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > KEY_SET_MAX_BYTES {
            return Err(KeySetError::TooLarge);
        }
        let set: Value = serde_json::from_slice(text).map_err(|_| KeySetError::NoKeySet)?;
        let keys = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::NoKeySet)?;
        if keys.is_empty() || keys.len() > KEYS_MAX {
            return Err(KeySetError::Count);
        }
        let (mut ids, mut accepted) = (Vec::new(), Vec::new());
        for key in keys {
            let key = key.as_object().ok_or(KeySetError::NoKeySet)?;
            let id = match key.get("kid") {
                None => None,
                Some(Value::String(id)) if ids.contains(&id) => return Err(KeySetError::SameId),
                Some(Value::String(id)) => Some(id),
                Some(_) => return Err(KeySetError::Malformed),
            };
            ids.extend(id);
            if let Some((algorithm, key)) = public_key(key)? {
                accepted.push(PublicKey { id: id.cloned(), algorithm, key });
            }
        }
        if accepted.is_empty() { Err(KeySetError::NoneFits) } else { Ok(Self(accepted)) }
    }

    /// The keys that a signature with this algorithm may be of. A key without an id may be any, and so may the key of a signature
    /// that names none.
    pub fn fitting(&self, algorithm: Algorithm, id: Option<&str>) -> impl Iterator<Item = &DecodingKey> {
        let is_it = move |key: &&PublicKey| {
            let is_named = key.id.as_deref().zip(id).is_none_or(|(one, other)| one == other);
            key.algorithm == algorithm && is_named
        };
        self.0.iter().filter(is_it).map(|key| &key.key)
    }
}

/// A key and the only algorithm it is used with; `None` if it is for something else.
fn public_key(jwk: &Map<String, Value>) -> Result<Option<(Algorithm, DecodingKey)>, KeySetError> {
    let text = |name| jwk.get(name).and_then(Value::as_str);
    if PRIVATE_MEMBERS.iter().any(|member| jwk.contains_key(*member)) || text("kty") == Some("oct") {
        return Err(KeySetError::Private);
    }
    let bytes =
        |name| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(KeySetError::Malformed);
    let point =
        |name| bytes(name).and_then(|bytes| is_point(&bytes).then_some(bytes).ok_or(KeySetError::Malformed));
    let (algorithm, name, key) = match (text("kty"), text("crv")) {
        (Some("RSA"), _) => {
            let (modulus, exponent) = (bytes("n")?, bytes("e")?);
            if !RSA_BITS.contains(&bits(&modulus)) {
                return Err(KeySetError::RsaSize);
            }
            (Algorithm::RS256, "RS256", DecodingKey::from_rsa_raw_components(&modulus, &exponent))
        }
        (Some("EC"), Some("P-256")) => {
            let uncompressed = [&[4], point("x")?.as_slice(), point("y")?.as_slice()].concat();
            (Algorithm::ES256, "ES256", DecodingKey::from_ec_der(&uncompressed))
        }
        (Some("OKP"), Some("Ed25519")) => (Algorithm::EdDSA, "EdDSA", DecodingKey::from_ed_der(&point("x")?)),
        (Some(_), _) => return Ok(None),
        (None, _) => return Err(KeySetError::Malformed),
    };
    let verifies = |uses: &Value| uses.as_array().is_some_and(|uses| uses.iter().any(|one| one == "verify"));
    let is_for_this = text("alg").is_none_or(|alg| alg == name)
        && text("use").is_none_or(|purpose| purpose == "sig")
        && jwk.get("key_ops").is_none_or(verifies);
    Ok(is_for_this.then_some((algorithm, key)))
}

const fn is_point(bytes: &[u8]) -> bool {
    bytes.len() == POINT_BYTES
}

/// How many bits a number has, whatever zeros it begins with.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let first = number.get(zeros).map_or(0, |first| first.leading_zeros() as usize);
    (number.len() - zeros) * 8 - first
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ed(id: &str) -> Value {
        json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode([7; 32]), "kid": id })
    }

    fn ec(id: &str) -> Value {
        let point = URL_SAFE_NO_PAD.encode([7; 32]);
        json!({ "kty": "EC", "crv": "P-256", "x": point, "y": point, "kid": id })
    }

    fn rsa(bytes: usize) -> Value {
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode(vec![0x80; bytes]), "e": "AQAB" })
    }

    fn with(mut key: Value, member: &str, value: impl Into<Value>) -> Value {
        key[member] = value.into();
        key
    }

    fn parse(keys: &[Value]) -> Result<KeySet, KeySetError> {
        KeySet::parse(json!({ "keys": keys }).to_string().as_bytes())
    }

    #[test]
    fn keys_are_found_by_algorithm_and_id() {
        let set = parse(&[ed("a"), ec("b"), rsa(256), with(rsa(512), "kid", "c")]).unwrap();
        let found = |algorithm, id| set.fitting(algorithm, id).count();
        assert_eq!(found(Algorithm::EdDSA, Some("a")), 1);
        assert_eq!(found(Algorithm::EdDSA, Some("b")), 0, "a key has one algorithm");
        assert_eq!(found(Algorithm::EdDSA, None), 1);
        assert_eq!(found(Algorithm::ES256, Some("b")), 1);
        assert_eq!(found(Algorithm::RS256, Some("c")), 2, "one by its id, one without");
        assert_eq!(found(Algorithm::RS256, Some("x")), 1);
        for other in [Algorithm::HS256, Algorithm::PS256, Algorithm::RS512, Algorithm::ES384] {
            assert_eq!(found(other, None), 0, "{other:?}");
        }
    }

    #[test]
    fn keys_for_something_else_are_skipped() {
        let other = [
            with(ed("a"), "use", "enc"),
            with(ed("b"), "key_ops", json!(["sign"])),
            with(ed("c"), "alg", "ES256"),
            with(rsa(256), "alg", "PS256"),
            with(ec("d"), "crv", "P-384"),
            json!({ "kty": "OKP", "crv": "X25519", "x": "" }),
            json!({ "kty": "new" }),
        ];
        assert_eq!(parse(&other).unwrap_err(), KeySetError::NoneFits);
        let own = with(with(with(ed("z"), "use", "sig"), "key_ops", json!(["verify"])), "alg", "EdDSA");
        let set = parse(&[&other[..], &[own]].concat()).unwrap();
        assert_eq!(set.0.len(), 1);
    }

    #[test]
    fn what_is_no_set_of_public_keys_is_refused() {
        use KeySetError as E;
        for member in PRIVATE_MEMBERS {
            assert_eq!(parse(&[ed("a"), with(ec("b"), member, "AAAA")]).unwrap_err(), E::Private, "{member}");
        }
        for (wrong, error) in [
            (vec![], E::Count),
            ((0..11).map(|i| ed(&i.to_string())).collect(), E::Count),
            (vec![json!({ "kty": "oct" })], E::Private),
            (vec![ed("a"), ec("a")], E::SameId),
            (vec![with(ed("a"), "use", "enc"), ec("a")], E::SameId),
            (vec![with(ed("a"), "kid", 7)], E::Malformed),
            (vec![with(ed("a"), "x", "AAAA")], E::Malformed),
            (vec![with(ec("a"), "y", "!")], E::Malformed),
            (vec![with(ec("a"), "x", URL_SAFE_NO_PAD.encode([7; 33]))], E::Malformed),
            (vec![json!({ "x": "AAAA" })], E::Malformed),
            (vec![json!("key")], E::NoKeySet),
            (vec![rsa(128)], E::RsaSize),
            (vec![ed("a"), rsa(255)], E::RsaSize),
            (vec![rsa(1025)], E::RsaSize),
            (
                vec![with(rsa(256), "n", URL_SAFE_NO_PAD.encode([vec![0; 200], vec![0x80; 128]].concat()))],
                E::RsaSize,
            ),
        ] {
            assert_eq!(parse(&wrong).unwrap_err(), error, "{wrong:?}");
        }
        let padded = json!({ "keys": [ed("a")], "more": "x".repeat(KEY_SET_MAX_BYTES) }).to_string();
        for (wrong, error) in
            [("", E::NoKeySet), ("[]", E::NoKeySet), ("{\"keys\": {}}", E::NoKeySet), (&padded, E::TooLarge)]
        {
            assert_eq!(KeySet::parse(wrong.as_bytes()).unwrap_err(), error);
        }
    }

    #[test]
    fn the_bits_of_a_number_do_not_count_zeros() {
        for (number, size) in
            [(&[][..], 0), (&[0, 0], 0), (&[1], 1), (&[0, 0x80, 0], 16), (&[0x7f, 0xff], 15)]
        {
            assert_eq!(bits(number), size, "{number:?}");
        }
    }
}
