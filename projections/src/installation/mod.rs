//! The state of one app on one account: the fold of stream `installation-{installation_id}`.
//!
//! Its size does not depend on the length of the stream: it has the grants of the last minutes, and older ones while
//! a token of theirs lives, because a second exchange of their code must end it. What can no longer matter to a decision is
//! dropped by recorded time, so that every replay drops the same.

mod challenge;
mod grant;
mod grants;

use grantbook_events::{
    AccessGranted, AccountId, ClientId, CodeExchanged, EndedToken, Envelope, GrantId, InstallationEvent,
    InstallationId, RefreshIssued, Revision, SecretDigest, Timestamp, TokenId, TokenRefreshed, UserId,
};
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::fold::{Effects, Head, TokenEffect, TokenKind};
use crate::text::SharedTexts;
pub use challenge::CodeChallenge;
use grant::AccessToken;
pub(crate) use grant::NEVER;
pub use grant::{CodeState, Family, GRANT_MEMORY, Grant, Held, HeldToken, LiveToken, SpentRefresh};
use grants::Grants;

/// How many codes of one user can wait for their exchange. One more ends the oldest.
pub const MAX_PENDING_PER_USER: usize = 10;

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

    /// The grant that has an access or refresh token with this id.
    pub fn grant_of_token(&self, token_id: TokenId) -> Option<&Grant> {
        self.grants.by_token(token_id).map(|(_, grant)| grant)
    }

    /// The grant that has an access or refresh token with this digest.
    pub fn grant_of_token_digest(&self, digest: &SecretDigest) -> Option<&Grant> {
        self.grants.by_token_digest(digest).map(|(_, grant)| grant)
    }

    /// The grant whose refresh tokens have the part in common that has this digest.
    pub fn grant_of_family(&self, digest: &SecretDigest) -> Option<&Grant> {
        self.grants.by_family(digest).map(|(_, grant)| grant)
    }

    /// Every access and refresh token with its grant, oldest first.
    pub fn held(&self) -> Vec<(&Grant, HeldToken<'_>)> {
        Self::oldest_first(self.grants())
    }

    /// Those of one user.
    pub fn held_by(&self, user: &UserId) -> Vec<(&Grant, HeldToken<'_>)> {
        Self::oldest_first(self.grants_of_user(user))
    }

    fn oldest_first<'a>(grants: impl Iterator<Item = &'a Grant>) -> Vec<(&'a Grant, HeldToken<'a>)> {
        let mut held: Vec<_> =
            grants.flat_map(|grant| grant.tokens().map(move |held| (grant, held))).collect();
        held.sort_by_key(|(grant, held)| (held.token.issued_at, grant.revision));
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
        let InstallationEvent::AccessGranted(first) = event else {
            return Err("access was not granted before");
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
                self.exchange(event, (at, revision), is_dead, texts)?
            }
            InstallationEvent::TokenRefreshed(event) => self.refresh(event, (at, revision), texts)?,
            InstallationEvent::CodeReplayed(event) => {
                let grant = self.grant(event.grant_id);
                if grant.is_some_and(|grant| !matches!(grant.code, CodeState::Spent(_))) {
                    return Err("the code was not spent before");
                }
                self.end_grant(event.grant_id, &event.tokens, at)?
            }
            InstallationEvent::RefreshReplayed(event) => self.end_grant(event.grant_id, &event.tokens, at)?,
            InstallationEvent::TokenRevoked(event) => self.end_tokens([event.token_id], at),
            InstallationEvent::GrantRevoked(event) => self.end_grant(event.grant_id, &event.tokens, at)?,
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
            effects.ended = self.grants.drop_unneeded(at);
        }
        self.grants.insert(Grant {
            grant_id: event.grant_id,
            user_id: event.user_id.clone(),
            scopes: texts.names(&event.scopes),
            resources: texts.names(&event.resources),
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
        texts: &SharedTexts,
    ) -> Result<Effects, &'static str> {
        let (slot, grant) = self.grants.by_id(event.grant_id).ok_or("the grant does not exist")?;
        if grant.code != CodeState::Pending {
            return Err("the code was spent or ended before");
        }
        let is_same = grant.user_id == event.user_id && grant.granted_at == event.granted_at;
        if !is_same || !grant.scopes.iter().eq(event.scopes.iter()) {
            return Err("it issues a token for another user, scopes or time than was granted");
        }
        if !grant.is_for(&event.resources) {
            return Err("it issues a token for another resource than was granted");
        }
        let token = LiveToken::issued((event.token_id, event.token_digest), at, event.expires_at);
        let resources = texts.names(&event.resources);
        self.grants.change(slot, |grant| {
            grant.revision = revision;
            let family = event.refresh.as_ref().map(|refresh| {
                let access =
                    AccessToken { token, scopes: grant.scopes.clone(), resources: resources.clone() };
                Box::new(Family::begin(refresh, access))
            });
            // A code that had died with a suspension gives tokens that never count.
            grant.code = CodeState::Spent(match (family, is_dead) {
                (None, true) => Held::Nothing,
                (Some(family), true) => Held::Dead(family),
                (Some(family), false) => Held::Family(family),
                (None, false) => {
                    grant.resources = resources;
                    Held::Token(token)
                }
            });
        });
        let issued = if is_dead { Vec::new() } else { self.hold(slot, token, event.refresh.as_ref()) };
        Ok(Effects { issued, ended: Vec::new() })
    }

    fn refresh(
        &mut self,
        event: &TokenRefreshed,
        (at, revision): (Timestamp, u32),
        texts: &SharedTexts,
    ) -> Result<Effects, &'static str> {
        let (slot, grant) = self.grants.by_id(event.grant_id).ok_or("the grant does not exist")?;
        let counts = grant.family().is_some();
        let family = grant.any_family().filter(|family| family.digest == event.refresh.family_digest);
        let current = family.and_then(Family::refresh);
        if current.is_none_or(|token| token.token_id != event.spent_token_id) {
            return Err("the refresh token was spent or ended before");
        }
        let may = event.scopes.iter().all(|scope| grant.scopes.contains(scope));
        if grant.user_id != event.user_id || !may || !grant.is_for(&event.resources) {
            return Err("it issues a token for another user, scope or resource than was granted");
        }
        let token = LiveToken::issued((event.token_id, event.token_digest), at, event.expires_at);
        let (scopes, resources) = (texts.names(&event.scopes), texts.names(&event.resources));
        // A refresh token that expired while its use was being recorded was used all the same.
        let is_over = |token: &LiveToken| token.token_id != event.spent_token_id && !token.is_unexpired(at);
        let mut ended = self.grants.drop_tokens(slot, is_over);
        let spent = self.grants.change(slot, |grant| {
            grant.revision = revision;
            grant.any_family_mut()?.renew(&event.refresh, AccessToken { token, scopes, resources })
        });
        ended.extend(spent.filter(|_| counts).map(|token| token.effect(TokenKind::Refresh, slot)));
        let issued = if counts { self.hold(slot, token, Some(&event.refresh)) } else { Vec::new() };
        self.shorten(&ended, at);
        Ok(Effects { issued, ended })
    }

    /// Tokens that were just issued count: the span in which a token is there reaches to their end.
    fn hold(&mut self, slot: u32, token: LiveToken, refresh: Option<&RefreshIssued>) -> Vec<TokenEffect> {
        let at = token.issued_at;
        let refresh = refresh.map(|issued| LiveToken::refresh(issued, at).effect(TokenKind::Refresh, slot));
        let access = token.effect(TokenKind::Access, slot);
        let issued: Vec<_> = std::iter::once(access).chain(refresh).collect();
        if self.held_until <= at {
            (self.held_since, self.held_until) = (at, at);
        }
        self.held_until = issued.iter().fold(self.held_until, |end, token| end.max(token.expires_at));
        issued
    }

    fn end_grant(
        &mut self,
        id: GrantId,
        tokens: &[EndedToken],
        at: Timestamp,
    ) -> Result<Effects, &'static str> {
        self.grants.check_tokens(id, tokens)?;
        Ok(self.end_tokens(tokens.iter().map(|token| token.token_id), at))
    }

    /// A token that expired may have been dropped before it is ended.
    fn end_tokens(&mut self, ended: impl IntoIterator<Item = TokenId>, at: Timestamp) -> Effects {
        let mut effects = Effects::default();
        for token_id in ended {
            let Some((slot, _)) = self.grants.by_token(token_id) else { continue };
            effects.ended.extend(self.grants.drop_tokens(slot, |token| token.token_id == token_id));
        }
        self.shorten(&effects.ended, at);
        effects
    }

    /// Ends every code and token.
    pub(crate) fn end_all(&mut self, at: Timestamp) -> Effects {
        let mut effects = Effects::default();
        let slots: Vec<u32> = self.grants.all().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.grants.change(slot, |grant| {
                if grant.code == CodeState::Pending {
                    grant.code = CodeState::Ended;
                }
            });
            effects.ended.extend(self.grants.drop_tokens(slot, |_| true));
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
        for held in self.grants().flat_map(Grant::tokens) {
            latest = latest.max(held.token.expires_at);
            // None can be later.
            if latest == NEVER {
                break;
            }
        }
        self.held_until = latest;
    }

    pub(crate) fn token_effects(&self) -> impl Iterator<Item = TokenEffect> {
        let all = self.grants.all();
        all.flat_map(|(slot, grant)| grant.tokens().map(move |held| held.token.effect(held.kind, slot)))
    }

    /// Lets its texts be those that other rows have.
    pub(crate) fn share(&mut self, texts: &SharedTexts) {
        self.grants.each_mut(|grant| grant.share(texts));
    }
}
