//! The S256 code challenge of a grant (RFC 7636). Must not know: verifiers.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

/// An S256 code challenge: 32 bytes, which a request has in base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeChallenge(pub [u8; 32]);

impl CodeChallenge {
    /// The bytes of a challenge in base64url without padding (RFC 7636 section 4.2).
    ///
    /// # Errors
    /// If it is not that of 32 bytes.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut bytes = [0; 32];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(32) => Ok(Self(bytes)),
            Ok(_) | Err(_) => Err("its code challenge is not 43 characters of base64url"),
        }
    }
}

impl fmt::Display for CodeChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
