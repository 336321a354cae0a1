//! Plain secrets and randomness. Knows: how codes, tokens, client secrets and operator keys are minted,
//! spelt, checked and digested, and where ids come from. Nothing else in grantbook holds a plain secret
//! for longer than one frame, and nothing anywhere stores one.
//!
//! | secret | form |
//! |---|---|
//! | access token | `gbt_` + base62 (version, installation id, 32 random bytes) + 6 characters of CRC-32 |
//! | refresh token | `gbr_` + base62 (version, installation id, 16 random bytes of its grant, 32 of its own) + 6 characters of CRC-32 |
//! | authorization code | `gbc_` + the same |
//! | client secret | `gbs_` + base62 (32 random bytes) + 6 characters of CRC-32 |
//! | operator key | `gbk_` + the same |
//! | registration access token | `gba_` + the same |
//!
//! A code or token says which stream it belongs to, so any node can ask that stream although its own
//! projection is behind; and a scanner can recognise a leaked secret offline, by its prefix and checksum.

mod base62;
mod code_key;
mod refresh;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use code_key::CodeKey;
use grantbook_events::{
    ClientId, EventId, GrantId, InstallationId, OperatorKeyId, RequestId, SecretDigest, SecretId, Timestamp,
    TokenId,
};
use grantbook_projections::CodeChallenge;
use rand::Rng;
pub use refresh::{MintedRefresh, PresentedRefresh, RefreshKey};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use uuid::{Builder, Uuid};
use zeroize::Zeroizing;

const TOKEN: &str = "gbt_";
const CODE: &str = "gbc_";
const REFRESH_TOKEN: &str = "gbr_";
const CLIENT_SECRET: &str = "gbs_";
const OPERATOR_KEY: &str = "gbk_";
const REGISTRATION_TOKEN: &str = "gba_";

/// The only layout of codes and tokens so far.
const LAYOUT: u8 = 1;
/// Bytes of randomness in every secret: 256 bits.
const RANDOM_BYTES: usize = 32;
/// Base62 characters of a CRC-32.
const CHECKSUM_CHARS: usize = 6;

/// Stands for what looks like a secret.
pub const CONCEALED: &str = "(a secret)";

/// Whether something in a text begins as secrets do.
pub fn is_like_one(text: &str) -> bool {
    [TOKEN, REFRESH_TOKEN, CODE, CLIENT_SECRET, OPERATOR_KEY, REGISTRATION_TOKEN]
        .iter()
        .any(|prefix| text.contains(prefix))
}

/// A secret in plain form: it has no Display and no Serialize, its Debug is opaque, and its memory is
/// wiped when it goes.
pub struct PlainSecret(Zeroizing<String>);

impl PlainSecret {
    /// A secret that a caller presented.
    pub fn presented(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself, for the one answer that hands it over.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What is stored and compared instead.
    pub fn digest(&self) -> SecretDigest {
        digest(&self.0)
    }
}

impl fmt::Debug for PlainSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlainSecret(…)")
    }
}

/// SHA-256 of a presented secret.
pub fn digest(presented: &str) -> SecretDigest {
    SecretDigest::new(Sha256::digest(presented).into())
}

/// Whether two digests are equal, in a time that does not depend on where they differ.
pub fn digests_match(one: &SecretDigest, other: &SecretDigest) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

/// Mints an access token that belongs to an installation.
pub fn mint_token(installation: InstallationId) -> PlainSecret {
    spell(TOKEN, &located(installation, &*Zeroizing::new(random_bytes::<RANDOM_BYTES>())))
}

/// Mints a client secret.
pub fn mint_client_secret() -> PlainSecret {
    spell(CLIENT_SECRET, Zeroizing::new(random_bytes::<RANDOM_BYTES>()).as_slice())
}

/// Mints an operator key.
pub fn mint_operator_key() -> PlainSecret {
    spell(OPERATOR_KEY, Zeroizing::new(random_bytes::<RANDOM_BYTES>()).as_slice())
}

/// Mints the token by which an app's own software manages its registration (RFC 7592).
pub fn mint_registration_token() -> PlainSecret {
    spell(REGISTRATION_TOKEN, Zeroizing::new(random_bytes::<RANDOM_BYTES>()).as_slice())
}

/// Where an access token belongs; `None` for what was never minted here.
pub fn locate_token(presented: &str) -> Option<InstallationId> {
    locate(TOKEN, presented)
}

/// Where an authorization code belongs; `None` for what was never minted here.
pub fn locate_code(presented: &str) -> Option<InstallationId> {
    locate(CODE, presented)
}

/// The S256 code challenge of a verifier (RFC 7636 section 4.2).
pub fn s256_challenge(verifier: &str) -> CodeChallenge {
    CodeChallenge(Sha256::digest(verifier).into())
}

fn located(installation: InstallationId, bits: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(1 + 16 + bits.len()));
    bytes.push(LAYOUT);
    bytes.extend_from_slice(installation.as_uuid().as_bytes());
    bytes.extend_from_slice(bits);
    bytes
}

fn spell(prefix: &str, bytes: &[u8]) -> PlainSecret {
    let mut text =
        Zeroizing::new(String::with_capacity(prefix.len() + base62::width(bytes.len()) + CHECKSUM_CHARS));
    text.push_str(prefix);
    base62::encode(bytes, &mut text);
    let checksum = crc32fast::hash(text.as_bytes());
    base62::encode(&checksum.to_be_bytes(), &mut text);
    PlainSecret(text)
}

/// Whether this may be an operator key; garbage is not.
pub fn is_operator_key(presented: &str) -> bool {
    checked(OPERATOR_KEY, presented, RANDOM_BYTES).is_some()
}

