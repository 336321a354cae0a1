//! One approval by one user, its code, and the token that came of it. Must not know: other grants.

use grantbook_events::{EndedToken, GrantId, SecretDigest, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};

use super::challenge::CodeChallenge;
use super::{GRANT_MEMORY, NEVER};
use crate::fold::TokenEffect;
use crate::text::{Scopes, SharedText};

/// One approval by one user, and the token that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub grant_id: GrantId,
    /// Who approved.
    pub user_id: UserId,
    pub scopes: Scopes,
    /// Where the code was sent.
    pub redirect_uri: SharedText,
    /// Whether the exchange must name the redirect URI.
    pub redirect_uri_sent: bool,
    pub code_digest: SecretDigest,
    /// From when on the code is refused.
    pub code_expires_at: Timestamp,
    /// The S256 code challenge (RFC 7636), if one was sent.
    pub code_challenge: Option<CodeChallenge>,
    /// When it was recorded.
    pub granted_at: Timestamp,
    /// The revision of its approval, then of its exchange: the order of what was recorded in one moment.
    pub(super) revision: u32,
    pub code: CodeState,
}

/// What became of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeState {
    /// It can be exchanged until it expires.
    Pending,
    /// It was exchanged, for this token unless that is gone.
    Spent(Option<LiveToken>),
    /// It was ended before it was exchanged: by an uninstall, or by later codes of the same user.
    Ended,
}

/// A token that was neither revoked nor ended by an uninstall. It may have expired, and it only counts while its app
/// is active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveToken {
    pub token_id: TokenId,
    pub digest: SecretDigest,
    pub issued_at: Timestamp,
    /// The end of time for one that does not expire.
    pub(super) expires_at: Timestamp,
}

impl LiveToken {
    pub fn is_unexpired(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// From when on it is refused; `None` never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at).filter(|end| *end != NEVER)
    }

    pub(super) fn effect(&self, slot: u32) -> TokenEffect {
        TokenEffect { token_id: self.token_id, digest: self.digest, expires_at: self.expires_at, slot }
    }
}

impl Grant {
    /// Its token, if that is not gone.
    pub const fn token(&self) -> Option<&LiveToken> {
        match &self.code {
            CodeState::Spent(token) => token.as_ref(),
            CodeState::Pending | CodeState::Ended => None,
        }
    }

    /// Its token, as the event that ends it lists it.
    pub fn ended_token(&self) -> Option<EndedToken> {
        let token_id = self.token()?.token_id;
        Some(EndedToken { token_id, user_id: self.user_id.clone() })
    }

    pub(super) fn take_token(&mut self) -> Option<LiveToken> {
        match &mut self.code {
            CodeState::Spent(token) => token.take(),
            CodeState::Pending | CodeState::Ended => None,
        }
    }

    /// Whether a decision may still depend on it.
    pub(super) fn matters(&self, at: Timestamp) -> bool {
        self.token().is_some() || self.granted_at.plus(GRANT_MEMORY) > at
    }
}
