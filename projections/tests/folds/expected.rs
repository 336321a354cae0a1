//! What must be true after a history, in the plainest way: nothing is ever forgotten, and every question
//! walks over everything. Knows the events; shares no code with the fold.

use std::collections::{BTreeMap, BTreeSet};

use grantbook_events::{
    AccessGranted, AccountId, AppEvent, ClientId, Event, InstallationEvent, InstallationId, OperatorKeyEvent,
    OperatorKeyId, Recorded, SecretDigest, StreamKind, Timestamp, TokenId,
};
use grantbook_projections::Scopes;
use grantbook_projections::live::{InstallationFacts, TokenFacts};

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
}

/// What became of its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    Pending,
    /// Exchanged for this token, which never counted if the app was suspended in between.
    Spent(TokenId),
    Ended,
}

/// A token that was ever issued.
#[derive(Debug)]
pub struct Issued {
    pub digest: SecretDigest,
    pub facts: TokenFacts,
    /// When it was revoked or ended by an uninstall.
    pub ended_at: Option<Timestamp>,
}

impl Issued {
    /// Neither revoked nor ended nor expired.
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
                let grant = self.grants.iter_mut().find(|grant| grant.event.grant_id == event.grant_id);
                grant.expect("it was granted").code = Code::Spent(event.token_id);
                let app = self.places[&id].client_id;
                let suspensions = self.suspended.get(&app).into_iter().flatten();
                if suspensions.copied().any(|suspended| event.granted_at <= suspended) {
                    self.born_dead.push((event.token_id, event.token_digest));
                    return;
                }
                let is_first = !self.tokens_of(id).any(|token| token.is_there(at));
                let place = self.places.get_mut(&id).unwrap();
                if is_first {
                    place.since = at;
                }
                let facts = TokenFacts {
                    token_id: event.token_id,
                    client_id: place.client_id,
                    installation_id: id,
                    account_id: place.account_id.clone(),
                    user_id: event.user_id.clone(),
                    scopes: Scopes::from(event.scopes.as_slice()),
                    issued_at: at,
                    expires_at: event.expires_at,
                };
                self.tokens.push(Issued { digest: event.token_digest, facts, ended_at: None });
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

    /// The token that came of a grant, if it is neither revoked nor ended. It may have expired.
    pub fn token_of(&self, grant: &Granted) -> Option<&Issued> {
        let Code::Spent(token_id) = grant.code else { return None };
        let token = self.tokens.iter().find(|token| token.facts.token_id == token_id);
        token.filter(|token| token.ended_at.is_none())
    }

    /// Whether a decision may still depend on a grant.
    pub fn matters(&self, grant: &Granted, at: Timestamp) -> bool {
        self.token_of(grant).is_some_and(|token| token.is_there(at))
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
        let mut tokens: Vec<_> = self
            .tokens_of(id)
            .filter(|token| self.is_valid(token, now))
            .map(|token| token.facts.clone())
            .collect();
        tokens.sort_by_key(|token| (token.issued_at, token.token_id));
        let mut dormant: Vec<_> = self
            .tokens_of(id)
            .filter(|token| token.is_there(now) && self.active.get(&place.client_id) == Some(&false))
            .map(|token| token.facts.clone())
            .collect();
        dormant.sort_by_key(|token| (token.issued_at, token.token_id));
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
