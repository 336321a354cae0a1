//! The live projection: what every request asks, in memory.
//!
//! One writer applies records in order; any number of readers ask at the same time. Tables are split
//! into shards with a lock each, so that no reader waits for more than one record's work or the growth
//! of one shard. "Installed" is stored nowhere: it is the question whether a token is valid.

mod apps;
mod difference;
mod digest;
mod facts;
mod image;
mod installations;
mod keys;
mod quarantine;
mod scope_sets;
mod shards;
mod tokens;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use grantbook_events::{
    AccountId, ClientId, Event, EventId, InstallationEvent, InstallationId, OperatorKeyId, Position,
    Recorded, SecretDigest, StreamKind, StreamName, Timestamp, TokenId,
};

use crate::app::RegisteredApp;
use crate::fold::FoldError;
use crate::operator_key::IssuedKey;
use apps::Apps;
pub use difference::Difference;
pub use digest::StateDigest;
pub use facts::{Counts, InstallationFacts, Mark, TokenFacts};
pub use image::{Image, ImageError};
use installations::Installations;
use keys::Keys;
pub use quarantine::Poison;
use quarantine::Quarantine;
use shards::{Place, lock};
use tokens::{NewToken, Tokens};

/// Apps, installations, tokens and operator keys, as of one position.
#[derive(Debug, Default)]
pub struct Live {
    apps: Apps,
    installations: Arc<Installations>,
    tokens: Tokens,
    keys: Keys,
    quarantine: Quarantine,
    position: AtomicU64,
    /// Held by whoever changes the state, or takes hold of it as it is at one moment.
    mark: Mutex<Option<Mark>>,
    /// Held by the one who looks at a frozen state.
    frozen: Mutex<()>,
}

impl Live {
    /// What the fold and its image are: another number for every release that folds otherwise.
    pub const VERSION: u32 = 2;

    /// An empty projection, before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// The position of the last event applied.
    pub fn position(&self) -> Position {
        Position::new(self.position.load(Ordering::Acquire))
    }

    /// The last event applied; none before the first.
    pub fn mark(&self) -> Option<Mark> {
        *lock(&self.mark)
    }

    /// Applies the next event. One that cannot follow changes nothing; one at or below the current
    /// position was applied before and is passed over; one of a stream in quarantine only moves the
    /// position.
    pub fn apply(&self, recorded: &Recorded) -> Result<(), FoldError> {
        let envelope = &recorded.envelope;
        let mut mark = lock(&self.mark);
        if envelope.position <= self.position() {
            return Ok(());
        }
        if self.quarantine.get(&envelope.stream).is_none() {
            self.apply_event(recorded)?;
        }
        self.advance(&mut mark, envelope.position, envelope.event_id);
        Ok(())
    }

    /// Puts the stream of an event that cannot be read or folded in quarantine, and moves on. Nothing in
    /// the stream counts from here on: its tokens are not valid, its app is not active, its key is not
    /// accepted.
    pub fn quarantine(&self, poison: Poison) {
        let mut mark = lock(&self.mark);
        if poison.position <= self.position() {
            return;
        }
        let (position, event_id) = (poison.position, poison.event_id);
        match poison.stream.kind() {
            Ok(StreamKind::App(id)) => self.apps.quarantine(&id, &poison.reason),
            Ok(StreamKind::OperatorKey(id)) => self.keys.quarantine(&id),
            Ok(StreamKind::Installation(id)) => {
                let tokens = self.installations.place(id).map(|place| self.installations.quarantine(place));
                tokens.into_iter().flatten().for_each(|token| self.tokens.remove(token));
            }
            // No table has anything of a stream that is none of grantbook's.
            Err(_) => {}
        }
        self.quarantine.add(poison);
        self.advance(&mut mark, position, event_id);
    }

    fn advance(&self, mark: &mut Option<Mark>, position: Position, event_id: EventId) {
        let previous = mark.map_or(Position::START, |mark| mark.position);
        *mark = Some(Mark { position, event_id, previous });
        self.position.store(position.as_u64(), Ordering::Release);
    }

    /// The streams in quarantine, in the order of positions.
    pub fn quarantined(&self) -> Vec<Arc<Poison>> {
        self.quarantine.all()
    }

    /// Why a stream is in quarantine, if it is.
    pub fn quarantine_of(&self, stream: &StreamName) -> Option<Arc<Poison>> {
        self.quarantine.get(stream)
    }

    /// Whether any event of a stream was applied, or was put in quarantine.
    pub fn has_stream(&self, stream: &StreamName) -> bool {
        let is_known = match stream.kind() {
            Ok(StreamKind::App(id)) => self.apps.handle(&id).is_some(),
            Ok(StreamKind::OperatorKey(id)) => self.keys.by_id(&id).is_some(),
            Ok(StreamKind::Installation(id)) => self.installations.place(id).is_some(),
            Err(_) => false,
        };
        is_known || self.quarantine.get(stream).is_some()
    }

