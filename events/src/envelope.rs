//! The envelope of every event: who, when, through which request, and where in the ledger.

use serde::{Deserialize, Serialize};

use crate::{
    AppEvent, EventId, InstallationEvent, LedgerEvent, OperatorKeyEvent, Position, RequestId, Revision,
    StreamName, Timestamp,
};

/// Anything that can happen. There is no other kind, and no fold may treat one as "the rest".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// In a stream `app-{client_id}`.
    App(AppEvent),
    /// In a stream `installation-{installation_id}`.
    Installation(InstallationEvent),
    /// In a stream `key-{key_id}`.
    OperatorKey(OperatorKeyEvent),
    /// In the stream `ledger-{ledger_id}`.
    Ledger(LedgerEvent),
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

impl From<LedgerEvent> for Event {
    fn from(event: LedgerEvent) -> Self {
        Self::Ledger(event)
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
