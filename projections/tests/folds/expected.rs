//! What must be true after a history, in the plainest way: nothing is ever forgotten, and every question
//! walks over everything. Knows the events; shares no code with the fold.

use std::collections::{BTreeMap, BTreeSet};

use grantbook_events::{
    AccessGranted, AccountId, AppEvent, ClientId, Event, GrantId, InstallationEvent, InstallationId,
    OperatorKeyEvent, OperatorKeyId, Recorded, RefreshIssued, SecretDigest, StreamKind, Timestamp, TokenId,
};
use grantbook_projections::live::{InstallationFacts, TokenFacts};
use grantbook_projections::{Names, TokenKind};

/// How many codes of one user can wait for their exchange.
pub const MAX_PENDING: usize = 10;
/// How long a grant without a token may still matter to a decision.
const MEMORY_MICROS: i64 = 20 * 60 * 1_000_000;

/// An approval that ever was.
#[derive(Debug)]
pub struct Granted {
    pub installation_id: InstallationId,
    pub event: AccessGranted,
    pub granted_at: Timestamp,
    pub code: Code,
    /// How its refresh tokens began, if it has any.
    pub family: Option<RefreshIssued>,
    /// The refresh token that was used last: its digest, when that was, and when it would have expired.
    pub spent: Option<(SecretDigest, Timestamp, Option<Timestamp>)>,
    /// How many tokens there were before its last ones.
    last_issue: usize,
}

/// What became of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Pending,
    /// Exchanged for tokens, which never counted if the app was suspended in between.
    Spent,
    Ended,
}

/// A token that was ever issued.
#[derive(Debug)]
pub struct Issued {
    pub digest: SecretDigest,
    pub facts: TokenFacts,
    /// When it was revoked, ended by an uninstall, or used for new ones.
    pub ended_at: Option<Timestamp>,
}

impl Issued {
    pub fn is_access(&self) -> bool {
        self.facts.kind == TokenKind::Access
    }

    /// Neither revoked nor used up nor ended nor expired.
    pub fn is_there(&self, now: Timestamp) -> bool {
        self.ended_at.is_none() && self.facts.expires_at.is_none_or(|end| now < end)
    }

    /// When it ended or will end, if that is known.
    fn end(&self) -> Option<Timestamp> {
        self.ended_at.into_iter().chain(self.facts.expires_at).min()
    }
}

#[derive(Debug)]
struct Place {
    client_id: ClientId,
    account_id: AccountId,
    first_granted_at: Timestamp,
    since: Timestamp,
    epoch: u32,
}

/// What must be true.
#[derive(Debug, Default)]
pub struct Expected {
    pub apps: BTreeSet<ClientId>,
    /// Of those not deleted.
    active: BTreeMap<ClientId, bool>,
    /// When each app was suspended.
    suspended: BTreeMap<ClientId, Vec<Timestamp>>,
    places: BTreeMap<InstallationId, Place>,
    /// Installations in order of first approval.
    in_order: Vec<InstallationId>,
    pub tokens: Vec<Issued>,
    /// Tokens whose code had died before it was exchanged.
    pub born_dead: Vec<(TokenId, SecretDigest)>,
    /// In order of approval.
    pub grants: Vec<Granted>,
    pub keys_retired: BTreeMap<OperatorKeyId, bool>,
}

impl Expected {
    pub fn see(&mut self, recorded: &Recorded) {
        let at = recorded.envelope.recorded_at;
        match (recorded.envelope.stream.kind().unwrap(), &recorded.event) {
            (StreamKind::App(id), Event::App(event)) => match event {
                AppEvent::Registered(_) | AppEvent::Resumed(_) => {
                    self.apps.insert(id);
                    self.active.insert(id, true);
                }
                AppEvent::Suspended(_) => {
                    self.active.insert(id, false);
                    self.suspended.entry(id).or_default().push(at);
                }
                AppEvent::Deleted(_) => {
                    self.active.remove(&id);
                }
                AppEvent::Updated(_) | AppEvent::SecretAdded(_) | AppEvent::SecretRetired(_) => {}
            },
            (StreamKind::Installation(id), Event::Installation(event)) => self.see_installed(id, event, at),
            (StreamKind::OperatorKey(id), Event::OperatorKey(event)) => {
                self.keys_retired.insert(id, matches!(event, OperatorKeyEvent::Retired(_)));
            }
            (_, _) => {}
        }
    }