/// Whether this may be a client secret; garbage is not.
pub fn is_client_secret(presented: &str) -> bool {
    checked(CLIENT_SECRET, presented, RANDOM_BYTES).is_some()
}

/// The bytes after a prefix, if the checksum is right.
fn checked<'a>(prefix: &str, presented: &'a str, bytes: usize) -> Option<&'a str> {
    let (body, checksum) = presented.split_at_checked(presented.len().checked_sub(CHECKSUM_CHARS)?)?;
    let encoded = body.strip_prefix(prefix)?;
    let is_right = encoded.len() == base62::width(bytes)
        && *base62::decode(checksum, 4)? == crc32fast::hash(body.as_bytes()).to_be_bytes();
    is_right.then_some(encoded)
}

fn locate(prefix: &str, presented: &str) -> Option<InstallationId> {
    parts::<RANDOM_BYTES>(prefix, presented).map(|(installation, _)| installation)
}

/// Where a secret belongs, and its other bytes.
fn parts<const N: usize>(prefix: &str, presented: &str) -> Option<(InstallationId, Zeroizing<[u8; N]>)> {
    let bytes = base62::decode(checked(prefix, presented, 1 + 16 + N)?, 1 + 16 + N)?;
    let (&layout, rest) = bytes.split_first()?;
    let (installation, bits) = rest.split_first_chunk::<16>()?;
    let bits = Zeroizing::new(<[u8; N]>::try_from(bits).ok()?);
    (layout == LAYOUT).then(|| (InstallationId::new(Uuid::from_bytes(*installation)), bits))
}

/// Bytes from the process's cryptographically secure generator, which is seeded by the system.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

/// 256 random bits as 43 URL-safe characters.
pub fn random_text() -> String {
    URL_SAFE_NO_PAD.encode(random_bytes::<32>())
}

fn random_uuid() -> Uuid {
    Builder::from_random_bytes(random_bytes()).into_uuid()
}

fn timed_uuid(now: Timestamp) -> Uuid {
    let millis = u64::try_from(now.as_micros() / 1000).unwrap_or(0);
    Builder::from_unix_timestamp_millis(millis, &random_bytes()).into_uuid()
}

pub fn new_client_id() -> ClientId {
    ClientId::new(random_uuid())
}

/// A new event id: random per attempt.
pub fn new_event_id() -> EventId {
    EventId::new(random_uuid())
}

pub fn new_grant_id(now: Timestamp) -> GrantId {
    GrantId::new(timed_uuid(now))
}

pub fn new_token_id(now: Timestamp) -> TokenId {
    TokenId::new(timed_uuid(now))
}

pub fn new_secret_id(now: Timestamp) -> SecretId {
    SecretId::new(timed_uuid(now))
}

pub fn new_operator_key_id(now: Timestamp) -> OperatorKeyId {
    OperatorKeyId::new(timed_uuid(now))
}

pub fn new_request_id() -> RequestId {
    // 32 hex digits are always a request id.
    let text = random_uuid().simple().to_string();
    text.parse().unwrap_or_else(|_| unreachable!("hex digits are visible ASCII"))
}

/// A new ledger identity.
pub fn new_ledger_identity() -> Uuid {
    random_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn installation() -> InstallationId {
        "98f1b1a0-279b-5082-a1d9-c221440d2739".parse().unwrap()
    }

    fn a_code() -> PlainSecret {
        CodeKey::random().code(installation(), new_grant_id(Timestamp::from_micros(0)), "session")
    }

    #[test]
    fn a_code_and_a_token_say_where_they_belong_and_cannot_be_taken_for_each_other() {
        let (code, token) = (a_code(), mint_token(installation()));
        assert_eq!(locate_code(code.expose()), Some(installation()));
        assert_eq!(locate_token(token.expose()), Some(installation()));
        assert_eq!(locate_code(token.expose()), None);
        assert_eq!(locate_token(code.expose()), None);
        assert_eq!(locate_code(mint_client_secret().expose()), None);
        let key = mint_operator_key();
        assert!(is_operator_key(key.expose()));
        assert!(!is_operator_key(&key.expose()[1..]) && !is_operator_key(token.expose()));
        assert!(is_client_secret(mint_client_secret().expose()) && !is_client_secret(key.expose()));
    }

    #[test]
    fn every_single_changed_character_is_noticed() {
        let code = a_code();
        for at in 0..code.expose().len() {
            let mut text = code.expose().as_bytes().to_vec();
            text[at] = if text[at] == b'a' { b'b' } else { b'a' };
            assert_eq!(locate_code(std::str::from_utf8(&text).unwrap()), None, "at {at}");
        }
        assert_eq!(locate_code(&code.expose()[1..]), None);
        assert_eq!(locate_code(""), None);
        assert_eq!(locate_code("ééééééé"), None);
    }

    #[test]
    fn c1_secrets_survive_raw_and_form_encoded_basic_authentication() {
        for secret in [a_code(), mint_token(installation()), mint_client_secret(), mint_operator_key()] {
            assert!(secret.expose().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        }
        assert_ne!(mint_client_secret().expose(), mint_client_secret().expose());
    }

    #[test]
    fn t8_debug_shows_no_secret() {
        let secret = mint_client_secret();
        assert_eq!(format!("{secret:?}"), "PlainSecret(…)");
    }

    #[test]
    fn the_challenge_of_rfc_7636_appendix_b() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = CodeChallenge::parse("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_eq!(Ok(s256_challenge(verifier)), challenge);
    }
}
