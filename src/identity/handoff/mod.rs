//! The handoff: the host platform says who the person is. Knows: the host's login page and its signed
//! answer. Must not know: what the person was about to do.
//!
//! The browser is sent to the host's login page with a nonce and comes back with a short-lived JWT
//! (RFC 7519) that names the user, the account and the nonce. The nonce is pending in the browser that began
//! the sign-in and in no other, so an answer for one person cannot sign in another; and an answer is accepted
//! once.

mod answer;
mod key;
#[cfg(test)]
mod tests;

use std::time::Duration;

use grantbook_events::Timestamp;
use url::Url;

pub use answer::{Arrived, HandoffError};
pub use key::HandoffKey;

use super::Onward;
use super::pending::PendingSignIns;
use crate::single_use::{NotAccepted, SingleUse};

/// What `prompt` says when the person wants to sign in as another user.
pub const SELECT_ACCOUNT: &str = "select_account";

/// How many answers are remembered at once: some 110 sign-ins a second at ten minutes each.
const MAX_USED: usize = 65_536;

/// The handoff to one host platform.
#[derive(Debug)]
pub struct Handoff {
    /// Where the host signs people in. A query it has is kept.
    pub login_url: Url,
    /// What the host's answers carry as `iss`.
    pub issuer: String,
    pub key: HandoffKey,
    /// How long an answer may be good for: `exp` is at most this much after `iat`.
    pub max_age: Duration,
    /// The `jti` of each answer that was accepted. A nonce is spent by removing its cookie from the browser, but a browser may keep
    /// the cookie. A sign-in that began before this process did is not accepted at all ([`crate::identity::pending`]).
    used: SingleUse,
}

impl Handoff {
    pub fn new(login_url: Url, issuer: String, key: HandoffKey, max_age: Duration) -> Self {
        Self { login_url, issuer, key, max_age, used: SingleUse::new(MAX_USED) }
    }

    /// Where to send the browser that this nonce was made for. The host is asked to send it on to
    /// `return_to` with its answer added as the parameter `token`, and with `another` to let the person choose
    /// who to be, as `prompt=select_account` of OpenID Connect does.
    pub fn login_location(&self, our_issuer: &str, nonce: &str, onward: &Onward, another: bool) -> Url {
        let mut return_to = format!("{our_issuer}/sign-in/handoff");
        let param = onward.to_param();
        if !param.is_empty() {
            // The parameter is base64url: nothing in it needs encoding.
            return_to.push_str("?continue=");
            return_to.push_str(&param);
        }
        let mut location = self.login_url.clone();
        location.query_pairs_mut().append_pair("request", nonce).append_pair("return_to", &return_to);
        if another {
            location.query_pairs_mut().append_pair("prompt", SELECT_ACCOUNT);
        }
        location
    }

    /// Who the host says is there, if this browser began the sign-in that is answered.
    pub fn finish(
        &self,
        our_issuer: &str,
        pending: &PendingSignIns,
        token: &str,
        now: Timestamp,
    ) -> Result<Arrived, HandoffError> {
        let answer = self.read(our_issuer, token, now)?;
        if !pending.has(&answer.arrived.nonce) {
            return Err(HandoffError::NotPending);
        }
        self.used.take(&answer.jti, answer.exp, now).map_err(|error| match error {
            NotAccepted::Reused => HandoffError::Reused,
            NotAccepted::TooMany => HandoffError::TooMany,
        })?;
        Ok(answer.arrived)
    }
}
