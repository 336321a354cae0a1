//! What must be true after a history, told in the plainest way: nothing is ever forgotten, and every
//! question walks over everything. Knows the events; shares no code with the folds.

use std::collections::BTreeMap;
use std::sync::Arc;

use grantbook_events::{
    AccountId, AppEvent, ClientId, Event, InstallationEvent, InstallationId, Recorded, SecretDigest,
    StreamKind, Timestamp, TokenId,
};
use grantbook_projections::live::{InstallationFacts, TokenFacts};

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
    fn is_there(&self, now: Timestamp) -> bool {
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
    active: BTreeMap<ClientId, bool>,
    /// When each app was suspended.
    suspended: BTreeMap<ClientId, Vec<Timestamp>>,
    places: BTreeMap<InstallationId, Place>,
    /// Installations in order of first approval.
    in_order: Vec<InstallationId>,
    pub tokens: Vec<Issued>,
}

impl Expected {
    pub fn of(log: &[Recorded]) -> Self {
        let mut expected = Self::default();
        log.iter().for_each(|recorded| expected.see(recorded));
        expected
    }

    fn see(&mut self, recorded: &Recorded) {
        let at = recorded.envelope.recorded_at;
        match (recorded.envelope.stream.kind().unwrap(), &recorded.event) {
            (StreamKind::App(id), Event::App(event)) => match event {
                AppEvent::Registered(_) | AppEvent::Resumed(_) => {
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
            }
            InstallationEvent::CodeExchanged(event) => {
                let app = self.places[&id].client_id;
                let suspensions = self.suspended.get(&app).into_iter().flatten();
                if suspensions.copied().any(|suspended| event.granted_at <= suspended) {
                    // Its code had died.
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
                    scopes: Arc::from(event.scopes.as_slice()),
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
