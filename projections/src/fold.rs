//! What every fold has in common: why an event cannot follow, and what it changed.

use grantbook_events::{Position, Recorded, Revision, SecretDigest, StreamName, Timestamp, TokenId, codec};
use serde::{Deserialize, Serialize};

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
    /// The tokens that it issued.
    pub issued: Vec<TokenEffect>,
    /// The tokens that are gone: ended by it, or expired before it and dropped with it.
    pub ended: Vec<TokenEffect>,
}

/// What a token is for.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// It is a bearer token (RFC 6750).
    Access,
    /// It is good for new tokens only (RFC 6749 section 1.5).
    Refresh,
}

/// A token that was issued or is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenEffect {
    pub token_id: TokenId,
    pub digest: SecretDigest,
    /// From when on it is refused; the end of time if it does not expire.
    pub expires_at: Timestamp,
    pub kind: TokenKind,
    /// The slot of its grant.
    pub(crate) slot: u32,
}

/// Where a stream is: at its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    pub revision: Revision,
    pub recorded_at: Timestamp,
}
