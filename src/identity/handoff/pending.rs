//! The sign-ins this browser set out for. Knows: nonces and when they were made. Must not know: the host.

use std::time::Duration;

use actix_session::Session;
use grantbook_events::Timestamp;
use serde::{Deserialize, Serialize};

use crate::identity::session::SessionError;
use crate::identity::tickets::CLOCK_TOLERANCE;

/// How many sign-ins one browser may have under way, in as many tabs. They rest in the cookie.
pub(super) const MAX_PENDING: usize = 4;
/// How long a person may take at the host's login page.
pub(super) const PENDING_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// Where the session keeps them.
const PENDING: &str = "handoffs";

/// The sign-ins under way, oldest first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending(Vec<Departure>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Departure {
    nonce: String,
    at: Timestamp,
}

impl Departure {
    fn is_live(&self, now: Timestamp) -> bool {
        // One that set out later did so by a clock that was ahead of this one: nobody knows how old it is.
        self.at <= now.plus(CLOCK_TOLERANCE) && now < self.at.plus(PENDING_LIFETIME)
    }
}

impl Pending {
    /// What the session holds. What does not read was written by another version: nothing is pending.
    pub(super) fn of(session: &Session) -> Self {
        session.get(PENDING).ok().flatten().unwrap_or_default()
    }

    pub(super) fn keep_in(&self, session: &Session) -> Result<(), SessionError> {
        Ok(session.insert(PENDING, self)?)
    }

    /// Sets out. The oldest makes way when there are too many.
    pub(super) fn add(&mut self, nonce: String, now: Timestamp) {
        self.0.retain(|departure| departure.is_live(now));
        if self.0.len() >= MAX_PENDING {
            self.0.remove(0);
        }
        self.0.push(Departure { nonce, at: now });
    }

    /// Comes back: whether this nonce is pending. It is not from then on.
    pub(super) fn take(&mut self, nonce: &str, now: Timestamp) -> bool {
        let found = self.0.iter().position(|departure| departure.nonce == nonce);
        found.map(|at| self.0.remove(at)).is_some_and(|departure| departure.is_live(now))
    }
}