    fn see_installed(&mut self, id: InstallationId, event: &InstallationEvent, at: Timestamp) {
        match event {
            InstallationEvent::AccessGranted(event) => {
                if !self.places.contains_key(&id) {
                    self.in_order.push(id);
                    let place = Place {
                        client_id: event.client_id,
                        account_id: event.account_id.clone(),
                        first_granted_at: at,
                        since: at,
                        epoch: 0,
                    };
                    self.places.insert(id, place);
                }
                self.grants.push(Granted {
                    installation_id: id,
                    event: event.clone(),
                    granted_at: at,
                    code: Code::Pending,
                    family: None,
                    spent: None,
                    last_issue: 0,
                });
                let is_of_user = |grant: &&mut Granted| {
                    grant.installation_id == id && grant.event.user_id == event.user_id
                };
                let pending = self.grants.iter_mut().filter(is_of_user);
                let mut pending: Vec<_> = pending.filter(|grant| grant.code == Code::Pending).collect();
                if pending.len() > MAX_PENDING {
                    pending[0].code = Code::Ended;
                }
            }
            InstallationEvent::CodeExchanged(event) => {
                let refresh = event.refresh.as_ref();
                let app = self.places[&id].client_id;
                let grant = self.grant_mut(event.grant_id);
                grant.code = Code::Spent;
                grant.family = refresh.cloned();
                let suspensions = self.suspended.get(&app).into_iter().flatten();
                if suspensions.copied().any(|suspended| event.granted_at <= suspended) {
                    self.born_dead.push((event.token_id, event.token_digest));
                    self.born_dead.extend(refresh.map(|refresh| (refresh.token_id, refresh.digest)));
                    return;
                }
                let said = (event.scopes.as_slice(), event.resources.as_slice(), event.expires_at);
                self.issue(event.grant_id, at, (event.token_id, event.token_digest), said, refresh);
            }
            InstallationEvent::TokenRefreshed(event) if self.is_born_dead(event.spent_token_id) => {
                let refresh = (event.refresh.token_id, event.refresh.digest);
                self.born_dead.extend([(event.token_id, event.token_digest), refresh]);
            }
            InstallationEvent::TokenRefreshed(event) => {
                let is_spent = |token: &&Issued| token.facts.token_id == event.spent_token_id;
                let spent = self.tokens.iter().find(is_spent).expect("it was issued");
                let spent = (spent.digest, at, spent.facts.expires_at);
                self.grant_mut(event.grant_id).spent = Some(spent);
                let said = (event.scopes.as_slice(), event.resources.as_slice(), event.expires_at);
                let access = (event.token_id, event.token_digest);
                self.issue(event.grant_id, at, access, said, Some(&event.refresh));
                self.end(id, at, |token| event.spent_token_id == *token);
            }
            InstallationEvent::RefreshReplayed(event) => {
                self.end(id, at, |token| event.tokens.iter().any(|ended| ended.token_id == *token));
            }
            InstallationEvent::GrantRevoked(event) => {
                self.end(id, at, |token| event.tokens.iter().any(|ended| ended.token_id == *token));
            }
            InstallationEvent::CodeReplayed(event) => {
                self.end(id, at, |token| event.tokens.iter().any(|ended| ended.token_id == *token));
            }
            InstallationEvent::TokenRevoked(event) => self.end(id, at, |token| event.token_id == *token),
            InstallationEvent::Uninstalled(_) => {
                self.places.get_mut(&id).unwrap().epoch += 1;
                let of_it = self.grants.iter_mut().filter(|grant| grant.installation_id == id);
                of_it.filter(|grant| grant.code == Code::Pending).for_each(|grant| grant.code = Code::Ended);
                self.end(id, at, |_| true);
            }
        }
    }

    /// Whether a token came of a code that had died, at once or by refreshes.
    pub fn is_born_dead(&self, token_id: TokenId) -> bool {
        self.born_dead.iter().any(|(dead, _)| *dead == token_id)
    }

    /// An access token is issued, and a refresh token with it.
    fn issue(
        &mut self,
        grant_id: GrantId,
        at: Timestamp,
        (token_id, digest): (TokenId, SecretDigest),
        (scopes, resources, expires_at): (&[String], &[String], Option<Timestamp>),
        refresh: Option<&RefreshIssued>,
    ) {
        let count = self.tokens.len();
        let grant = self.grant_mut(grant_id);
        grant.last_issue = count;
        let (id, granted_at, event) = (grant.installation_id, grant.granted_at, grant.event.clone());
        if !self.tokens_of(id).any(|token| token.is_there(at)) {
            self.places.get_mut(&id).unwrap().since = at;
        }
        let access = TokenFacts {
            token_id,
            kind: TokenKind::Access,
            grant_id,
            granted_at,
            client_id: event.client_id,
            installation_id: id,
            account_id: event.account_id,
            user_id: event.user_id,
            scopes: Names::from(scopes),
            resources: Names::from(resources),
            issued_at: at,
            expires_at,
        };
        if let Some(refresh) = refresh {
            let facts = TokenFacts {
                token_id: refresh.token_id,
                kind: TokenKind::Refresh,
                scopes: Names::from(event.scopes.as_slice()),
                resources: Names::from(event.resources.as_slice()),
                expires_at: refresh.expires_at,
                ..access.clone()
            };
            self.tokens.push(Issued { digest, facts: access, ended_at: None });
            self.tokens.push(Issued { digest: refresh.digest, facts, ended_at: None });
        } else {
            self.tokens.push(Issued { digest, facts: access, ended_at: None });
        }
    }

