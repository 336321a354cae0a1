//! What holds for every token that is issued. Must not know: what it is issued for.

use std::time::Duration;

use grantbook_events::{
    AccountId, GrantRevoked, InstallationEvent, RefreshIssued, RefreshPolicy, RevocationReason, SecretDigest,
    Timestamp, TokenId, TokenRevoked,
};
use grantbook_projections::{Grant, Installation, TokenKind};

use super::InstallationRefusal;

/// What holds for tokens about to be issued.
#[derive(Debug, Clone, Copy)]
pub struct TokenRules {
    /// How long an access token lives; `None` for ever.
    pub lifetime: Option<Duration>,
    /// Whether refresh tokens are issued, and for how long; `None` for none (R1).
    pub refresh: Option<RefreshRules>,
    /// The most live access tokens one user may hold here, and the most grants that can be refreshed; the oldest is
    /// superseded (K1).
    pub max_live_per_user: usize,
}

/// How long refresh tokens live.
#[derive(Debug, Clone, Copy)]
pub struct RefreshRules {
    /// How long one may go unused; `None` for ever.
    pub idle: Option<Duration>,
    /// How long after the exchange of its code the last one ends; `None` for never.
    pub lifetime: Option<Duration>,
}

impl From<RefreshPolicy> for RefreshRules {
    fn from(policy: RefreshPolicy) -> Self {
        Self {
            idle: policy.idle_seconds.map(Duration::from_secs),
            lifetime: policy.lifetime_seconds.map(Duration::from_secs),
        }
    }
}

/// A refresh token that was minted.
#[derive(Debug, Clone, Copy)]
pub struct NewRefresh {
    pub token_id: TokenId,
    /// SHA-256 of the token.
    pub digest: SecretDigest,
    /// SHA-256 of the part that all refresh tokens of its grant have alike.
    pub family_digest: SecretDigest,
}

impl NewRefresh {
    /// As the event that issues it says.
    pub(super) fn issued(
        self,
        rules: RefreshRules,
        ends_at: Option<Timestamp>,
        now: Timestamp,
    ) -> RefreshIssued {
        let idle_end = rules.idle.map(|idle| now.plus(idle));
        RefreshIssued {
            token_id: self.token_id,
            digest: self.digest,
            family_digest: self.family_digest,
            expires_at: idle_end.into_iter().chain(ends_at).min(),
            ends_at,
        }
    }
}

/// Tokens were issued.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The account the app is installed on.
    pub account_id: AccountId,
    /// Canonical names of the access token's scopes.
    pub scopes: Vec<String>,
    /// From when on the access token is refused; `None` if it does not expire.
    pub expires_at: Option<Timestamp>,
    /// Whether the refresh token that was minted is issued with it.
    pub has_refresh: bool,
}

/// The resources that a token is for that asks for these (RFC 8707 section 2.2).
pub(super) fn granted_resources(
    grant: &Grant,
    wanted: &[String],
) -> Result<Vec<String>, InstallationRefusal> {
    match wanted {
        [] => Ok(grant.resources.to_vec()),
        wanted if grant.is_for(wanted) => Ok(wanted.to_vec()),
        _ => Err(InstallationRefusal::ResourceNotGranted),
    }
}

/// What ends when an access token is issued to the user of a grant, with a refresh token that is the grant's first if
/// `begins_family`: the grants and tokens that are then too many (K1), the ones used longest ago.
pub(super) fn superseded(
    installed: &Installation,
    grant: &Grant,
    begins_family: bool,
    max: usize,
    now: Timestamp,
) -> Vec<InstallationEvent> {
    let held = installed.held_by(&grant.user_id);
    let held: Vec<_> = held.into_iter().filter(|(_, held)| held.token.is_unexpired(now)).collect();
    let too_many = |held: usize| (held + 1).saturating_sub(max.max(1));
    let families: Vec<&Grant> = held
        .iter()
        .filter(|(of, held)| held.kind == TokenKind::Refresh && of.grant_id != grant.grant_id)
        .map(|(of, _)| *of)
        .collect();
    let ended = too_many(families.len()) * usize::from(begins_family);
    let ended = families.get(..ended.min(families.len())).unwrap_or_default();
    let mut events: Vec<_> =
        ended.iter().map(|of| grant_revoked(installed, of, RevocationReason::Superseded, None)).collect();
    let has_ended = |of: &Grant| ended.iter().any(|ended| ended.grant_id == of.grant_id);
    let access: Vec<_> =
        held.iter().filter(|(of, held)| held.kind == TokenKind::Access && !has_ended(of)).collect();
    events.extend(access.iter().take(too_many(access.len())).map(|(of, held)| {
        token_revoked(installed, of, held.token.token_id, RevocationReason::Superseded, None)
    }));
    events
}

/// One access token ends.
pub(super) fn token_revoked(
    installed: &Installation,
    grant: &Grant,
    token_id: TokenId,
    reason: RevocationReason,
    note: Option<String>,
) -> InstallationEvent {
    InstallationEvent::TokenRevoked(TokenRevoked {
        token_id,
        client_id: installed.client_id,
        account_id: installed.account_id.clone(),
        user_id: grant.user_id.clone(),
        reason,
        note,
    })
}

/// Every token of a grant ends.
pub(super) fn grant_revoked(
    installed: &Installation,
    grant: &Grant,
    reason: RevocationReason,
    note: Option<String>,
) -> InstallationEvent {
    InstallationEvent::GrantRevoked(GrantRevoked {
        grant_id: grant.grant_id,
        client_id: installed.client_id,
        account_id: installed.account_id.clone(),
        user_id: grant.user_id.clone(),
        tokens: grant.ended_tokens(),
        reason,
        note,
    })
}
