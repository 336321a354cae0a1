//! A point in the history of a ledger. Knows: positions and times. Must not know: what is
//! asked of it.

use grantbook_events::{Position, Timestamp};

/// How far a look at the ledger goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Until {
    /// To the last event there is when it begins.
    #[default]
    Head,
    /// To this position, or the last one below it.
    Position(Position),
    /// What was recorded at this time or before. In one stream that is how it began; over the whole ledger also, unless
    /// several nodes record by clocks that disagree.
    Time(Timestamp),
}

/// Nothing can be told of it yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotYet {
    /// The position is beyond the end.
    #[error("the ledger ends at position {end}, before {asked}")]
    Position {
        /// What was asked for.
        asked: Position,
        /// Where the ledger ends.
        end: Position,
    },
    /// The time is still to come.
    #[error("{asked} is still to come: it is {now} now, and the ledger ends at position {end}")]
    Time {
        /// What was asked for.
        asked: Timestamp,
        /// The time.
        now: Timestamp,
        /// Where the ledger ends.
        end: Position,
    },
}

impl Until {
    /// Refuses a position that no event has.
    ///
    /// # Errors
    /// If the ledger ends before it.
    pub fn within(self, end: Position) -> Result<(), NotYet> {
        match self {
            Self::Position(asked) if asked > end => Err(NotYet::Position { asked, end }),
            Self::Head | Self::Position(_) | Self::Time(_) => Ok(()),
        }
    }

    /// Refuses that, and a time to come: what will be recorded until then would make the answer wrong.
    ///
    /// # Errors
    /// If the ledger ends before it, or it is later than now.
    pub fn has_come(self, end: Position, now: Timestamp) -> Result<(), NotYet> {
        self.within(end)?;
        match self {
            Self::Time(asked) if asked > now => Err(NotYet::Time { asked, now, end }),
            Self::Head | Self::Position(_) | Self::Time(_) => Ok(()),
        }
    }

    /// Whether nothing from a position on belongs to it.
    pub fn is_before(self, position: Position) -> bool {
        match self {
            Self::Head | Self::Time(_) => false,
            Self::Position(last) => last < position,
        }
    }

    /// Whether an event belongs to it.
    pub fn takes(self, position: Position, recorded_at: Timestamp) -> bool {
        match self {
            Self::Head => true,
            Self::Position(last) => position <= last,
            Self::Time(time) => recorded_at <= time,
        }
    }
}
