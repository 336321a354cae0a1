//! What time it is for what is recorded, and for codes. Knows: the clock, and how far recorded time is. Must not
//! know: what is decided by it.

use std::time::Duration;

use grantbook_events::Timestamp;

use super::Ledger;
use crate::store::Store;

/// The least difference between two times.
const A_MOMENT: Duration = Duration::from_micros(1);

/// The last time recorded, if it is later than the clock was when the ledger was opened.
pub(super) fn ahead(store: &dyn Store, now: Timestamp) -> Option<Timestamp> {
    let latest = store.latest_time().filter(|latest| *latest > now)?;
    tracing::warn!(
        %latest, %now,
        "the ledger ends later than this clock is: until it gets there, everything is recorded as of then"
    );
    Some(latest)
}

impl Ledger {
    /// The time by this node's clock, which somebody may set.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The time that what is recorded now is recorded at: never before the last record, if one writer assigns it.
    /// What has expired by it has expired, whatever the clock says.
    pub fn recorded_now(&self) -> Timestamp {
        let now = self.clock.now();
        // What this process finds is told apart from what it records, also while its clock has not got there.
        let latest = self.store.latest_time().max(self.ahead.map(|ahead| ahead.plus(A_MOMENT)));
        latest.map_or(now, |latest| latest.max(now))
    }

    /// The time that codes live by. It is not set back while this process runs; where others append, too, codes are
    /// taken by other nodes, so there it is that of the clock.
    pub fn steady_now(&self) -> Timestamp {
        let steady = self.process_time();
        if self.store.is_shared() { self.clock.now() } else { steady }
    }

    /// The time that what is under way in this process lives by. It is not set back while the process runs.
    pub fn process_time(&self) -> Timestamp {
        self.steady.read(&*self.clock)
    }

    /// Codes granted up to this time are dead: the clock has been set back since, before this process began, so nobody
    /// knows how old they are.
    pub fn codes_dead_until(&self) -> Option<Timestamp> {
        self.ahead
    }
}
