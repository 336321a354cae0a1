//! The state of one app on one account: the fold of stream `installation-{installation_id}`.
//!
//! Its size does not depend on the length of the stream: it has the grants of the last minutes, and older ones while
//! their token lives, because a second exchange of their code must end it. What can no longer matter to a decision is
//! dropped by recorded time, so that every replay drops the same.

mod challenge;
mod grant;
mod grants;

use std::time::Duration;

use grantbook_events::{
    AccessGranted, AccountId, ClientId, CodeExchanged, Envelope, GrantId, InstallationEvent, InstallationId,
    Revision, SecretDigest, Timestamp, TokenId, UserId,
};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::fold::{Effects, Head, TokenEffect};
use crate::text::SharedTexts;
pub use challenge::CodeChallenge;
pub use grant::{CodeState, Grant, LiveToken};
use grants::Grants;

/// How long a grant is kept although nothing can come of it any more: twice as long as any code or consent form lives,
/// so that the same form cannot be sent twice, also where clocks differ by as much.
pub const GRANT_MEMORY: Duration = Duration::from_secs(20 * 60);

/// How many codes of one user can wait for their exchange. One more ends the oldest.
pub const MAX_PENDING_PER_USER: usize = 10;

/// The expiry of a token that does not expire.
pub(crate) const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);
const BEFORE_ALL: Timestamp = Timestamp::from_micros(i64::MIN);

/// One app on one account, once a user of the account has approved it. Its serialised form is for snapshots only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Installation {
    pub installation_id: InstallationId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// Counts uninstalls; codes of an earlier epoch are dead.
    pub epoch: u32,
    revision: u32,
    pub first_granted_at: Timestamp,
    /// When its last event was recorded.
    pub changed_at: Timestamp,
    /// Since when a token has been there without a break, or was: the last such span.
    held_since: Timestamp,
    /// When that span ended, or will end if nothing else happens.
    held_until: Timestamp,
    grants: Grants,
}

