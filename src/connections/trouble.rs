//! Trouble that lasts is logged once a minute, and not each time it is met. Knows: times. Must not know: which trouble.

use std::time::{Duration, Instant};

/// The time after which lasting trouble is logged again.
const AGAIN: Duration = Duration::from_secs(60);

/// One kind of trouble.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    logged: Option<Instant>,
    lasts: bool,
}

impl Trouble {
    /// It is met. Whether it should be logged.
    pub(super) fn met(&mut self, now: Instant) -> bool {
        self.lasts = true;
        let is_due = self.logged.is_none_or(|logged| now.saturating_duration_since(logged) >= AGAIN);
        if is_due {
            self.logged = Some(now);
        }
        is_due
    }

    /// It is over. Whether there was any.
    pub(super) fn over(&mut self) -> bool {
        std::mem::take(&mut self.lasts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lasts_is_said_once_a_minute() {
        let start = Instant::now();
        let mut trouble = Trouble::default();
        assert!(!trouble.over());
        let said: Vec<_> = [0, 1, 59, 60, 61, 119, 120]
            .into_iter()
            .filter(|seconds| trouble.met(start + Duration::from_secs(*seconds)))
            .collect();
        assert_eq!(said, [0, 60, 120]);
        assert!(trouble.over());
        assert!(!trouble.over());
        // What comes and goes is no more talkative than what stays.
        assert!(!trouble.met(start + Duration::from_secs(121)));
    }
}
