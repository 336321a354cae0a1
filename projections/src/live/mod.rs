//! The live projection: the state of every stream as of one position, in memory, and the indexes that requests find
//! them by.
//!
//! One writer applies records in order; any number of readers ask at the same time. Tables are split into shards with
//! a lock each, so that no reader waits for more than one record's work or the growth of one shard. "Installed" is
//! stored nowhere: it is the question whether a token is valid.

mod apps;
mod difference;
mod digest;
mod facts;
mod installations;
mod keys;
mod quarantine;
mod questions;
mod shards;
mod snapshot;
mod tokens;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use grantbook_events::{
    ClientId, Envelope, Event, EventId, InstallationEvent, InstallationId, LedgerEvent, Position, Recorded,
    StreamKind, StreamName,
};
use parking_lot::Mutex;

use crate::app::App;
use crate::fold::{Effects, FoldError, Head};
use crate::installation::Installation;
use crate::operator_key::OperatorKey;
use crate::text::SharedTexts;
use apps::Apps;
pub use difference::Difference;
pub use digest::StateDigest;
pub use facts::{Counts, InstallationFacts, Mark, TokenFacts};
use installations::Installations;
use keys::Keys;
pub use quarantine::Poison;
use quarantine::Quarantine;
use shards::Place;
pub use snapshot::{Image, SnapshotBodyError};
use tokens::Tokens;

/// The state of every stream, as of one position.
#[derive(Debug, Default)]
pub struct Live {
    apps: Apps,
    installations: Installations,
    tokens: Tokens,
    keys: Keys,
    texts: SharedTexts,
    quarantine: Quarantine,
    position: AtomicU64,
    /// Held while the state changes, or while it is frozen as it is at one moment.
    mark: Mutex<Option<Mark>>,
    /// Held by the one that looks at a frozen state.
    frozen: Mutex<()>,
}

/// The state of one kind of stream, as decisions look at it.
pub trait State: Clone + Send + Sync + 'static {
    /// Looks at the state of a stream, in place; `None` if it has no event yet.
    fn look<T>(live: &Live, stream: &StreamKind, look: impl FnOnce(Option<&Self>) -> T) -> T;

    /// Where the stream is.
    fn head(&self) -> Head;
}

impl State for App {
    fn look<T>(live: &Live, stream: &StreamKind, look: impl FnOnce(Option<&Self>) -> T) -> T {
        let app = match stream {
            StreamKind::App(id) => live.app(id),
            StreamKind::Installation(_) | StreamKind::OperatorKey(_) | StreamKind::Ledger(_) => None,
        };
        look(app.as_deref())
    }

    fn head(&self) -> Head {
        Self::head(self)
    }
}

impl State for Installation {
    fn look<T>(live: &Live, stream: &StreamKind, look: impl FnOnce(Option<&Self>) -> T) -> T {
        let shard = match stream {
            StreamKind::Installation(id) => live
                .installations
                .place(id)
                .map(|place| (live.installations.shards.read(place.shard()), place)),
            StreamKind::App(_) | StreamKind::OperatorKey(_) | StreamKind::Ledger(_) => None,
        };
        look(shard.as_ref().and_then(|(shard, place)| shard.rows.get(place.slot())))
    }

    fn head(&self) -> Head {
        Self::head(self)
    }
}

impl State for OperatorKey {
    fn look<T>(live: &Live, stream: &StreamKind, look: impl FnOnce(Option<&Self>) -> T) -> T {
        let key = match stream {
            StreamKind::OperatorKey(id) => live.operator_key_by_id(id),
            StreamKind::App(_) | StreamKind::Installation(_) | StreamKind::Ledger(_) => None,
        };
        look(key.as_deref())
    }

    fn head(&self) -> Head {
        Self::head(self)
    }
}

