//! What the calls that append have in common: an append with its limit, and how it ends. Knows: the faults. Must not
//! know: how a call says it.

use crate::event::Proposed;
use crate::expectation::{Expected, Outcome};
use crate::faults::AppendFault;
use crate::protocol::Empty;
use crate::protocol::streams::append_resp::success::{CurrentRevisionOption, PositionOption};
use crate::protocol::streams::append_resp::{Position, Success};

/// The most that one append may carry, in bytes.
pub(super) const MAX_APPEND_BYTES: usize = 1024 * 1024;

/// An append as far as it has arrived.
#[derive(Debug)]
pub(super) struct Append {
    pub stream: String,
    pub expected: Expected,
    pub proposed: Vec<Proposed>,
    size: usize,
}

impl Append {
    pub fn new(stream: String, expected: Expected) -> Self {
        Self { stream, expected, proposed: vec![], size: 0 }
    }

    pub fn add(&mut self, event: Proposed) {
        self.size += event.size();
        self.proposed.push(event);
    }

    pub fn is_too_large(&self) -> bool {
        self.size > MAX_APPEND_BYTES
    }
}

/// How an append ends.
#[derive(Debug)]
pub(super) enum Ending {
    Success(Success),
    Conflict {
        current: Option<u64>,
    },
    /// The stream has ended for good.
    Deleted,
    NotReady,
    /// The deadline of the client has passed.
    Late,
    /// Too few nodes took part in time.
    TimedOut,
    /// Another node is to be asked.
    NotLeader,
    /// The connection is torn down.
    Cut,
}

impl Ending {
    /// How an append ends that a fault keeps from being written.
    pub fn unwritten(fault: Option<AppendFault>) -> Option<Self> {
        match fault? {
            AppendFault::Unavailable => Some(Self::NotReady),
            AppendFault::Deadline => Some(Self::Late),
            AppendFault::TimedOut => Some(Self::TimedOut),
            AppendFault::NotLeader => Some(Self::NotLeader),
            AppendFault::BreakBefore => Some(Self::Cut),
            AppendFault::CommitThenBreak
            | AppendFault::CommitThenUnavailable
            | AppendFault::CommitThenDeadline
            | AppendFault::CommitThenTimedOut
            | AppendFault::Malformed => None,
        }
    }

    /// How an append ends that was judged, and written if that was right.
    pub fn judged(outcome: Outcome, fault: Option<AppendFault>) -> Self {
        match fault {
            Some(AppendFault::CommitThenBreak) => Self::Cut,
            Some(AppendFault::CommitThenUnavailable) => Self::NotReady,
            Some(AppendFault::CommitThenDeadline) => Self::Late,
            Some(AppendFault::CommitThenTimedOut) => Self::TimedOut,
            Some(AppendFault::Malformed) => Self::Success(Success::default()),
            _ => Self::of(outcome),
        }
    }

    fn of(outcome: Outcome) -> Self {
        let (current, position) = match outcome {
            Outcome::Written { revision, position } => {
                let position = Position { commit_position: position, prepare_position: position };
                (Some(revision), PositionOption::Position(position))
            }
            Outcome::Replayed { revision } => (Some(revision), PositionOption::NoPosition(Empty {})),
            Outcome::Nothing { current } => (current, PositionOption::NoPosition(Empty {})),
            Outcome::Conflict { current } => return Self::Conflict { current },
            Outcome::Deleted => return Self::Deleted,
        };
        let current =
            current.map_or(CurrentRevisionOption::NoStream(Empty {}), CurrentRevisionOption::CurrentRevision);
        Self::Success(Success { current_revision_option: Some(current), position_option: Some(position) })
    }
}
