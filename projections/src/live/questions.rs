//! What the live projection answers. Knows: the tables. Must not know: what changes them.

use std::sync::Arc;

use grantbook_events::{
    AccountId, ClientId, InstallationId, OperatorKeyId, Position, SecretDigest, StreamKind, Timestamp,
    TokenId,
};

use super::Live;
use super::digest::StateDigest;
use super::facts::{Counts, InstallationFacts, TokenFacts};
use super::shards::Place;
use crate::app::App;
use crate::installation::{Grant, HeldToken, Installation};
use crate::operator_key::OperatorKey;

impl Live {
    /// Whether a token with this digest is valid: not revoked, not expired, of the current epoch, and its app active.
    pub fn is_valid(&self, digest: &SecretDigest, now: Timestamp) -> bool {
        self.tokens.look(digest, |entry| entry.is_valid(now)).unwrap_or(false)
    }

    /// Whether a token with this digest is known, valid or not.
    pub fn has_token(&self, digest: &SecretDigest) -> bool {
        self.tokens.look(digest, |_| ()).is_some()
    }

    /// Whether an installation has a grant with tokens, whose refresh tokens have the part in common that has this digest.
    pub fn has_family(&self, id: &InstallationId, digest: &SecretDigest) -> bool {
        let has_tokens = |row: &Installation| Some(row.grant_of_family(digest)?.tokens().next().is_some());
        let place = self.installations.place(id);
        place.and_then(|place| self.installations.look(place, has_tokens)?).unwrap_or(false)
    }

    /// What is true of the token with this digest, if it is valid.
    pub fn token(&self, digest: &SecretDigest, now: Timestamp) -> Option<TokenFacts> {
        let at = |entry: &super::tokens::Entry| entry.is_valid(now).then_some((entry.place, entry.slot));
        let (place, slot) = self.tokens.look(digest, at)??;
        self.installations.look(place, |row| {
            let grant = row.at_slot(slot)?;
            // The slot may be another grant's by now.
            let held = grant.access_tokens().find(|held| held.token.digest == *digest)?;
            Some(facts(row, grant, held))
        })?
    }

    /// What is true of the access or refresh token with this id, if it is valid.
    pub fn token_by_id(&self, token_id: &TokenId, now: Timestamp) -> Option<TokenFacts> {
        let found = self.installations.look(self.place_of(token_id)?, |row| {
            let grant = row.grant_of_token(*token_id)?;
            let held = grant.tokens().find(|held| held.token.token_id == *token_id)?;
            held.token.is_unexpired(now).then(|| facts(row, grant, held))
        })??;
        self.apps.handle(&found.client_id)?.is_active().then_some(found)
    }

    pub(super) fn place_of(&self, token_id: &TokenId) -> Option<Place> {
        let has = |row: &Installation| row.grant_of_token(*token_id).is_some();
        let mut places = self.tokens.places_of(token_id).into_iter();
        places.find(|place| self.installations.look(*place, has) == Some(true))
    }

    /// The installation a token belongs to, valid or not, while the token is known here.
    pub fn installation_of_token(&self, token_id: &TokenId) -> Option<InstallationId> {
        self.installations.look(self.place_of(token_id)?, |row| row.installation_id)
    }

    /// The app with this client id, deleted ones too.
    pub fn app(&self, client_id: &ClientId) -> Option<Arc<App>> {
        self.apps.get(client_id)
    }

    /// Apps in order of registration, after a number of them, at most `limit`.
    pub fn apps(&self, skip: usize, limit: usize) -> Vec<Arc<App>> {
        self.apps.list(skip, limit)
    }

    /// The operator key with this digest, if it is accepted.
    pub fn operator_key(&self, digest: &SecretDigest) -> Option<Arc<OperatorKey>> {
        self.keys.by_digest(digest)
    }

    /// The operator key with this id, retired ones too.
    pub fn operator_key_by_id(&self, key_id: &OperatorKeyId) -> Option<Arc<OperatorKey>> {
        self.keys.by_id(key_id)
    }

    /// Operator keys in order of creation, retired ones too.
    pub fn operator_keys(&self, skip: usize, limit: usize) -> Vec<Arc<OperatorKey>> {
        self.keys.list(skip, limit)
    }

    /// One installation.
    pub fn installation(&self, id: InstallationId, now: Timestamp) -> Option<InstallationFacts> {
        self.installation_at(self.installations.place(&id)?, now)
    }

