//! The time. Knows: the system's clock. Nothing else in grantbook may ask it; everything else is handed
//! a `now`.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use grantbook_events::Timestamp;
use parking_lot::Mutex;

/// Where `now` comes from.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The time, to the microsecond. It may run backwards. Code that records corrects what must not,
    /// such as recorded time within a stream.
    fn now(&self) -> Timestamp;

    /// How long some moment is past. It never runs backwards, however the clock is set, and does not count the time
    /// for which the machine sleeps.
    fn steady(&self) -> Duration;
}

/// The time as a process has known it: as a clock shows it, but never back, and never slower than the process runs. A
/// clock that is set back changes nothing here; after one that was ahead, this stays ahead for as long as the
/// process runs.
#[derive(Debug)]
pub struct SteadyTime(Mutex<(Timestamp, Duration)>);

impl SteadyTime {
    /// Begins with what a clock shows.
    pub fn begin(clock: &dyn Clock) -> Self {
        Self(Mutex::new((clock.now(), clock.steady())))
    }

    /// The time by the clock that it began with.
    pub fn read(&self, clock: &dyn Clock) -> Timestamp {
        let mut known = self.0.lock();
        let steady = clock.steady().max(known.1);
        let passed = known.0.plus(steady.saturating_sub(known.1));
        *known = (clock.now().max(passed), steady);
        known.0
    }
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that asks the system for the time")]
    fn now(&self) -> Timestamp {
        let micros = |duration: Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(match SystemTime::now().duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        })
    }

    fn steady(&self) -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        BEGAN.get_or_init(Instant::now).elapsed()
    }
}

/// A clock that stands still until it is set: for tests and simulations.
#[derive(Debug, Default)]
pub struct ManualClock {
    now: AtomicI64,
    /// Microseconds that [`Self::advance`] has let pass.
    steady: AtomicU64,
}

impl ManualClock {
    /// A clock that shows this time.
    pub fn at(now: Timestamp) -> Self {
        Self { now: AtomicI64::new(now.as_micros()), steady: AtomicU64::new(0) }
    }

    /// Shows another time, earlier or later, without any passing.
    pub fn set(&self, now: Timestamp) {
        self.now.store(now.as_micros(), Ordering::Release);
    }

    /// Goes forward.
    pub fn advance(&self, by: Duration) {
        self.set(self.now().plus(by));
        self.steady.fetch_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::AcqRel);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::Acquire))
    }

    fn steady(&self) -> Duration {
        Duration::from_micros(self.steady.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_time_is_not_set_back_and_passes_as_the_process_runs() {
        let (clock, at) = (ManualClock::default(), Timestamp::from_micros);
        let steady = SteadyTime::begin(&clock);
        clock.advance(Duration::from_micros(100));
        assert_eq!(steady.read(&clock), at(100));
        clock.set(at(3_000));
        assert_eq!(steady.read(&clock), at(3_000), "a clock that was set right");
        clock.set(at(40));
        assert_eq!(steady.read(&clock), at(3_000));
        clock.advance(Duration::from_micros(50));
        assert_eq!((steady.read(&clock), clock.now()), (at(3_050), at(90)));
        // Also if it was not read in between.
        clock.advance(Duration::from_micros(10_000));
        clock.set(at(200));
        assert_eq!(steady.read(&clock), at(13_050));
    }
}
