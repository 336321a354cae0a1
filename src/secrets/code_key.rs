//! Authorization codes that can be made again. Knows: how a code follows from a key and from the answer to one
//! consent form. Must not know: what the form asked.
//!
//! A browser that sends the same form twice (a double click) drops the first answer and follows the second, so
//! both answers must carry the same code, on whichever node they are made, and the plain code is stored nowhere.
//! So a code is not drawn at random but is HMAC-SHA-256 of what names the answer: session, grant, installation.
//!
//! - Without the key the 256 bits of a code look random (HMAC is a pseudorandom function), as those of
//!   a token do. The key is derived from the session key, which has 512 random bits, for this purpose only.
//! - No two grants have the same code: a grant id is minted for one form, and is part of what is authenticated.
//! - The session id is 256 random bits in an encrypted cookie, and never in the ledger. So an attacker who reads the
//!   ledger and learns the session key cannot make the code of a pending grant: that takes the cookie, too.
//! - With the session key one can already forge a sign-in and approve in anyone's name, so this use of it gives
//!   away nothing more. Tokens, client secrets and operator keys are random and depend on no key.

use std::fmt;

use grantbook_events::{GrantId, InstallationId};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::{CODE, PlainSecret, located, random_bytes, spell};

/// The block of SHA-256: a key of this size is taken by HMAC as it is.
const BLOCK_BYTES: usize = 64;

/// Makes authorization codes. Every node that serves the same people needs the same one.
#[derive(Clone)]
pub struct CodeKey(Zeroizing<[u8; BLOCK_BYTES]>);

impl fmt::Debug for CodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CodeKey(…)")
    }
}

impl CodeKey {
    /// From secret bytes that are used for nothing else.
    pub fn new(key: Zeroizing<[u8; BLOCK_BYTES]>) -> Self {
        Self(key)
    }

    /// A key that is forgotten: its codes are as good as random, and cannot be made again.
    pub fn random() -> Self {
        Self::new(Zeroizing::new(random_bytes()))
    }

    /// The code of one approval: the same whenever the same session approves the same grant.
    pub fn code(&self, installation: InstallationId, grant_id: GrantId, session_id: &str) -> PlainSecret {
        let mut mac = Hmac::<Sha256>::new((&*self.0).into());
        // All but the last part have a fixed length, so no two approvals are the same bytes.
        mac.update(installation.as_uuid().as_bytes());
        mac.update(grant_id.as_uuid().as_bytes());
        mac.update(session_id.as_bytes());
        let bits = Zeroizing::new(<[u8; 32]>::from(mac.finalize().into_bytes()));
        spell(CODE, &located(installation, &*bits))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{digest, locate_code};
    use super::*;

    #[test]
    fn a_code_can_be_made_again_from_the_same_answer_and_from_no_other() {
        let installation: InstallationId = "98f1b1a0-279b-5082-a1d9-c221440d2739".parse().unwrap();
        let other_installation: InstallationId = "98f1b1a0-279b-5082-a1d9-c221440d2738".parse().unwrap();
        let grant: GrantId = "019a0000-0000-7000-8000-000000000000".parse().unwrap();
        let other_grant: GrantId = "019a0000-0000-7000-8000-000000000001".parse().unwrap();
        let key = |byte| CodeKey::new(Zeroizing::new([byte; BLOCK_BYTES]));
        let (key, again, other_key) = (key(1), key(1), key(2));
        let code = key.code(installation, grant, "session");
        assert_eq!(locate_code(code.expose()), Some(installation));
        assert_eq!(again.code(installation, grant, "session").expose(), code.expose());
        let others = [
            key.code(other_installation, grant, "session"),
            key.code(installation, other_grant, "session"),
            key.code(installation, grant, "another"),
            other_key.code(installation, grant, "session"),
        ];
        assert!(others.iter().all(|other| other.digest() != digest(code.expose())));
        assert_eq!(format!("{key:?}"), "CodeKey(…)");
    }
}
