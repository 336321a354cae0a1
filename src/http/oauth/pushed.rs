//! Requests that apps pushed (RFC 9126 section 2.2). Knows: how a request becomes a `request_uri` and is read again, and
//! how long it is good for. Must not know: what is asked, or who pushed it.
//!
//! Nothing is stored. The `request_uri` is the request itself, encrypted by this server, so any node can read it, and
//! pushing costs the ledger nothing. It is used once because it has the id of the grant that it may become: the
//! stream of an installation takes each grant id once.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use grantbook_events::{ClientId, GrantId, Timestamp};
use grantbook_projections::GRANT_MEMORY;
use serde::{Deserialize, Serialize};

use crate::decisions::authorization_request::Parameters;
use crate::identity::Sealer;
use crate::identity::tickets::{CLOCK_TOLERANCE, LONGEST_LIFETIME};

/// How every `request_uri` of ours begins (RFC 9126 section 2.2).
pub const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";
/// How long an app may take to send the browser with it.
pub const LIFETIME: Duration = Duration::from_secs(60);
/// How long after the push a person may take to sign in and to see the consent page.
const KEPT: Duration = Duration::from_secs(8 * 60);
/// The name that requests are encrypted under.
const NAME: &str = "request_uri";

// Else the same request could be granted again after its first grant is forgotten.
const _: () = assert!(
    KEPT.as_secs() + LONGEST_LIFETIME.as_secs() + 2 * CLOCK_TOLERANCE.as_secs() <= GRANT_MEMORY.as_secs()
);

/// A request that was pushed.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Pushed {
    /// The app that pushed it.
    pub client_id: ClientId,
    /// The grant that it may become.
    pub grant_id: GrantId,
    /// What it asks for. Every check that needs no person has passed.
    pub parameters: Parameters,
    pub pushed_at: Timestamp,
    /// Whether a browser has brought it. It is good for longer then, so that the person can sign in first.
    pub arrived: bool,
}

impl Pushed {
    pub fn is_over(&self, now: Timestamp) -> bool {
        let lifetime = if self.arrived { KEPT } else { LIFETIME };
        // One from a clock that is far ahead of this one has no known age.
        self.pushed_at > now.plus(CLOCK_TOLERANCE) || self.pushed_at.plus(lifetime) <= now
    }

    /// The `request_uri` that stands for it.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn to_uri(&self, sealer: &Sealer) -> Result<String, serde_json::Error> {
        let sealed = STANDARD.decode(sealer.seal(NAME, serde_json::to_string(self)?)).unwrap_or_default();
        Ok(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// The request that a `request_uri` stands for, if it was made by this server, however long ago.
    pub fn from_uri(uri: &str, sealer: &Sealer) -> Option<Self> {
        let sealed = URL_SAFE_NO_PAD.decode(uri.strip_prefix(PREFIX)?).ok()?;
        serde_json::from_str(&sealer.open(NAME, &STANDARD.encode(sealed))?).ok()
    }
}
