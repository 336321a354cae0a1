//! Who is in front of the sample app: a cookie, and what a browser was sent away with. Knows: `state`, PKCE
//! and form tokens, from the client's side. Must not know: pages, or what is at the other end.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use crate::secrets::{self, PlainSecret};

/// Characters of that many bytes in base64url.
const SPELT_CHARS: usize = 43;
/// The most authorizations that are waited for; the oldest goes first.
const MAX_PENDING: usize = 100;

/// A browser, by its cookie.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Visitor(String);

impl Visitor {
    /// Somebody new.
    pub(super) fn new() -> Self {
        Self(secrets::random_text())
    }

    /// The browser that sent this cookie, if it is one of ours.
    pub(super) fn of_cookie(value: &str) -> Option<Self> {
        let plausible = value.len() == SPELT_CHARS
            && value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        plausible.then(|| Self(value.to_owned()))
    }

    /// The value of the cookie.
    pub(super) fn cookie(&self) -> &str {
        &self.0
    }

    /// What the forms made for this browser carry. Nobody learns the cookie from it.
    pub(super) fn form_token(&self) -> String {
        secrets::digest(&format!("a form for {}", self.0)).to_string()
    }

    /// Whether a form was made for this browser.
    pub(super) fn made(&self, form_token: &str) -> bool {
        secrets::digests_match(&secrets::digest(&self.form_token()), &secrets::digest(form_token))
    }
}

impl fmt::Debug for Visitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visitor(…)")
    }
}

/// What a browser is sent to the authorization endpoint with.
#[derive(Debug)]
pub(super) struct Departure {
    pub state: String,
    /// S256 (RFC 7636 section 4.2).
    pub code_challenge: String,
}

/// The authorizations that are waited for. They live in memory: after a restart people start again.
#[derive(Debug, Default)]
pub(super) struct Departures(Mutex<VecDeque<Waiting>>);

#[derive(Debug)]
struct Waiting {
    visitor: Visitor,
    state: String,
    verifier: PlainSecret,
}

impl Departures {
    /// Sends a browser away.
    pub(super) fn begin(&self, visitor: &Visitor) -> Departure {
        let (state, verifier) = (secrets::random_text(), PlainSecret::presented(secrets::random_text()));
        let departure =
            Departure { state: state.clone(), code_challenge: secrets::s256_challenge(verifier.expose()) };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() == MAX_PENDING {
            waiting.pop_front();
        }
        waiting.push_back(Waiting { visitor: visitor.clone(), state, verifier });
        departure
    }

    /// The verifier for a browser that comes back, once; `None` if this browser was not sent away with this
    /// `state` (RFC 6749 section 10.12).
    pub(super) fn finish(&self, visitor: &Visitor, state: &str) -> Option<PlainSecret> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same =
            |one: &str, other: &str| secrets::digests_match(&secrets::digest(one), &secrets::digest(other));
        let at = waiting
            .iter()
            .position(|waiting| same(&waiting.state, state) && same(&waiting.visitor.0, &visitor.0))?;
        waiting.remove(at).map(|waiting| waiting.verifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_good_once_and_for_the_browser_that_asked() {
        let (departures, ana, ben) = (Departures::default(), Visitor::new(), Visitor::new());
        let departure = departures.begin(&ana);
        assert!(departures.finish(&ben, &departure.state).is_none());
        assert!(departures.finish(&ana, "").is_none());
        let verifier = departures.finish(&ana, &departure.state).unwrap();
        assert_eq!(secrets::s256_challenge(verifier.expose()), departure.code_challenge);
        assert!(departures.finish(&ana, &departure.state).is_none());
    }

    #[test]
    fn who_leaves_and_never_comes_back_does_not_fill_the_memory() {
        let (departures, ana) = (Departures::default(), Visitor::new());
        let first = departures.begin(&ana);
        let last = (0..MAX_PENDING).map(|_| departures.begin(&ana)).last().unwrap();
        assert_eq!(departures.0.lock().unwrap().len(), MAX_PENDING);
        assert!(departures.finish(&ana, &first.state).is_none());
        assert!(departures.finish(&ana, &last.state).is_some());
    }

    #[test]
    fn a_form_is_for_one_browser_and_a_cookie_is_one_we_made() {
        let (ana, ben) = (Visitor::new(), Visitor::new());
        assert!(ana.made(&ana.form_token()));
        assert!(!ben.made(&ana.form_token()) && !ana.made(""));
        assert!(!ana.form_token().contains(ana.cookie()));
        assert_eq!(Visitor::of_cookie(ana.cookie()), Some(ana));
        for wrong in ["", "short", &"ä".repeat(SPELT_CHARS), &"=".repeat(SPELT_CHARS)] {
            assert_eq!(Visitor::of_cookie(wrong), None, "{wrong}");
        }
    }
}