    fn grant_mut(&mut self, id: GrantId) -> &mut Granted {
        self.grants.iter_mut().find(|grant| grant.event.grant_id == id).expect("it was granted")
    }

    fn end(&mut self, id: InstallationId, at: Timestamp, which: impl Fn(&TokenId) -> bool) {
        for token in &mut self.tokens {
            if token.facts.installation_id == id && which(&token.facts.token_id) {
                token.ended_at.get_or_insert(at);
            }
        }
    }

    fn tokens_of(&self, id: InstallationId) -> impl Iterator<Item = &Issued> {
        self.tokens.iter().filter(move |token| token.facts.installation_id == id)
    }

    pub fn grants_of(&self, id: InstallationId) -> impl Iterator<Item = &Granted> {
        self.grants.iter().filter(move |grant| grant.installation_id == id)
    }

    /// The tokens that came of a grant and have not ended. They may have expired.
    pub fn tokens_of_grant(&self, id: GrantId) -> impl Iterator<Item = &Issued> {
        self.tokens.iter().filter(move |token| token.facts.grant_id == id && token.ended_at.is_none())
    }

    /// Whether a token is known: a refresh token that expired too, while an access token of its grant is there.
    pub fn is_known(&self, token: &Issued, at: Timestamp) -> bool {
        let mut of_grant = self.tokens_of_grant(token.facts.grant_id);
        token.is_there(at)
            || (token.ended_at.is_none() && !token.is_access() && of_grant.any(|token| token.is_there(at)))
    }

    /// Whether a decision may still depend on a grant.
    pub fn matters(&self, grant: &Granted, at: Timestamp) -> bool {
        self.tokens_of_grant(grant.event.grant_id).any(|token| token.is_there(at))
            || grant.granted_at.as_micros() + MEMORY_MICROS > at.as_micros()
    }

    pub fn is_active(&self, client: &ClientId) -> bool {
        self.active.get(client).copied().unwrap_or_default()
    }

    pub fn is_valid(&self, token: &Issued, now: Timestamp) -> bool {
        token.is_there(now) && self.is_active(&token.facts.client_id)
    }

    pub fn installation(&self, id: InstallationId, now: Timestamp) -> InstallationFacts {
        let place = &self.places[&id];
        let tokens = self.sorted(self.tokens_of(id).filter(|token| self.is_valid(token, now)));
        let is_suspended = self.active.get(&place.client_id) == Some(&false);
        let dormant = self.sorted(self.tokens_of(id).filter(|token| is_suspended && token.is_there(now)));
        let is_over = !self.tokens_of(id).any(|token| token.is_there(now));
        InstallationFacts {
            installation_id: id,
            client_id: place.client_id,
            account_id: place.account_id.clone(),
            first_granted_at: place.first_granted_at,
            installed_since: Some(place.since).filter(|_| !tokens.is_empty()),
            ended_at: self.tokens_of(id).filter_map(Issued::end).max().filter(|_| is_over),
            epoch: place.epoch,
            tokens,
            dormant,
            quarantined: None,
        }
    }

    /// The oldest first; of those issued in one moment, those of the grant that was used last are the last.
    fn sorted<'a>(&'a self, tokens: impl Iterator<Item = &'a Issued>) -> Vec<TokenFacts> {
        let used = |token: &TokenFacts| {
            let grant = self.grants.iter().find(|grant| grant.event.grant_id == token.grant_id);
            grant.expect("it was granted").last_issue
        };
        let mut tokens: Vec<_> = tokens.map(|token| token.facts.clone()).collect();
        tokens.sort_by_key(|token| (token.issued_at, used(token)));
        tokens
    }

    /// Installations in order of first approval.
    pub fn installations(&self, now: Timestamp) -> Vec<InstallationFacts> {
        self.in_order.iter().map(|&id| self.installation(id, now)).collect()
    }

    /// The times at which something may turn: now, much later, and around every expiry to come.
    pub fn moments(&self, now: Timestamp) -> Vec<Timestamp> {
        let expiries = self.tokens.iter().filter_map(|token| token.facts.expires_at);
        let around = expiries.flat_map(|end| [end.as_micros() - 1, end.as_micros()]);
        let moments = around.chain([now.as_micros(), now.as_micros() + 86_400_000_000]);
        moments.map(Timestamp::from_micros).filter(|moment| *moment >= now).collect()
    }
}
