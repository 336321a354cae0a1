//! The handoff: the host platform says who the person is. Knows: the host's login page and its signed
//! answer. Must not know: what the person was about to do.
//!
//! The browser is sent to the host's login page with a nonce and comes back with a short-lived JWT
//! (RFC 7519) that names the user, the account and the nonce. The nonce is pending in the browser that set
//! out and in no other, so an answer fetched by one person cannot sign in another; and an answer is taken
//! once.

mod answer;
mod key;
#[cfg(test)]
mod tests;
mod used;

use std::net::IpAddr;
use std::time::Duration;

use grantbook_events::Timestamp;
use url::{Host, Url};

pub use answer::{Arrived, HandoffError};
pub use key::{HandoffAlgorithm, HandoffAlgorithmError, HandoffKey, HandoffKeyError};

use self::used::UsedAnswers;
use super::Onward;
use super::pending::UnderWay;

/// The longest a host's answer may be good for, whatever is configured: it is for one redirect.
pub const LONGEST_MAX_AGE: Duration = Duration::from_secs(600);

/// What `prompt` says when the person wants to be somebody else.
pub const SELECT_ACCOUNT: &str = "select_account";

/// What the handoff needs to know of the host platform and of us.
#[derive(Debug)]
pub struct HandoffOptions {
    /// The host's login page: https, or http on loopback. A query it has is kept.
    pub login_url: String,
    /// What the host's answers carry as `iss`.
    pub host_issuer: String,
    /// Our own issuer, without a slash at its end; what the host's answers carry as `aud`.
    pub our_issuer: String,
    /// What the host signs with.
    pub key: HandoffKey,
    /// How long an answer may be good for: `exp` is at most this much after `iat`.
    pub max_age: Duration,
}

/// Why the handoff cannot work as configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HandoffSetupError {
    /// The login URL is not one to send people to.
    #[error(
        "the login URL {0:?} must be an absolute https URL without a fragment, a user or a password, such as \
         https://platform.example/login; http is taken for loopback addresses only"
    )]
    LoginUrl(String),
    /// The host's issuer is empty.
    #[error("the host's issuer must be the text its answers carry as `iss`; it is empty")]
    HostIssuer,
    /// The lifetime of answers is out of bounds.
    #[error("answers may be good for 1 to {longest} seconds, not {0:?}", longest = LONGEST_MAX_AGE.as_secs())]
    MaxAge(Duration),
}

/// The handoff to one host platform.
#[derive(Debug)]
pub struct Handoff {
    login_url: Url,
    host_issuer: String,
    our_issuer: String,
    key: HandoffKey,
    max_age: Duration,
    used: UsedAnswers,
}

impl Handoff {
    /// Checks what can be checked before anybody signs in.
    pub fn new(options: HandoffOptions) -> Result<Self, HandoffSetupError> {
        let HandoffOptions { login_url, host_issuer, our_issuer, key, max_age } = options;
        let login_url = safe_login_url(&login_url).ok_or(HandoffSetupError::LoginUrl(login_url))?;
        if host_issuer.is_empty() {
            return Err(HandoffSetupError::HostIssuer);
        }
        if max_age.as_secs() == 0 || max_age > LONGEST_MAX_AGE {
            return Err(HandoffSetupError::MaxAge(max_age));
        }
        Ok(Self { login_url, host_issuer, our_issuer, key, max_age, used: UsedAnswers::default() })
    }

    /// Sets out: where to send the browser for whom this nonce was made. The host is asked to send it on to
    /// `return_to` with its answer added as the parameter `token`, and with `another` to let the person choose
    /// who to be, as `prompt=select_account` of OpenID Connect does.
    pub fn login_location(&self, nonce: &str, onward: &Onward, another: bool) -> Url {
        let mut return_to = format!("{}/sign-in/handoff", self.our_issuer);
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

    /// Comes back: who the host says is there, if it was asked by a browser that has this under way.
    pub fn finish(&self, under_way: &UnderWay, token: &str, now: Timestamp) -> Result<Arrived, HandoffError> {
        let answer = self.read(token, now)?;
        if !under_way.has(&answer.arrived.nonce) {
            return Err(HandoffError::NotPending);
        }
        self.used.take(&answer.jti, answer.exp, now)?;
        Ok(answer.arrived)
    }
}

fn safe_login_url(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let loopback = match url.host()? {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => IpAddr::from(address).is_loopback(),
        Host::Ipv6(address) => IpAddr::from(address).is_loopback(),
    };
    let reachable = url.scheme() == "https" || (url.scheme() == "http" && loopback);
    let bare = url.fragment().is_none() && url.username().is_empty() && url.password().is_none();
    (reachable && bare).then_some(url)
}