    fn apply_event(&self, recorded: &Recorded) -> Result<(), FoldError> {
        let envelope = &recorded.envelope;
        let kind = envelope
            .stream
            .kind()
            .map_err(|_| FoldError::new(recorded, "its stream is not one of grantbook's"))?;
        match (kind, &recorded.event) {
            (StreamKind::App(id), Event::App(_)) => self.apps.apply(id, recorded),
            (StreamKind::OperatorKey(_), Event::OperatorKey(_)) => self.keys.apply(recorded),
            (StreamKind::Installation(id), Event::Installation(event)) => {
                let applied = self.apply_installation(id, event, envelope.recorded_at, envelope.position);
                applied.map_err(|detail| FoldError::new(recorded, detail))
            }
            (StreamKind::App(_) | StreamKind::OperatorKey(_) | StreamKind::Installation(_), _) => {
                Err(FoldError::new(recorded, "it does not belong in its stream"))
            }
        }
    }

    fn apply_installation(
        &self,
        id: InstallationId,
        event: &InstallationEvent,
        at: Timestamp,
        position: Position,
    ) -> Result<(), &'static str> {
        match event {
            InstallationEvent::AccessGranted(event) => {
                let app = self.apps.handle(&event.client_id).ok_or("its app was never registered")?;
                self.installations.grant(id, app, &event.account_id, at)
            }
            InstallationEvent::CodeExchanged(event) => {
                let place = self.installations.place(id).ok_or("access was not granted before")?;
                let app = self.installations.app(place).ok_or("access was not granted before")?;
                if self.apps.get(&app.client_id).is_some_and(|app| app.had_ended(event.granted_at, position))
                {
                    return Ok(());
                }
                let token = self.tokens.insert(NewToken {
                    token_id: event.token_id,
                    digest: event.token_digest,
                    user_id: event.user_id.clone(),
                    scopes: &event.scopes,
                    issued_at: at,
                    expires_at: event.expires_at,
                    app,
                    installation: place,
                })?;
                let expired = self.installations.add_token(place, token, at, |token| self.expiry(token));
                expired.into_iter().for_each(|token| self.tokens.remove(token));
                Ok(())
            }
            InstallationEvent::CodeReplayed(_) | InstallationEvent::TokenRevoked(_) => {
                let ended: Vec<_> = event.ended_tokens().into_iter().map(|(token_id, _)| token_id).collect();
                self.end_tokens(id, &ended, at)
            }
            InstallationEvent::Uninstalled(event) => {
                let place = self.installations.place(id).ok_or("access was not granted before")?;
                let ended =
                    self.installations.uninstall(place, event.epoch, at, |token| self.expiry(token))?;
                ended.into_iter().for_each(|token| self.tokens.remove(token));
                Ok(())
            }
        }
    }

    fn end_tokens(&self, id: InstallationId, ended: &[TokenId], at: Timestamp) -> Result<(), &'static str> {
        let place = self.installations.place(id).ok_or("access was not granted before")?;
        // A token that expired may have been dropped before it was revoked.
        let known: Vec<_> = ended.iter().filter_map(|token_id| self.tokens.find_id(token_id)).collect();
        if known.iter().any(|&token| self.tokens.installation_of(token) != Some(place)) {
            return Err("it ends a token of another installation");
        }
        let ended = self.installations.end_tokens(place, &known, at, |token| self.expiry(token));
        ended.into_iter().for_each(|token| self.tokens.remove(token));
        Ok(())
    }

    /// From when on the token at a place is refused; a token that is gone was refused always.
    fn expiry(&self, token: Place) -> Timestamp {
        self.tokens.expiry(token).unwrap_or(Timestamp::from_micros(i64::MIN))
    }

    /// Whether a token with this digest is valid: not revoked, not expired, of the current epoch, and
    /// its app active.
    pub fn is_valid(&self, digest: &SecretDigest, now: Timestamp) -> bool {
        self.tokens.is_valid(digest, now)
    }

    /// Whether a token with this digest is known, valid or not.
    pub fn has_token(&self, digest: &SecretDigest) -> bool {
        self.tokens.has(digest)
    }

    /// What is true of the token with this digest, if it is valid.
    pub fn token(&self, digest: &SecretDigest, now: Timestamp) -> Option<TokenFacts> {
        let found = self.tokens.find_valid(digest, now)?;
        self.facts(found)
    }

    /// What is true of the token with this id, if it is valid.
    pub fn token_by_id(&self, token_id: &TokenId, now: Timestamp) -> Option<TokenFacts> {
        let found = self.tokens.describe(self.tokens.find_id(token_id)?, now)?;
        self.facts(Some(found).filter(|found| found.app_is_active)?)
            .filter(|facts| facts.token_id == *token_id)
    }

    /// The installation a token belongs to, valid or not, while the token is known here.
    pub fn installation_of_token(&self, token_id: &TokenId) -> Option<InstallationId> {
        let place = self.tokens.installation_of(self.tokens.find_id(token_id)?)?;
        Some(self.installations.row(place)?.installation_id)
    }

    fn facts(&self, found: tokens::Found) -> Option<TokenFacts> {
        let row = self.installations.identity(found.installation)?;
        Some(TokenFacts {
            token_id: found.token_id,
            client_id: found.client_id,
            installation_id: row.0,
            account_id: row.1,
            user_id: found.user_id,
            scopes: found.scopes,
            issued_at: found.issued_at,
            expires_at: found.expires_at,
        })
    }

    /// The app with this client id, deleted ones too.
    pub fn app(&self, client_id: &ClientId) -> Option<Arc<RegisteredApp>> {
        self.apps.get(client_id)
    }

    /// Apps in order of registration, after a number of them, at most `limit`.
    pub fn apps(&self, skip: usize, limit: usize) -> Vec<Arc<RegisteredApp>> {
        self.apps.list(skip, limit)
    }

    /// The operator key with this digest, if it is accepted.
    pub fn operator_key(&self, digest: &SecretDigest) -> Option<Arc<IssuedKey>> {
        self.keys.by_digest(digest)
    }

    /// The operator key with this id, retired ones too.
    pub fn operator_key_by_id(&self, key_id: &OperatorKeyId) -> Option<Arc<IssuedKey>> {
        self.keys.by_id(key_id)
    }

    /// Operator keys in order of creation, retired ones too.
    pub fn operator_keys(&self, skip: usize, limit: usize) -> Vec<Arc<IssuedKey>> {
        self.keys.list(skip, limit)
    }

    /// One installation.
    pub fn installation(&self, id: InstallationId, now: Timestamp) -> Option<InstallationFacts> {
        self.installation_at(self.installations.place(id)?, now)
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
        let mut found: Vec<_> = self
            .installations
            .places_on(account)
            .into_iter()
            .filter_map(|place| self.installation_at(place, now))
            .filter(|facts| facts.account_id == *account)
            .collect();
        found.sort_by_key(|facts| (facts.first_granted_at, facts.installation_id));
        found.into_iter().skip(skip).take(limit).collect()
    }

    fn installation_at(&self, place: Place, now: Timestamp) -> Option<InstallationFacts> {
        let row = self.installations.row(place)?;
        let unexpired = row.tokens.iter().filter_map(|&token| self.tokens.describe(token, now));
        let (active, inactive): (Vec<_>, Vec<_>) =
            unexpired.filter(|found| found.installation == place).partition(|found| found.app_is_active);
        let tokens = self.in_order(active);
        let may_resume =
            !inactive.is_empty() && self.app(&row.client_id).is_some_and(|app| !app.is_deleted());
        let dormant = if may_resume { self.in_order(inactive) } else { Vec::new() };
        // Nothing is recorded when the last token expires: the row turns with the next event there.
        let quarantined = match self.quarantine.is_empty() {
            true => None,
            false => self.quarantine.get(&StreamKind::Installation(row.installation_id).into()),
        };
        let expiries = row.tokens.iter().filter_map(|&token| self.tokens.expiry(token));
        let expired_at = expiries.max().filter(|end| *end <= now);
        Some(InstallationFacts {
            installation_id: row.installation_id,
            client_id: row.client_id,
            account_id: row.account_id,
            first_granted_at: row.first_granted_at,
            installed_since: row.installed_since.filter(|_| !tokens.is_empty()),
            ended_at: row.ended_at.or(expired_at).filter(|_| quarantined.is_none()),
            epoch: row.epoch,
            tokens,
            dormant,
            quarantined,
        })
    }

    fn in_order(&self, found: Vec<tokens::Found>) -> Vec<TokenFacts> {
        let mut tokens: Vec<_> = found.into_iter().filter_map(|found| self.facts(found)).collect();
        tokens.sort_by_key(|token| (token.issued_at, token.token_id));
        tokens
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

    /// A position, and the digest of everything in the projection as of that position. Reads every row,
    /// while the projection goes on changing.
    pub fn digest_at(&self) -> (Position, StateDigest) {
        let _only = lock(&self.frozen);
        let now = lock(&self.mark);
        let (apps, keys, quarantined) = (self.apps.all(), self.keys.all(), self.quarantine.all());
        let installations = self.installations.freeze_digest();
        let tokens = self.tokens.freeze_digest(&self.installations);
        let position = self.position();
        drop(now);
        let mut digest = StateDigest::default();
        apps.iter().for_each(|app| apps::digest(app, &mut digest));
        keys.iter().for_each(|(key, is_accepted)| keys::digest(key, *is_accepted, &mut digest));
        quarantined.iter().for_each(|poison| quarantine::digest(poison, &mut digest));
        installations.each().chain(tokens.each()).for_each(|part| digest.merge(part));
        (position, digest)
    }
}