impl Installation {
    /// The grants of the last minutes and those with a token, in no order.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.all().map(|(_, grant)| grant)
    }

    pub fn grant(&self, grant_id: GrantId) -> Option<&Grant> {
        self.grants.by_id(grant_id).map(|(_, grant)| grant)
    }

    /// The grant whose code has this digest.
    pub fn grant_of_code(&self, digest: &SecretDigest) -> Option<&Grant> {
        self.grants.by_code(digest).map(|(_, grant)| grant)
    }

    /// The grants of one user, in no order.
    pub fn grants_of_user(&self, user: &UserId) -> impl Iterator<Item = &Grant> {
        self.grants.of_user(user).map(|(_, grant)| grant)
    }

    /// The grant whose token has this id.
    pub fn grant_of_token(&self, token_id: TokenId) -> Option<&Grant> {
        self.grants.by_token(token_id).map(|(_, grant)| grant)
    }

    /// The grant whose token has this digest.
    pub fn grant_of_token_digest(&self, digest: &SecretDigest) -> Option<&Grant> {
        self.grants.by_token_digest(digest).map(|(_, grant)| grant)
    }

    /// The grants with a token, oldest token first.
    pub fn held(&self) -> Vec<(&Grant, &LiveToken)> {
        Self::oldest_first(self.grants())
    }

    /// Those of one user.
    pub fn held_by(&self, user: &UserId) -> Vec<(&Grant, &LiveToken)> {
        Self::oldest_first(self.grants_of_user(user))
    }

    fn oldest_first<'a>(grants: impl Iterator<Item = &'a Grant>) -> Vec<(&'a Grant, &'a LiveToken)> {
        let mut held: Vec<_> = grants.filter_map(|grant| Some((grant, grant.token()?))).collect();
        held.sort_by_key(|(grant, _)| grant.revision);
        held
    }

    /// Since when a token has been there without a break; if none is, when the last one ended.
    pub(crate) fn span(&self, now: Timestamp) -> (Option<Timestamp>, Option<Timestamp>) {
        if self.held_until == BEFORE_ALL {
            (None, None)
        } else if now < self.held_until {
            (Some(self.held_since), None)
        } else {
            (None, Some(self.held_until))
        }
    }

    pub(crate) fn at_slot(&self, slot: u32) -> Option<&Grant> {
        self.grants.get(slot)
    }

    pub(crate) fn head(&self) -> Head {
        Head { revision: Revision::new(self.revision.into()), recorded_at: self.changed_at }
    }

    /// The installation after its first event.
    pub(crate) fn begin(
        id: InstallationId,
        event: &InstallationEvent,
        envelope: &Envelope,
        app: &App,
        texts: &SharedTexts,
    ) -> Result<Self, &'static str> {
        let first = match event {
            InstallationEvent::AccessGranted(first) => first,
            InstallationEvent::CodeExchanged(_)
            | InstallationEvent::CodeReplayed(_)
            | InstallationEvent::TokenRevoked(_)
            | InstallationEvent::Uninstalled(_) => return Err("access was not granted before"),
        };
        let at = envelope.recorded_at;
        let mut installed = Self {
            installation_id: id,
            client_id: first.client_id,
            account_id: first.account_id.clone(),
            epoch: 0,
            revision: 0,
            first_granted_at: at,
            changed_at: at,
            held_since: BEFORE_ALL,
            held_until: BEFORE_ALL,
            grants: Grants::default(),
        };
        installed.apply(event, envelope, app, texts)?;
        Ok(installed)
    }

    /// Applies the next event. One that cannot follow changes nothing.
    pub(crate) fn apply(
        &mut self,
        event: &InstallationEvent,
        envelope: &Envelope,
        app: &App,
        texts: &SharedTexts,
    ) -> Result<Effects, &'static str> {
        if event.installation() != (self.client_id, &self.account_id) {
            return Err("it names another app or account than its stream");
        }
        let at = envelope.recorded_at;
        let revision = u32::try_from(envelope.revision.as_u64()).map_err(|_| "the stream is too long")?;
        let effects = match event {
            InstallationEvent::AccessGranted(event) => self.add_grant(event, (at, revision), texts)?,
            InstallationEvent::CodeExchanged(event) => {
                let is_dead = app.had_ended(event.granted_at, envelope.position);
                self.exchange(event, (at, revision), is_dead)?
            }
            InstallationEvent::CodeReplayed(event) => {
                let grant = self.grant(event.grant_id);
                if grant.is_some_and(|grant| !matches!(grant.code, CodeState::Spent(_))) {
                    return Err("the code was not spent before");
                }
                self.end_tokens(event.tokens.iter().map(|token| token.token_id), at)
            }
            InstallationEvent::TokenRevoked(event) => self.end_tokens([event.token_id], at),
            InstallationEvent::Uninstalled(event) => {
                if event.epoch != self.epoch {
                    return Err("it ends another epoch than the current one");
                }
                self.epoch = self.epoch.saturating_add(1);
                self.end_all(at)
            }
        };
        (self.revision, self.changed_at) = (revision, at);
        Ok(effects)
    }

    fn add_grant(
        &mut self,
        event: &AccessGranted,
        (at, revision): (Timestamp, u32),
        texts: &SharedTexts,
    ) -> Result<Effects, &'static str> {
        if self.grants.by_id(event.grant_id).is_some() {
            return Err("the grant was recorded before");
        }
        let code_challenge = event.code_challenge.as_deref().map(CodeChallenge::parse).transpose()?;
        let mut effects = Effects::default();
        if self.grants.is_due() {
            for (slot, token) in self.grants.drop_unneeded(at) {
                effects.ended.push(token.effect(slot));
            }
        }
        self.grants.insert(Grant {
            grant_id: event.grant_id,
            user_id: event.user_id.clone(),
            scopes: texts.scopes(&event.scopes),
            redirect_uri: texts.text(&event.redirect_uri),
            redirect_uri_sent: event.redirect_uri_sent,
            code_digest: event.code_digest,
            code_expires_at: event.code_expires_at,
            code_challenge,
            granted_at: at,
            revision,
            code: CodeState::Pending,
        });
        self.end_oldest_pending(&event.user_id);
        Ok(effects)
    }

    fn end_oldest_pending(&mut self, user: &UserId) {
        let pending = self.grants.of_user(user).filter(|(_, grant)| grant.code == CodeState::Pending);
        let pending: Vec<_> = pending.map(|(slot, grant)| (grant.revision, slot)).collect();
        if pending.len() > MAX_PENDING_PER_USER
            && let Some((_, oldest)) = pending.into_iter().min()
        {
            self.grants.change(oldest, |grant| grant.code = CodeState::Ended);
        }
    }

    fn exchange(
        &mut self,
        event: &CodeExchanged,
        (at, revision): (Timestamp, u32),
        is_dead: bool,
    ) -> Result<Effects, &'static str> {
        let (slot, grant) = self.grants.by_id(event.grant_id).ok_or("the grant does not exist")?;
        if grant.code != CodeState::Pending {
            return Err("the code was spent or ended before");
        }
        let is_same = grant.user_id == event.user_id && grant.granted_at == event.granted_at;
        if !is_same || !grant.scopes.iter().eq(event.scopes.iter()) {
            return Err("it issues a token for another user, scopes or time than was granted");
        }
        // A code that had died with a suspension gives a token that never counts.
        let token = (!is_dead).then(|| LiveToken {
            token_id: event.token_id,
            digest: event.token_digest,
            issued_at: at,
            expires_at: event.expires_at.unwrap_or(NEVER),
        });
        self.grants.change(slot, |grant| (grant.code, grant.revision) = (CodeState::Spent(token), revision));
        if let Some(token) = &token {
            if self.held_until <= at {
                (self.held_since, self.held_until) = (at, at);
            }
            self.held_until = self.held_until.max(token.expires_at);
        }
        Ok(Effects { issued: token.map(|token| token.effect(slot)), ended: Vec::new() })
    }

    /// A token that expired may have been dropped before it is ended.
    fn end_tokens(&mut self, ended: impl IntoIterator<Item = TokenId>, at: Timestamp) -> Effects {
        let mut effects = Effects::default();
        for token_id in ended {
            let Some((slot, _)) = self.grants.by_token(token_id) else { continue };
            if let Some(token) = self.grants.change(slot, Grant::take_token) {
                effects.ended.push(token.effect(slot));
            }
        }
        self.shorten(&effects.ended, at);
        effects
    }

    /// Ends every code and token.
    pub(crate) fn end_all(&mut self, at: Timestamp) -> Effects {
        let mut effects = Effects::default();
        let slots: Vec<u32> = self.grants.all().map(|(slot, _)| slot).collect();
        for slot in slots {
            let token = self.grants.change(slot, |grant| {
                if grant.code == CodeState::Pending {
                    grant.code = CodeState::Ended;
                }
                grant.take_token()
            });
            effects.ended.extend(token.map(|token| token.effect(slot)));
        }
        self.shorten(&effects.ended, at);
        effects
    }

    /// The span in which a token was there ends earlier now that these are gone.
    fn shorten(&mut self, gone: &[TokenEffect], at: Timestamp) {
        if self.held_until <= at || gone.iter().all(|token| token.expires_at < self.held_until) {
            return;
        }
        let mut latest = at;
        for token in self.grants().filter_map(Grant::token) {
            latest = latest.max(token.expires_at);
            // None can be later.
            if latest == NEVER {
                break;
            }
        }
        self.held_until = latest;
    }

    pub(crate) fn token_effects(&self) -> impl Iterator<Item = TokenEffect> {
        self.grants.all().filter_map(|(slot, grant)| Some(grant.token()?.effect(slot)))
    }

    /// Lets its texts be those that other rows have.
    pub(crate) fn share(&mut self, texts: &SharedTexts) {
        self.grants.each_mut(|grant| {
            grant.scopes = texts.share(&grant.scopes);
            grant.redirect_uri = texts.text(grant.redirect_uri.as_str());
        });
    }
}
