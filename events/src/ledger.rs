//! What happens to the ledger as a whole: stream `ledger-{ledger_id}`.

use serde::{Deserialize, Serialize};

use crate::Position;

/// One event of the ledger's own stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerEvent {
    /// An operator went on although events were missing.
    LossAccepted(LossAccepted),
}

/// `loss-accepted`. Positions are those of the store that it happened in; a copy of the ledger may have others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossAccepted {
    /// Where the ledger ended: what was recorded after it is lost.
    pub last_position: Position,
    /// The last position that had been seen, or where another event had been seen.
    pub seen_position: Position,
    /// The name of the file that had seen it.
    pub seen_by: String,
}
