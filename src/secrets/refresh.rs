//! Refresh tokens that follow from each other. Knows: how one is minted, and how the tokens that it is exchanged for follow
//! from it and a key. Must not know: what is granted.
//!
//! An app whose reply was lost sends the same refresh token again, and must get the same tokens again, on whichever node:
//! another pair would be a second line of refresh tokens, and a thief with a line of his own is never noticed. Nothing
//! stores tokens, so they are not drawn at random but are HMAC-SHA-256 of the refresh token that was presented. To anyone
//! without the key, which is derived from the session key for this purpose only, they look random, also to the holder of
//! that refresh token. It takes both the key and a refresh token to make its successors; with the session key alone one
//! can already sign in as any user.
//!
//! All refresh tokens of a grant have 16 random bytes in common. So a spent one is known as such, however old, although
//! nothing stores the digests of spent ones where requests look.

use std::fmt;

use grantbook_events::{InstallationId, SecretDigest};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{PlainSecret, RANDOM_BYTES, REFRESH_TOKEN, TOKEN, digest, located, parts, random_bytes, spell};

/// Bytes that all refresh tokens of a grant have alike.
const FAMILY_BYTES: usize = 16;
const SECRET_BYTES: usize = FAMILY_BYTES + RANDOM_BYTES;
const KEY_BYTES: usize = 64;

/// A refresh token that was minted.
#[derive(Debug)]
pub struct MintedRefresh {
    pub plain: PlainSecret,
    /// SHA-256 of the part that all refresh tokens of the grant have alike.
    pub family_digest: SecretDigest,
}

impl MintedRefresh {
    /// The first one of a grant.
    pub fn first(installation: InstallationId) -> Self {
        Self::of(installation, &Zeroizing::new(random_bytes()))
    }

    fn of(installation: InstallationId, secret: &[u8; SECRET_BYTES]) -> Self {
        let plain = spell(REFRESH_TOKEN, &located(installation, secret));
        Self { plain, family_digest: family_digest(secret) }
    }
}

/// A refresh token as a caller presented it.
pub struct PresentedRefresh {
    pub installation_id: InstallationId,
    /// SHA-256 of the token.
    pub digest: SecretDigest,
    /// SHA-256 of the part that all refresh tokens of the grant have alike.
    pub family_digest: SecretDigest,
    secret: Zeroizing<[u8; SECRET_BYTES]>,
}

impl fmt::Debug for PresentedRefresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedRefresh(…)")
    }
}

impl PresentedRefresh {
    /// `None` for what was never minted here.
    pub fn read(presented: &str) -> Option<Self> {
        let (installation_id, secret) = parts(REFRESH_TOKEN, presented)?;
        let family_digest = family_digest(&secret);
        Some(Self { installation_id, digest: digest(presented), family_digest, secret })
    }
}

fn family_digest(secret: &[u8; SECRET_BYTES]) -> SecretDigest {
    let (family, _) = secret.split_at(FAMILY_BYTES);
    SecretDigest::new(Sha256::digest(family).into())
}

/// Makes the tokens that a refresh token is exchanged for. Every node that serves the same apps needs the same one.
#[derive(Clone)]
pub struct RefreshKey(Zeroizing<[u8; KEY_BYTES]>);

impl fmt::Debug for RefreshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshKey(…)")
    }
}

impl RefreshKey {
    /// From secret bytes that are used for nothing else.
    pub fn new(key: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        Self(key)
    }

    /// A key that is forgotten: what it makes cannot be made again.
    pub fn random() -> Self {
        Self::new(Zeroizing::new(random_bytes()))
    }

    /// The access token and the refresh token that follow from one.
    pub fn next(&self, presented: &PresentedRefresh) -> (PlainSecret, MintedRefresh) {
        let installation = presented.installation_id;
        let access = spell(TOKEN, &located(installation, &*self.bits(b"access", presented)));
        let mut secret = presented.secret.clone();
        let (_, own) = secret.split_at_mut(FAMILY_BYTES);
        own.copy_from_slice(&*self.bits(b"refresh", presented));
        (access, MintedRefresh::of(installation, &secret))
    }

    fn bits(&self, what: &[u8], presented: &PresentedRefresh) -> Zeroizing<[u8; RANDOM_BYTES]> {
        let mut mac = Hmac::<Sha256>::new((&*self.0).into());
        // The parts before the last have lengths of their own, so no two inputs are the same bytes.
        mac.update(presented.installation_id.as_uuid().as_bytes());
        mac.update(&*presented.secret);
        mac.update(what);
        Zeroizing::new(mac.finalize().into_bytes().into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::{locate_code, locate_token};
    use super::*;

    fn installation() -> InstallationId {
        "98f1b1a0-279b-5082-a1d9-c221440d2739".parse().unwrap()
    }

    fn read(minted: &MintedRefresh) -> PresentedRefresh {
        PresentedRefresh::read(minted.plain.expose()).unwrap()
    }

    #[test]
    fn r2_the_next_tokens_follow_from_the_presented_one_and_the_key_alone() {
        let key = |byte| RefreshKey::new(Zeroizing::new([byte; KEY_BYTES]));
        let first = read(&MintedRefresh::first(installation()));
        let (access, second) = key(1).next(&first);
        let (same_access, same) = key(1).next(&first);
        assert_eq!((access.expose(), second.plain.expose()), (same_access.expose(), same.plain.expose()));
        let (other_access, other) = key(2).next(&first);
        assert_ne!(other_access.expose(), access.expose());
        assert_ne!(other.plain.expose(), second.plain.expose());
        let (third_access, third) = key(1).next(&read(&second));
        assert_ne!(third_access.expose(), access.expose());
        assert_ne!(third.plain.expose(), second.plain.expose());
        assert_eq!(locate_token(access.expose()), Some(installation()));
        assert_eq!(read(&second).installation_id, installation());
    }

    #[test]
    fn r3_all_refresh_tokens_of_a_grant_are_of_one_family_and_no_other() {
        let (first, other) = (MintedRefresh::first(installation()), MintedRefresh::first(installation()));
        let (_, next) = RefreshKey::random().next(&read(&first));
        assert_eq!(first.family_digest, next.family_digest);
        assert_eq!(read(&next).family_digest, next.family_digest);
        assert_ne!(first.family_digest, other.family_digest);
        assert_ne!(read(&first).digest, read(&next).digest);
    }

    #[test]
    fn a_refresh_token_cannot_be_taken_for_another_secret_and_shows_nothing() {
        let minted = MintedRefresh::first(installation());
        let text = minted.plain.expose();
        assert_eq!((locate_token(text), locate_code(text)), (None, None));
        assert!(PresentedRefresh::read(super::super::mint_token(installation()).expose()).is_none());
        assert!(PresentedRefresh::read(&text[..text.len() - 1]).is_none());
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
        let shown = format!("{:?}{:?}{:?}", read(&minted), minted, RefreshKey::random());
        assert!(!shown.contains(&text[4..20]) && shown.contains('…'), "{shown}");
    }
}
