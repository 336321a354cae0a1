//! What every fold of one stream has in common.

use grantbook_events::{Position, Recorded, StreamName, codec};

/// The state of one stream, built by applying its events in order.
pub trait StreamState: Default + Clone + Send + Sync + 'static {
    /// Applies the next event. One that cannot follow changes nothing.
    fn apply(&mut self, recorded: &Recorded) -> Result<(), FoldError>;
}

/// An event that cannot follow from the events before it: the ledger is damaged, or was not written by
/// grantbook.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{event} at position {position} (stream {stream}) cannot be folded: {detail}")]
pub struct FoldError {
    /// Where the event is.
    pub position: Position,
    /// The stream it is in.
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
