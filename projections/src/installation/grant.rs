//! One approval by one user, its code, and the tokens that came of it. Must not know: other grants.

use std::time::Duration;

use grantbook_events::{EndedToken, GrantId, RefreshIssued, SecretDigest, Timestamp, TokenId, UserId};
use serde::{Deserialize, Serialize};

use super::challenge::CodeChallenge;
use crate::fold::{TokenEffect, TokenKind};
use crate::text::{Resources, Scopes, SharedText, SharedTexts};

/// How long a grant is kept although nothing can come of it any more: twice as long as any code or consent form lives,
/// so that the same form cannot be sent twice, also where clocks differ by as much.
pub const GRANT_MEMORY: Duration = Duration::from_secs(20 * 60);

/// The expiry of a token that does not expire.
pub(crate) const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// One approval by one user, and the tokens that came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    pub grant_id: GrantId,
    /// Who approved.
    pub user_id: UserId,
    pub scopes: Scopes,
    /// What its tokens are for; once a code became a token that is not refreshed, what that token is for.
    pub resources: Resources,
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
    /// The revision of its approval, then of its exchange, then of its last refresh: the order of what was recorded in
    /// one moment.
    pub(super) revision: u32,
    pub code: CodeState,
}

/// What became of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeState {
    /// It can be exchanged until it expires.
    Pending,
    /// It was exchanged for these tokens, unless they are gone.
    Spent(Held),
    /// It was ended before it was exchanged: by an uninstall, or by later codes of the same user.
    Ended,
}

/// The tokens that came of a code and are not gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Held {
    Nothing,
    /// One access token, of an app without refresh tokens.
    Token(LiveToken),
    /// Refresh tokens that follow each other, and the access tokens that came with them.
    Family(Box<Family>),
    /// What is refreshed of a code that had died with a suspension, by nodes that do not know that yet. None of it counts.
    Dead(Box<Family>),
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

/// The tokens of a grant that can be refreshed. Its size does not depend on how often that was done: a spent refresh
/// token is known by the part that all of them have alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Family {
    /// SHA-256 of that part.
    pub digest: SecretDigest,
    /// From when on no refresh token is accepted; the end of time for never.
    ends_at: Timestamp,
    /// The refresh token that can be used, unless it expired and was dropped.
    refresh: Option<LiveToken>,
    /// The refresh token that was used last.
    pub spent: Option<SpentRefresh>,
    /// Oldest first.
    access: Vec<AccessToken>,
}

/// The refresh token that was used last. Presented again shortly after, its reply was lost (R3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpentRefresh {
    pub digest: SecretDigest,
    pub at: Timestamp,
    /// From when on it would have been refused; the end of time for never.
    pub expires_at: Timestamp,
}

/// An access token that a refresh token came with. It may do less than its grant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct AccessToken {
    pub token: LiveToken,
    pub scopes: Scopes,
    pub resources: Resources,
}

/// A token, and what it is for.
#[derive(Debug, Clone, Copy)]
pub struct HeldToken<'a> {
    pub token: &'a LiveToken,
    pub kind: TokenKind,
    pub scopes: &'a Scopes,
    pub resources: &'a Resources,
}

impl LiveToken {
    pub fn is_unexpired(&self, now: Timestamp) -> bool {
        now < self.expires_at
    }

    /// From when on it is refused; `None` never.
    pub fn expires_at(&self) -> Option<Timestamp> {
        Some(self.expires_at).filter(|end| *end != NEVER)
    }

    pub(super) fn issued(
        (token_id, digest): (TokenId, SecretDigest),
        issued_at: Timestamp,
        expires_at: Option<Timestamp>,
    ) -> Self {
        Self { token_id, digest, issued_at, expires_at: expires_at.unwrap_or(NEVER) }
    }

    pub(super) fn refresh(token: &RefreshIssued, at: Timestamp) -> Self {
        Self::issued((token.token_id, token.digest), at, token.expires_at)
    }

    pub(super) fn effect(&self, kind: TokenKind, slot: u32) -> TokenEffect {
        TokenEffect { token_id: self.token_id, digest: self.digest, expires_at: self.expires_at, kind, slot }
    }
}

impl Family {
    pub(super) fn begin(issued: &RefreshIssued, access: AccessToken) -> Self {
        Self {
            digest: issued.family_digest,
            ends_at: issued.ends_at.unwrap_or(NEVER),
            refresh: Some(LiveToken::refresh(issued, access.token.issued_at)),
            spent: None,
            access: vec![access],
        }
    }

    /// The refresh token that can be used.
    pub const fn refresh(&self) -> Option<&LiveToken> {
        self.refresh.as_ref()
    }

    /// From when on no refresh token is accepted; `None` never.
    pub fn ends_at(&self) -> Option<Timestamp> {
        Some(self.ends_at).filter(|end| *end != NEVER)
    }

