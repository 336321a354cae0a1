//! What every fold has in common: why an event cannot follow, and what it changed.

use grantbook_events::{Position, Recorded, Revision, SecretDigest, StreamName, Timestamp, TokenId, codec};

/// An event that cannot follow from the events before it: the ledger is damaged, or was not written by
/// grantbook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} at position {position} (stream {stream}) cannot be folded: {detail}")]
pub struct FoldError {
    pub position: Position,
    pub stream: StreamName,
    /// Its stored type name.
    pub event: &'static str,
    /// Why it cannot follow.
    pub detail: &'static str,
}

impl FoldError {
    pub(crate) fn new(recorded: &Recorded, detail: &'static str) -> Self {
        Self {
            position: recorded.envelope.position,
            stream: recorded.envelope.stream.clone(),
            event: codec::type_name(&recorded.event),
            detail,
        }
    }
}

/// What an event changed. Indexes, metrics and feeds follow this.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Effects {
    /// The token that it issued.
    pub issued: Option<TokenEffect>,
    /// The tokens that are gone: ended by it, or expired before it and dropped with it.
    pub ended: Vec<TokenEffect>,
}

/// A token that was issued or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenEffect {
    pub token_id: TokenId,
    pub digest: SecretDigest,
    /// From when on it is refused; the end of time if it does not expire.
    pub expires_at: Timestamp,
    /// The slot of its grant.
    pub(crate) slot: u32,
}

/// Where a stream is: at its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub revision: Revision,
    pub recorded_at: Timestamp,
}
