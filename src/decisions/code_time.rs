//! When the time of a code is over. Knows: a grant, and what clocks say. Must not know: what is done with codes.

use std::time::Duration;

use grantbook_events::Timestamp;
use grantbook_projections::Grant;

/// How far the clock of another node may be ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Whether the time of a code is over: by the clock that it lives by or by recorded time (`now`), whichever says so
/// first. `lifetime` is how long a code lives that is granted now.
///
/// Both can be wrong. A code that has longer to live than any code does was granted by a clock that was ahead of
/// this one, and nobody knows how old it is. And where a clock was ahead and put back, recorded time waits for it: a
/// code that was granted then ends before its approval by that time, so that the clock alone can tell.
pub(super) fn is_over(grant: &Grant, clock: Timestamp, lifetime: Duration, now: Timestamp) -> bool {
    let end = grant.code_expires_at;
    let latest_end = clock.plus(lifetime).plus(CLOCK_TOLERANCE);
    clock >= end || end > latest_end || (now >= end && end > grant.granted_at)
}

#[cfg(test)]
mod tests {
    use super::super::issue::Issued;
    use super::super::testing::{self, TestStreams, exchange, grant};
    use super::super::{Decision, ExchangeCode, GrantAccess, InstallationRefusal};
    use super::*;

    const NOW: i64 = testing::NOW.as_micros();

    fn refused(decision: Decision<Issued, InstallationRefusal>) -> InstallationRefusal {
        decision.answer.unwrap_err()
    }

    #[test]
    fn c1_a_code_expires_by_the_clock_as_well_as_by_recorded_time() {
        let at = |micros: i64| Timestamp::from_micros(NOW + micros);
        let presented = |micros: i64| ExchangeCode { presented_at: at(micros), ..exchange(1) };
        let (minute, hour) = (60_000_000, 3_600_000_000);
        // Granted while recorded time is an hour ahead of the clock: it waits there.
        let mut ahead = TestStreams::installation([]);
        ahead.run(&grant(1), NOW + hour).unwrap();
        assert!(ahead.decide(&presented(minute - 1), NOW + hour).answer.is_ok());
        assert_eq!(refused(ahead.decide(&presented(minute), NOW + hour)), InstallationRefusal::CodeExpired);
        // Granted by a clock that was an hour ahead, and presented to one that is right.
        let mut wrong = TestStreams::installation([]);
        wrong.run(&GrantAccess { approved_at: at(hour), ..grant(1) }, NOW + hour).unwrap();
        for micros in [0, minute, hour - minute - 1] {
            assert_eq!(
                refused(wrong.decide(&presented(micros), NOW + hour)),
                InstallationRefusal::CodeExpired,
                "{micros}"
            );
        }
        // Two nodes whose clocks differ a little.
        let mut other = TestStreams::installation([]);
        other.run(&GrantAccess { approved_at: at(minute / 2), ..grant(1) }, NOW + minute / 2).unwrap();
        assert!(other.decide(&presented(0), NOW + minute / 2).answer.is_ok());
    }
}
