//! What goes wrong, and in which order. Knows: the names of faults and their queues. Must not know: how they are
//! done.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What goes wrong with an append. It is taken when the append has arrived in whole. A connection that is torn down
/// takes everything else with it that goes on over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendFault {
    /// Status `Unavailable`. Nothing is written.
    Unavailable,
    /// Status `DeadlineExceeded`. Nothing is written.
    Deadline,
    /// Status `Aborted`, which the server says when too few nodes take part in time. Nothing is written.
    TimedOut,
    /// Status `NotFound` with trailers that name the current leader. Nothing is written.
    NotLeader,
    /// The connection is torn down. Nothing is written.
    BreakBefore,
    /// It is written, and the connection is torn down.
    CommitThenBreak,
    /// It is written, and the status is `Unavailable`.
    CommitThenUnavailable,
    /// It is written, and the status is `DeadlineExceeded`.
    CommitThenDeadline,
    /// It is written, and the status is `Aborted`.
    CommitThenTimedOut,
    /// It is written, and the reply is a success that says neither revision nor position. (The `eventstore` client
    /// 4.0.0 panics on it.)
    Malformed,
}

impl AppendFault {
    /// Each of them.
    pub const ALL: [Self; 10] = [
        Self::Unavailable,
        Self::Deadline,
        Self::TimedOut,
        Self::NotLeader,
        Self::BreakBefore,
        Self::CommitThenBreak,
        Self::CommitThenUnavailable,
        Self::CommitThenDeadline,
        Self::CommitThenTimedOut,
        Self::Malformed,
    ];
}

/// What goes wrong with a read or a subscription. It is taken when the request arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFault {
    /// Status `Unavailable` at once.
    Unavailable,
    /// The connection is torn down behind so many events, which arrive; or at the end, if there are fewer.
    BreakAfter(usize),
    /// It ends with the status OK behind so many events.
    EndCleanlyAfter(usize),
    /// A message without content, and then all that belongs there. (The `eventstore` client 4.0.0 panics on it,
    /// except in a subscription.)
    Malformed,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadKind {
    /// A stream.
    Stream,
    /// `$all`, once.
    All,
    /// `$all`, for ever.
    Subscription,
}

/// Faults that wait for what they befall.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    appends: Mutex<VecDeque<AppendFault>>,
    reads: Mutex<VecDeque<(ReadKind, ReadFault)>>,
}

fn lock<T>(queue: &Mutex<T>) -> MutexGuard<'_, T> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Faults {
    pub fn queue_append(&self, fault: AppendFault) {
        lock(&self.appends).push_back(fault);
    }

    pub fn queue_read(&self, kind: ReadKind, fault: ReadFault) {
        lock(&self.reads).push_back((kind, fault));
    }

    pub fn take_append(&self) -> Option<AppendFault> {
        lock(&self.appends).pop_front()
    }

    /// The first that is meant for this kind.
    pub fn take_read(&self, kind: ReadKind) -> Option<ReadFault> {
        let mut reads = lock(&self.reads);
        let index = reads.iter().position(|(of, _)| *of == kind)?;
        reads.remove(index).map(|(_, fault)| fault)
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        lock(&self.appends).len() + lock(&self.reads).len()
    }
}