    /// Installations of an app in order of first approval, after a number of them, at most `limit`.
    pub fn installations_of_app(
        &self,
        client_id: &ClientId,
        skip: usize,
        limit: usize,
        now: Timestamp,
    ) -> Vec<InstallationFacts> {
        let Some(app) = self.apps.handle(client_id) else { return Vec::new() };
        let places = app.installations(skip, limit);
        places.into_iter().filter_map(|place| self.installation_at(place, now)).collect()
    }

    /// Installations on an account in order of first approval, after a number of them, at most `limit`.
    pub fn installations_on_account(
        &self,
        account: &AccountId,
        skip: usize,
        limit: usize,
        now: Timestamp,
    ) -> Vec<InstallationFacts> {
        let places = self.installations.places_on(account).into_iter();
        let facts = places.filter_map(|place| self.installation_at(place, now));
        let mut found: Vec<_> = facts.filter(|facts| facts.account_id == *account).collect();
        found.sort_by_key(|facts| (facts.first_granted_at, facts.installation_id));
        found.into_iter().skip(skip).take(limit).collect()
    }

    fn installation_at(&self, place: Place, now: Timestamp) -> Option<InstallationFacts> {
        let mut found = self.installations.look(place, |row| {
            let held = row.held().into_iter().filter(|(_, held)| held.token.is_unexpired(now));
            let (installed_since, ended_at) = row.span(now);
            InstallationFacts {
                installation_id: row.installation_id,
                client_id: row.client_id,
                account_id: row.account_id.clone(),
                first_granted_at: row.first_granted_at,
                installed_since,
                ended_at,
                epoch: row.epoch,
                tokens: held.map(|(grant, held)| facts(row, grant, held)).collect(),
                dormant: Vec::new(),
                quarantined: None,
            }
        })?;
        let app = self.app(&found.client_id);
        if app.as_ref().is_none_or(|app| !app.is_active()) {
            let inactive = std::mem::take(&mut found.tokens);
            if app.is_some_and(|app| !app.is_deleted()) {
                found.dormant = inactive;
            }
        }
        if !self.quarantine.is_empty() {
            found.quarantined = self.quarantine.get(&StreamKind::Installation(found.installation_id).into());
        }
        found.installed_since = found.installed_since.filter(|_| !found.tokens.is_empty());
        found.ended_at = found.ended_at.filter(|_| found.quarantined.is_none());
        Some(found)
    }

    /// How much is in the projection.
    pub fn counts(&self) -> Counts {
        Counts {
            apps: self.apps.len(),
            installations: self.installations.len(),
            tokens: self.tokens.len(),
            operator_keys: self.keys.len(),
            quarantined: self.quarantine.len(),
        }
    }

    /// A digest of everything in the projection, the same however it was built. Reads every row.
    pub fn digest(&self) -> StateDigest {
        self.digest_at().1
    }

    /// A position, and the digest of everything in the projection as of that position. Reads every row, while the
    /// projection goes on changing.
    pub fn digest_at(&self) -> (Position, StateDigest) {
        let _only = self.frozen.lock();
        let now = self.mark.lock();
        let (apps, keys, quarantined) = (self.apps(0, usize::MAX), self.keys.all(), self.quarantine.all());
        let rows = self.installations.shards.freeze(|shard| {
            let mut digest = StateDigest::default();
            shard.rows.iter().for_each(|row| digest.add_state("installation", row));
            digest
        });
        let position = self.position();
        drop(now);
        let mut digest = StateDigest::default();
        apps.iter().for_each(|app| digest.add_state("app", &**app));
        keys.iter().for_each(|(key, is_accepted)| digest.add_state("key", &(&**key, is_accepted)));
        // The words may differ from one release to the next.
        quarantined.iter().for_each(|at| digest.add_state("quarantine", &(&at.stream, at.position)));
        rows.each().for_each(|part| digest.merge(part));
        (position, digest)
    }
}

fn facts(row: &Installation, grant: &Grant, held: HeldToken<'_>) -> TokenFacts {
    TokenFacts {
        token_id: held.token.token_id,
        kind: held.kind,
        grant_id: grant.grant_id,
        granted_at: grant.granted_at,
        client_id: row.client_id,
        installation_id: row.installation_id,
        account_id: row.account_id.clone(),
        user_id: grant.user_id.clone(),
        scopes: held.scopes.clone(),
        resources: held.resources.clone(),
        issued_at: held.token.issued_at,
        expires_at: held.token.expires_at(),
    }
}