impl Live {
    /// The version of the fold and of its snapshots: another one for every release that folds differently.
    pub const VERSION: u32 = 5;

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
        *self.mark.lock()
    }

    /// Applies the next event. One that cannot follow changes nothing; one at or before the current position was
    /// applied before and is skipped; one of a stream in quarantine only moves the position.
    pub fn apply(&self, recorded: &Recorded) -> Result<Effects, FoldError> {
        let envelope = &recorded.envelope;
        let mut mark = self.mark.lock();
        if envelope.position <= self.position() {
            return Ok(Effects::default());
        }
        let effects = match self.quarantine.get(&envelope.stream) {
            None => self.apply_event(recorded).map_err(|detail| FoldError::new(recorded, detail))?,
            Some(_) => Effects::default(),
        };
        self.advance(&mut mark, envelope.position, envelope.event_id);
        Ok(effects)
    }

    fn apply_event(&self, recorded: &Recorded) -> Result<Effects, &'static str> {
        let envelope = &recorded.envelope;
        let kind = envelope.stream.kind().map_err(|_| "its stream is not one of grantbook's")?;
        match (kind, &recorded.event) {
            (StreamKind::App(id), Event::App(event)) => self.apps.apply(id, event, envelope)?,
            (StreamKind::OperatorKey(id), Event::OperatorKey(event)) => {
                self.keys.apply(id, event, envelope)?;
            }
            (StreamKind::Installation(id), Event::Installation(event)) => {
                return self.apply_installation(id, event, envelope);
            }
            // Auditors read it in the history; nothing that is asked here depends on it.
            (StreamKind::Ledger(_), Event::Ledger(LedgerEvent::LossAccepted(_))) => {}
            (
                StreamKind::App(_)
                | StreamKind::OperatorKey(_)
                | StreamKind::Installation(_)
                | StreamKind::Ledger(_),
                _,
            ) => {
                return Err("it does not belong in its stream");
            }
        }
        Ok(Effects::default())
    }

    fn apply_installation(
        &self,
        id: InstallationId,
        event: &InstallationEvent,
        envelope: &Envelope,
    ) -> Result<Effects, &'static str> {
        let (client_id, account_id) = event.installation();
        let place = self.installations.place(&id);
        if place.is_none() && InstallationId::of(&client_id, account_id) != id {
            return Err("it names another app or account than its stream");
        }
        let handle = self.apps.handle(&client_id).ok_or("its app was never registered")?;
        self.check_tokens(event, place)?;
        let app = handle.state();
        let (place, effects) = match place {
            Some(place) => {
                let applied = |row: &mut Installation| row.apply(event, envelope, &app, &self.texts);
                (place, self.installations.change(place, applied).ok_or("its row is missing")??)
            }
            None => {
                let row = Installation::begin(id, event, envelope, &app, &self.texts)?;
                let place = self.installations.add(row)?;
                handle.add_installation(place);
                (place, Effects::default())
            }
        };
        for token in &effects.ended {
            self.tokens.remove(token, place);
        }
        for token in &effects.issued {
            self.tokens.insert(token, &handle, place);
        }
        Ok(effects)
    }

    /// A token is issued once in the whole ledger, and ended in its own installation.
    fn check_tokens(&self, event: &InstallationEvent, place: Option<Place>) -> Result<(), &'static str> {
        for (token_id, digest) in event.issued_tokens() {
            if self.place_of(&token_id).is_some() {
                return Err("a token with the same id exists");
            }
            if self.has_token(&digest) {
                return Err("a token with the same digest exists");
            }
        }
        let elsewhere = |token_id| self.place_of(token_id).is_some_and(|at| Some(at) != place);
        if event.ended_tokens().iter().any(|(token_id, _)| elsewhere(token_id)) {
            return Err("it ends a token of another installation");
        }
        Ok(())
    }

    /// Quarantines the stream of an event that cannot be read or folded, and moves on. Nothing in the stream counts
    /// from here on: its tokens are not valid, its app is not active, its key is not accepted.
    pub fn quarantine(&self, poison: Poison) {
        let mut mark = self.mark.lock();
        if poison.position <= self.position() {
            return;
        }
        let (position, event_id) = (poison.position, poison.event_id);
        match poison.stream.kind() {
            Ok(StreamKind::App(id)) => self.apps.quarantine(&id, &poison.reason),
            Ok(StreamKind::OperatorKey(id)) => self.keys.quarantine(&id),
            Ok(StreamKind::Installation(id)) => {
                if let Some(place) = self.installations.place(&id) {
                    let ended = self.installations.change(place, |row| row.end_all(row.changed_at));
                    for token in ended.unwrap_or_default().ended {
                        self.tokens.remove(&token, place);
                    }
                }
            }
            // No table has anything of the ledger's own stream, or of one that is not grantbook's.
            Ok(StreamKind::Ledger(_)) | Err(_) => {}
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

    /// Whether any event of a stream was applied, or quarantined it.
    pub fn has_stream(&self, stream: &StreamName) -> bool {
        let is_known = stream.kind().is_ok_and(|kind| self.head_of(&kind).is_some());
        is_known || self.quarantine.get(stream).is_some()
    }

    /// Where a stream is; `None` before its first event, and for the ledger's own stream, of which nothing is kept.
    pub fn head_of(&self, stream: &StreamKind) -> Option<Head> {
        match stream {
            StreamKind::App(_) => App::look(self, stream, |state| state.map(State::head)),
            StreamKind::Installation(_) => Installation::look(self, stream, |state| state.map(State::head)),
            StreamKind::OperatorKey(_) => OperatorKey::look(self, stream, |state| state.map(State::head)),
            StreamKind::Ledger(_) => None,
        }
    }

    /// A small projection with a copy of the state of one stream, and of its app, for records of that stream that are
    /// not applied here yet.
    /// `app` is the app as it is known from elsewhere.
    pub fn copy_of(&self, stream: &StreamKind, app: Option<&App>) -> Self {
        let copy = Self::default();
        if let Some(poison) = self.quarantine.get(&(*stream).into()) {
            copy.quarantine.add((*poison).clone());
        }
        if let Some(app) = app {
            copy.apps.add(app.clone(), Vec::new());
        }
        match stream {
            StreamKind::App(id) => self.copy_app(&copy, id),
            StreamKind::OperatorKey(id) => {
                if let Some(key) = self.keys.by_id(id) {
                    let is_accepted = self.keys.by_digest(&key.digest).is_some_and(|it| it.key_id == *id);
                    copy.keys.put((*key).clone(), is_accepted);
                }
            }
            StreamKind::Ledger(_) => {}
            StreamKind::Installation(_) => {
                if let Some(row) = Installation::look(self, stream, |row| row.cloned()) {
                    self.copy_app(&copy, &row.client_id);
                    copy.add_installation(row);
                }
            }
        }
        copy
    }

    fn copy_app(&self, copy: &Self, id: &ClientId) {
        if let Some(app) = self.apps.get(id).filter(|_| copy.apps.handle(id).is_none()) {
            copy.apps.add((*app).clone(), Vec::new());
        }
    }

    fn add_installation(&self, row: Installation) {
        let Some(handle) = self.apps.handle(&row.client_id) else { return };
        let tokens: Vec<_> = row.token_effects().collect();
        let Ok(place) = self.installations.add(row) else { return };
        handle.add_installation(place);
        for token in tokens {
            self.tokens.insert(&token, &handle, place);
        }
    }
}
