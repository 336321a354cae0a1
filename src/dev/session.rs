//! Who is in front of the sample app. Knows: a cookie with a random name for each browser, form tokens, and
//! the attempts that people left with. Must not know: pages, or how grantbook is asked.

use std::collections::VecDeque;

use actix_web::cookie::{Cookie, SameSite};
use actix_web::{HttpRequest, HttpResponse};
use parking_lot::Mutex;

use super::client::Attempt;
use crate::identity::cookies::only;
use crate::secrets;

const COOKIE: &str = "sample-app";
/// The oldest attempts are forgotten first, so that people who never come back do not fill the memory.
const MAX_PENDING: usize = 100;

/// A browser's random name. It is a secret of that browser, so there is no Debug.
#[derive(Clone)]
pub(super) struct Browser(String);

impl Browser {
    /// The browser of a request; a new one if it brings no cookie.
    pub(super) fn of(request: &HttpRequest) -> Self {
        Self(only(request.headers(), COOKIE).map_or_else(secrets::random_text, str::to_owned))
    }

    /// Lax, because the browser comes back from grantbook, which may be another site.
    pub(super) fn set_cookie(&self, reply: &mut HttpResponse) {
        let cookie = Cookie::build(COOKIE, &self.0).http_only(true).same_site(SameSite::Lax).path("/");
        if let Err(error) = reply.add_cookie(&cookie.finish()) {
            tracing::warn!(%error, "the sample app cannot set its cookie");
        }
    }

    /// What the forms for this browser carry. The cookie cannot be computed from it.
    pub(super) fn form_token(&self) -> String {
        secrets::digest(&format!("a form for {}", self.0)).to_string()
    }

    pub(super) fn has_form_token(&self, presented: &str) -> bool {
        same(&self.form_token(), presented)
    }
}

/// The attempts that are not answered yet. They are in memory only: after a restart people start again.
#[derive(Default)]
pub(super) struct Pending(Mutex<VecDeque<(Browser, Attempt)>>);

impl Pending {
    pub(super) fn add(&self, browser: Browser, attempt: Attempt) {
        let mut pending = self.0.lock();
        if pending.len() == MAX_PENDING {
            pending.pop_front();
        }
        pending.push_back((browser, attempt));
    }

    /// The attempt that an answer belongs to, once; `None` if this browser did not leave with this `state`.
    pub(super) fn take(&self, browser: &Browser, state: &str) -> Option<Attempt> {
        let mut pending = self.0.lock();
        let at = pending
            .iter()
            .position(|(left, attempt)| same(&left.0, &browser.0) && same(&attempt.state, state));
        pending.remove(at?).map(|(_, attempt)| attempt)
    }
}

/// Compares secrets in a time that does not depend on where they differ.
fn same(one: &str, other: &str) -> bool {
    secrets::digests_match(&secrets::digest(one), &secrets::digest(other))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn browser() -> Browser {
        Browser(secrets::random_text())
    }

    fn leave(pending: &Pending, browser: &Browser) -> String {
        let attempt = Attempt::new();
        let state = attempt.state.clone();
        pending.add(browser.clone(), attempt);
        state
    }

    #[test]
    fn an_answer_counts_once_and_only_in_the_browser_that_asked() {
        let (pending, ana, ben) = (Pending::default(), browser(), browser());
        let state = leave(&pending, &ana);
        assert!(pending.take(&ben, &state).is_none());
        assert!(pending.take(&ana, "").is_none());
        assert_eq!(pending.take(&ana, &state).unwrap().state, state);
        assert!(pending.take(&ana, &state).is_none());
    }

    #[test]
    fn people_who_never_come_back_do_not_fill_the_memory() {
        let (pending, ana) = (Pending::default(), browser());
        let first = leave(&pending, &ana);
        let last = (0..MAX_PENDING).map(|_| leave(&pending, &ana)).last().unwrap();
        assert_eq!(pending.0.lock().len(), MAX_PENDING);
        assert!(pending.take(&ana, &first).is_none());
        assert!(pending.take(&ana, &last).is_some());
    }

    #[test]
    fn a_form_is_for_one_browser() {
        let (ana, ben) = (browser(), browser());
        assert!(ana.has_form_token(&ana.form_token()));
        assert!(!ben.has_form_token(&ana.form_token()) && !ana.has_form_token(""));
        assert!(!ana.form_token().contains(&ana.0));
    }
}
