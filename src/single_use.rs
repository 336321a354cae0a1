//! What may be used once. Knows: names that were used, and until when each would be valid. Must not know: what they name.
//!
//! It is the memory of this process alone: of the nodes of a cluster, each accepts a name once.

use std::collections::HashMap;

use grantbook_events::Timestamp;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};

/// Names that were used. None is forgotten before it has expired: rather than that, no more are accepted.
#[derive(Debug)]
pub struct SingleUse {
    max: usize,
    /// Digest of a name → when it expires, in seconds since 1970. A digest, so that every entry has one size.
    used: Mutex<HashMap<[u8; 32], i64>>,
}

/// Why a name is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotAccepted {
    /// It was used before.
    Reused,
    /// As many as can be remembered are within their lifetime.
    TooMany,
}

impl SingleUse {
    /// Remembers so many names at once.
    pub fn new(max: usize) -> Self {
        Self { max, used: Mutex::default() }
    }

    /// Accepts a name that expires at `exp`, in seconds since 1970, once.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn take(&self, name: &str, exp: i64, now: Timestamp) -> Result<(), NotAccepted> {
        let mut used = self.used.lock();
        let name: [u8; 32] = Sha256::digest(name.as_bytes()).into();
        if used.contains_key(&name) {
            return Err(NotAccepted::Reused);
        }
        if used.len() >= self.max {
            used.retain(|_, &mut exp| exp > now.as_secs());
        }
        if used.len() >= self.max {
            return Err(NotAccepted::TooMany);
        }
        used.insert(name, exp);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_what_expired_and_refuses_rather_than_forget_more() {
        let used = SingleUse::new(2);
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        assert_eq!(used.take("a", 10, at(0)), Ok(()));
        assert_eq!(used.take("b", 20, at(0)), Ok(()));
        assert_eq!(used.take("a", 10, at(0)), Err(NotAccepted::Reused));
        assert_eq!(used.take("c", 30, at(9)), Err(NotAccepted::TooMany));
        assert_eq!(used.take("c", 30, at(10)), Ok(()));
        assert_eq!(used.take("b", 20, at(10)), Err(NotAccepted::Reused));
    }
}
