//! Answers that were accepted. Knows: their `jti` and when they expire. Must not know: who they were about.
//!
//! A nonce is spent by removing its cookie from the browser, but a browser may keep the cookie. So this node remembers the
//! answers that it accepted, in memory, for the few minutes that they are valid. A sign-in that began before the process
//! did is not accepted at all ([`crate::identity::pending`]).

use std::collections::HashMap;

use grantbook_events::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

use super::HandoffError;

/// How many answers are remembered at once: some 110 sign-ins a second at ten minutes each.
const MAX_USED: usize = 65_536;

/// Digest of `jti` → when it expires, in seconds since 1970. A digest, so that every entry has one size.
#[derive(Debug, Default)]
pub(super) struct UsedAnswers(Mutex<HashMap<[u8; 32], i64>>);

impl UsedAnswers {
    /// Accepts an answer that expires at `exp`, once.
    pub(super) fn take(&self, jti: &str, exp: i64, now: Timestamp) -> Result<(), HandoffError> {
        self.take_within(MAX_USED, jti, exp, now)
    }

    fn take_within(&self, max: usize, jti: &str, exp: i64, now: Timestamp) -> Result<(), HandoffError> {
        let mut used = self.0.lock();
        let jti: [u8; 32] = Sha256::digest(jti.as_bytes()).into();
        if used.contains_key(&jti) {
            return Err(HandoffError::Reused);
        }
        if used.len() >= max {
            used.retain(|_, &mut exp| exp > now.as_secs());
        }
        if used.len() >= max {
            return Err(HandoffError::TooMany);
        }
        used.insert(jti, exp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_what_expired_and_refuses_rather_than_forget_more() {
        let used = UsedAnswers::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert!(used.take_within(2, "a", 10, at(0)).is_ok());
        assert!(used.take_within(2, "b", 20, at(0)).is_ok());
        assert!(matches!(used.take_within(2, "a", 10, at(0)), Err(HandoffError::Reused)));
        assert!(matches!(used.take_within(2, "c", 30, at(9)), Err(HandoffError::TooMany)));
        assert!(used.take_within(2, "c", 30, at(10)).is_ok());
        assert!(matches!(used.take_within(2, "b", 20, at(10)), Err(HandoffError::Reused)));
    }
}
