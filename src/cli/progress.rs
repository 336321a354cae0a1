//! How far a long command has come, on stderr: one line that changes on a terminal, a line now and then
//! elsewhere. Knows: rates and terminals. Must not know: what is being done.

use std::time::{Duration, Instant};

use super::output;

/// The pause between two lines on a terminal, and elsewhere.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];

/// Progress towards a known number, shown until this is dropped.
#[derive(Debug)]
pub(super) struct Progress {
    what: &'static str,
    on_terminal: bool,
    started: Instant,
    next: Duration,
    line_is_open: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str) -> Self {
        let on_terminal = output::is_watched();
        let next = PAUSES[usize::from(!on_terminal)];
        Self { what, on_terminal, started: Instant::now(), next, line_is_open: false }
    }

    /// Another phase begins, unless it is the same.
    pub(super) fn begin(&mut self, what: &'static str) {
        if self.what != what {
            *self = Self::new(what);
        }
    }

    /// So many events were done, which is `done` of `all`.
    pub(super) fn show(&mut self, events: u64, done: u64, all: u64) {
        let elapsed = self.started.elapsed();
        if elapsed < self.next {
            return;
        }
        self.next = elapsed + PAUSES[usize::from(!self.on_terminal)];
        let line = line(self.what, events, done as f64 / all.max(1) as f64, elapsed);
        if self.on_terminal {
            output::same_line(&line);
            self.line_is_open = true;
        } else {
            output::complain(&line);
        }
    }
}

impl Drop for Progress {
    /// Clears the line, so that an answer or a failure does not begin in the middle of it.
    fn drop(&mut self) {
        if self.line_is_open {
            output::same_line("");
        }
    }
}

fn line(what: &str, events: u64, share: f64, elapsed: Duration) -> String {
    // A server may append while this runs, so more may be done than there was at the start.
    let share = share.min(1.0);
    let rate = events as f64 / elapsed.as_secs_f64().max(1e-9);
    let left = Duration::try_from_secs_f64(elapsed.as_secs_f64() * (1.0 / share - 1.0)).unwrap_or_default();
    format!("{what}: {:.0} %, {events} events, {rate:.0}/s, {} s left", share * 100.0, left.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_rate_share_and_what_is_left() {
        let said = line("replay", 2500, 0.25, Duration::from_secs(5));
        assert_eq!(said, "replay: 25 %, 2500 events, 500/s, 15 s left");
        assert_eq!(
            line("replay", 0, 0.0, Duration::from_secs(5)),
            "replay: 0 %, 0 events, 0/s, 0 s left",
            "what cannot be known is not made up into a crash"
        );
        let beyond = line("rebuild", 1010, 1.01, Duration::from_secs(5));
        assert_eq!(beyond, "rebuild: 100 %, 1010 events, 202/s, 0 s left");
    }
}
