//! The envelope of every event: who, when, through which request, and where in the ledger.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{AppEvent, EventId, InstallationEvent, OperatorKeyEvent, RequestId, StreamName, Timestamp};

/// Anything that can happen. There is no other kind, and no fold may treat one as "the rest".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// In a stream `app-{client_id}`.
    App(AppEvent),
    /// In a stream `installation-{installation_id}`.
    Installation(InstallationEvent),
    /// In a stream `key-{key_id}`.
    OperatorKey(OperatorKeyEvent),
}

impl From<AppEvent> for Event {
    fn from(event: AppEvent) -> Self {
        Self::App(event)
    }
}

impl From<InstallationEvent> for Event {
    fn from(event: InstallationEvent) -> Self {
        Self::Installation(event)
    }
}

impl From<OperatorKeyEvent> for Event {
    fn from(event: OperatorKeyEvent) -> Self {
        Self::OperatorKey(event)
    }
}

/// An event with its envelope, as read back from the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Who, when, where.
    pub envelope: Envelope,
    /// What.
    pub event: Event,
}

/// Who, when, through which request, and where in the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// Names the event.
    pub event_id: EventId,
    /// The stream it is in.
    pub stream: StreamName,
    /// Its place in the stream: 0, 1, 2, … without gaps.
    pub revision: Revision,
    /// Its place among all events.
    pub position: Position,
    /// When it was recorded. Never runs backwards within a stream.
    pub recorded_at: Timestamp,
    /// Who did it.
    pub actor: Actor,
    /// Through which request.
    pub request_id: RequestId,
    /// The event this one follows from, if any.
    pub caused_by: Option<EventId>,
}

/// Who did it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Actor {
    /// What sort of party.
    pub kind: ActorKind,
    /// The user id, client id or operator key id; at the command line, the name of the operating system's user; for the
    /// system, the part of it that acted.
    pub id: String,
}

/// What sort of party did it.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A person in a browser.
    User,
    /// An app at the token or revocation endpoint.
    App,
    /// A holder of an operator key, or of the data directory.
    Operator,
    /// grantbook itself.
    System,
}

/// A place in a stream: 0, 1, 2, … without gaps, on every store.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(u64);

impl Revision {
    /// The first event of a stream.
    pub const FIRST: Self = Self(0);

    /// From its number.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The revision right after this one.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// A place in the whole ledger. Ordered and otherwise opaque: only a store knows what its numbers mean.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Position(u64);

impl Position {
    /// Before the first event.
    pub const START: Self = Self(0);

    /// From the number a store gave it.
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number the store gave it.
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "@{}", self.0)
    }
}
