//! What leads from tokens and users to rows. Knows: what is kept of them. Must not know: where it is kept.

use grantbook_events::{Position, Timestamp, TokenId, UserId};
use grantbook_projections::live::StateDigest;

/// What is kept of a token beside the row of an event that issued or ended it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptToken {
    /// Names the token.
    pub token_id: TokenId,
    /// Whose it is, if the event issued it.
    pub user_id: Option<UserId>,
    /// From when on it is refused, if the event issued it; `None` is never.
    pub expires_at: Option<Timestamp>,
}

/// What leads from tokens and users to rows: how many there are, and their sum, which does not depend on order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leads {
    /// How many lead from a token.
    pub tokens: u64,
    /// How many lead from a user.
    pub users: u64,
    digest: StateDigest,
}

impl Leads {
    /// What was kept of what it came to.
    pub(super) fn from_digest(digest: StateDigest) -> Self {
        Self { digest, ..Self::default() }
    }

    /// The sum.
    pub(super) const fn digest(&self) -> StateDigest {
        self.digest
    }

    /// Takes in what leads to the row of a position.
    pub fn add<'a>(
        &mut self,
        at: Position,
        tokens: &[KeptToken],
        users: impl IntoIterator<Item = &'a UserId>,
    ) {
        let at = at.as_u64().cast_signed();
        for token in tokens {
            let user = token.user_id.as_ref().map(UserId::as_str);
            let expires_at = token.expires_at.map(Timestamp::as_micros);
            self.add_token(token.token_id.as_uuid().as_bytes(), at, user, expires_at);
        }
        users.into_iter().for_each(|user| self.add_user(user.as_str(), at));
    }

    pub(super) fn add_token(&mut self, token: &[u8], at: i64, user: Option<&str>, expires_at: Option<i64>) {
        self.tokens += 1;
        let expires_at = expires_at.map(i64::to_le_bytes);
        let expires_at: &[u8] = expires_at.as_ref().map_or(&[], |bytes| bytes);
        let user = user.unwrap_or_default().as_bytes();
        self.digest.add("event_tokens", &[token, &at.to_le_bytes(), user, expires_at]);
    }

    pub(super) fn add_user(&mut self, user: &str, at: i64) {
        self.users += 1;
        self.digest.add("event_users", &[user.as_bytes(), &at.to_le_bytes()]);
    }
}
