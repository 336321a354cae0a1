//! How a double is to be. Knows: the choices and their defaults. Must not know: what is made of them.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::retention::TICKS_PER_SECOND;

/// How a double is to be: `Options { nodes: 3, ..Options::default() }`.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes there are, at least one. The first is the leader.
    pub nodes: usize,
    /// Behind every so many appends the system writes an event of its own into `$all`; 0: never.
    pub stats_every: usize,
    /// The version that the server says it has.
    pub version: String,
    /// The user and password that a request must name, if any.
    pub credentials: Option<(String, String)>,
    /// How many events a live subscription may be behind before it has fallen behind.
    pub live_buffer: usize,
    /// Whether what a client sends is acknowledged at once. By default it is up to 40 ms later, as a node on Linux does.
    /// It matters to clients that wait for that before they send the rest of a request, as the `eventstore` client
    /// 4.0.0 does, which leaves Nagle's algorithm on. Only a measurement that says so sets it.
    pub acknowledges_at_once: bool,
    /// Whether an append that was made before is answered with its position. Some versions say none then.
    pub replays_say_position: bool,
    /// How long a message of `BatchAppend` may take, if it does not ask for less.
    pub write_timeout: Duration,
    /// What tells the time of events, and their age.
    pub clock: Clock,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            nodes: 1,
            stats_every: 10,
            version: "23.10.0".to_owned(),
            credentials: None,
            live_buffer: 1000,
            acknowledges_at_once: false,
            replays_say_position: true,
            write_timeout: Duration::from_secs(2),
            clock: Clock::default(),
        }
    }
}

/// Tells the time.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> SystemTime + Send + Sync>);

impl Clock {
    /// Whatever the function says.
    pub fn new(now: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// In units of 100 ns since the Unix epoch.
    pub(crate) fn ticks(&self) -> u64 {
        let nanos_per_tick = u128::from(1_000_000_000 / TICKS_PER_SECOND);
        let since = (self.0)().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos() / nanos_per_tick).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    #[expect(clippy::disallowed_methods, reason = "a server of its own has a clock of its own")]
    fn default() -> Self {
        Self::new(SystemTime::now)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Clock")
    }
}