    /// The refresh token becomes a new one, and a new access token comes with it.
    pub(super) fn renew(&mut self, issued: &RefreshIssued, access: AccessToken) -> Option<LiveToken> {
        let at = access.token.issued_at;
        let spent = self.refresh.replace(LiveToken::refresh(issued, at));
        self.spent =
            spent.map(|token| SpentRefresh { digest: token.digest, at, expires_at: token.expires_at });
        self.access.push(access);
        spent
    }
}

impl Grant {
    /// Its tokens that are not gone: access tokens, oldest first, then the refresh token.
    pub fn tokens(&self) -> impl Iterator<Item = HeldToken<'_>> {
        let (one, family) = match &self.code {
            CodeState::Spent(Held::Token(token)) => (Some(token), None),
            CodeState::Spent(Held::Family(family)) => (None, Some(family)),
            CodeState::Spent(Held::Nothing | Held::Dead(_)) | CodeState::Pending | CodeState::Ended => {
                (None, None)
            }
        };
        let (scopes, resources) = (&self.scopes, &self.resources);
        let whole = move |token, kind| HeldToken { token, kind, scopes, resources };
        let access = family.into_iter().flat_map(|family| &family.access).map(|access| HeldToken {
            token: &access.token,
            kind: TokenKind::Access,
            scopes: &access.scopes,
            resources: &access.resources,
        });
        let refresh = family.and_then(|family| family.refresh());
        one.map(move |token| whole(token, TokenKind::Access))
            .into_iter()
            .chain(access)
            .chain(refresh.map(move |token| whole(token, TokenKind::Refresh)))
    }

    pub fn access_tokens(&self) -> impl Iterator<Item = HeldToken<'_>> {
        self.tokens().filter(|held| held.kind == TokenKind::Access)
    }

    /// Whether a token of it may be for these resources. One that names none is for any, be it a grant or a token.
    pub fn is_for(&self, resources: &[String]) -> bool {
        let are_granted = || resources.iter().all(|resource| self.resources.contains(resource));
        self.resources.is_empty() || (!resources.is_empty() && are_granted())
    }

    /// What can be refreshed, if anything.
    pub const fn family(&self) -> Option<&Family> {
        match &self.code {
            CodeState::Spent(Held::Family(family)) => Some(family),
            CodeState::Spent(_) | CodeState::Pending | CodeState::Ended => None,
        }
    }

    /// What an event may refresh: also what does not count.
    pub const fn any_family(&self) -> Option<&Family> {
        match &self.code {
            CodeState::Spent(Held::Family(family) | Held::Dead(family)) => Some(family),
            CodeState::Spent(_) | CodeState::Pending | CodeState::Ended => None,
        }
    }

    pub(super) fn any_family_mut(&mut self) -> Option<&mut Family> {
        match &mut self.code {
            CodeState::Spent(Held::Family(family) | Held::Dead(family)) => Some(family),
            CodeState::Spent(_) | CodeState::Pending | CodeState::Ended => None,
        }
    }

    /// Its tokens, as the event that ends them lists them.
    pub fn ended_tokens(&self) -> Vec<EndedToken> {
        self.tokens().map(|held| self.ended(held.token)).collect()
    }

    /// A token of it, as the event that ends it lists it.
    pub fn ended(&self, token: &LiveToken) -> EndedToken {
        EndedToken { token_id: token.token_id, user_id: self.user_id.clone() }
    }

    /// Drops the tokens that this says of; gives them.
    pub(super) fn drop_tokens(
        &mut self,
        is_gone: impl Fn(&LiveToken) -> bool,
    ) -> Vec<(LiveToken, TokenKind)> {
        let all = self.tokens().filter(|held| is_gone(held.token));
        let gone: Vec<_> = all.map(|held| (*held.token, held.kind)).collect();
        if let CodeState::Spent(held) = &mut self.code {
            let is_empty = match held {
                Held::Family(family) => {
                    family.access.retain(|access| !is_gone(&access.token));
                    family.refresh = family.refresh.filter(|token| !is_gone(token));
                    family.access.is_empty() && family.refresh.is_none()
                }
                Held::Token(token) => is_gone(token),
                Held::Nothing | Held::Dead(_) => false,
            };
            if is_empty {
                *held = Held::Nothing;
            }
        }
        gone
    }

    /// Whether a decision may still depend on it.
    pub(super) fn matters(&self, at: Timestamp) -> bool {
        self.tokens().next().is_some() || self.granted_at.plus(GRANT_MEMORY) > at
    }

    /// Lets its texts be those that other rows have.
    pub(super) fn share(&mut self, texts: &SharedTexts) {
        texts.share(&mut self.scopes);
        texts.share(&mut self.resources);
        self.redirect_uri = texts.text(self.redirect_uri.as_str());
        for access in self.any_family_mut().into_iter().flat_map(|family| &mut family.access) {
            texts.share(&mut access.scopes);
            texts.share(&mut access.resources);
        }
    }
}
