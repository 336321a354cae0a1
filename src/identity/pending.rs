//! The sign-ins that a browser has begun. Knows: nonces and when they were made. Must not know: where the person
//! is asked who they are.
//!
//! Each is in a short-lived cookie of its own, named after its nonce. So tabs that begin or finish
//! at the same moment do not overwrite each other, and signing in through one does not change the others. The
//! value says when the sign-in began, under a code that only this server can make.

use std::time::Duration;

use actix_web::cookie::Cookie;
use actix_web::http::header::HeaderMap;
use grantbook_events::{AccountId, Timestamp, UserId};

use super::SessionKey;
use super::cookies::{OurCookies, sent};
use super::tickets::{CLOCK_TOLERANCE, Tickets};
use crate::secrets;

/// How many sign-ins one browser may have begun, in as many tabs: some 2.5 KB of cookies.
pub(super) const MAX_PENDING: usize = 20;
/// How long a person may take to say who they are.
pub(super) const PENDING_LIFETIME: Duration = Duration::from_secs(30 * 60);

/// The name of these cookies, before the nonce.
const NAME: &str = "grantbook-sign-in-";
/// Names the code of a cookie, and the id of a session, for what proves them.
const BEGAN: &str = "sign-in began at";
const SESSION: &str = "session of";

/// Begins sign-ins, and finds them in what browsers send.
#[derive(Debug, Clone)]
pub struct SignIns {
    cookies: OurCookies,
    codes: Tickets,
    /// When this process started. Answers that an earlier process accepted are not known here, so
    /// sign-ins that began before are ignored.
    started: Timestamp,
}

/// A sign-in that has begun.
#[derive(Debug)]
pub struct Begun {
    /// 256 random bits as text: the name of this sign-in.
    pub nonce: String,
    /// For the browser to keep or to remove.
    pub cookies: Vec<Cookie<'static>>,
}

/// The sign-ins that one browser has begun, oldest first.
#[derive(Debug, Clone, Default)]
pub struct PendingSignIns(Vec<(Timestamp, String)>);

impl PendingSignIns {
    /// Whether this browser began a sign-in with this nonce.
    pub fn has(&self, nonce: &str) -> bool {
        self.0.iter().any(|(_, known)| known == nonce)
    }
}

impl SignIns {
    /// Sign-ins of a process that started at this time.
    pub fn new(key: &SessionKey, https: bool, started: Timestamp) -> Self {
        Self { cookies: OurCookies { https }, codes: Tickets::new(key), started }
    }

    /// Those of the browser that sent these headers. The time must not go back while this process
    /// runs, or no sign-in would work until it is past the start again.
    pub fn of(&self, headers: &HeaderMap, now: Timestamp) -> PendingSignIns {
        let mut found: Vec<_> = self.sent(headers).filter_map(|(nonce, at)| Some((at?, nonce))).collect();
        let is_good = |at: Timestamp| at <= now.plus(CLOCK_TOLERANCE) && now < at.plus(PENDING_LIFETIME);
        found.retain(|(at, _)| *at >= self.started && is_good(*at));
        found.sort();
        found.dedup();
        PendingSignIns(found)
    }

    /// Begins a sign-in. Expired ones are removed, and the oldest if there are too many.
    pub fn begin(&self, headers: &HeaderMap, now: Timestamp) -> Begun {
        let PendingSignIns(mut kept) = self.of(headers, now);
        kept.drain(..kept.len().saturating_sub(MAX_PENDING - 1));
        let gone = self.sent(headers).filter(|(nonce, _)| !kept.iter().any(|(_, known)| known == nonce));
        let mut cookies: Vec<_> = gone.map(|(nonce, _)| self.done(&nonce)).collect();
        let nonce = secrets::random_text();
        let value = format!("{}.{}", now.as_micros(), self.codes.csrf_token(&nonce, &began(now)));
        cookies.push(self.cookies.cookie(self.name(&nonce), value, Some(PENDING_LIFETIME)));
        Begun { nonce, cookies }
    }

    /// Removes a sign-in from the browser.
    pub fn done(&self, nonce: &str) -> Cookie<'static> {
        self.cookies.removal(self.name(nonce))
    }

    /// The id of the session that one of these sign-ins opens for a person. Tabs that finish at the same
    /// moment sent the same nonces and open the same session, so that the forms of both are
    /// valid, whichever answer the browser keeps. One of the nonces is spent with it, so no later sign-in has
    /// the same.
    pub fn session_id(&self, pending: &PendingSignIns, user: &UserId, account: &AccountId) -> String {
        let nonces: Vec<_> = pending.0.iter().map(|(_, nonce)| nonce.as_str()).collect();
        self.codes.csrf_token(&nonces.join(" "), &format!("{SESSION} {user} {account}"))
    }

    fn name(&self, nonce: &str) -> String {
        self.cookies.name(NAME) + nonce
    }

    /// Nonces, with the time of those that this server made.
    fn sent(&self, headers: &HeaderMap) -> impl Iterator<Item = (String, Option<Timestamp>)> {
        let prefix = self.cookies.name(NAME);
        sent(headers).filter_map(move |(name, value)| {
            let nonce = name.strip_prefix(&prefix)?;
            let at = value.split_once('.').and_then(|(at, code)| {
                let at = Timestamp::from_micros(at.parse().ok()?);
                self.codes.check_csrf_token(nonce, &began(at), code).then_some(at)
            });
            Some((nonce.to_owned(), at))
        })
    }
}

fn began(at: Timestamp) -> String {
    format!("{BEGAN} {}", at.as_micros())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use actix_web::http::header::{COOKIE, HeaderValue};

    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
    const SECOND: Duration = Duration::from_secs(1);

    /// What a browser keeps.
    #[derive(Clone, Default)]
    struct Jar(BTreeMap<String, String>);

    impl Jar {
        fn keep(&mut self, cookies: Vec<Cookie<'static>>) {
            for cookie in cookies {
                if cookie.max_age().is_some_and(|age| age.is_zero()) {
                    self.0.remove(cookie.name());
                } else {
                    self.0.insert(cookie.name().to_owned(), cookie.value().to_owned());
                }
            }
        }

        fn headers(&self) -> HeaderMap {
            let mut headers = HeaderMap::new();
            for (name, value) in &self.0 {
                headers.append(COOKIE, HeaderValue::from_str(&format!("{name}={value}")).unwrap());
            }
            headers
        }

        fn begin(&mut self, sign_ins: &SignIns, now: Timestamp) -> String {
            let begun = sign_ins.begin(&self.headers(), now);
            self.keep(begun.cookies);
            begun.nonce
        }
    }

    fn sign_ins() -> SignIns {
        SignIns::new(&SessionKey::new([1; 64]), true, NOW)
    }

    #[test]
    fn a_sign_in_is_pending_in_the_browser_that_set_out_until_it_is_done_or_too_old() {
        let (sign_ins, mut jar) = (sign_ins(), Jar::default());
        let nonce = jar.begin(&sign_ins, NOW);
        assert!(sign_ins.of(&jar.headers(), NOW).has(&nonce));
        assert!(!sign_ins.of(&HeaderMap::new(), NOW).has(&nonce));
        assert!(!sign_ins.of(&jar.headers(), NOW).has("another nonce"));
        let last = Timestamp::from_micros(NOW.plus(PENDING_LIFETIME).as_micros() - 1);
        assert!(sign_ins.of(&jar.headers(), last).has(&nonce));
        assert!(!sign_ins.of(&jar.headers(), NOW.plus(PENDING_LIFETIME)).has(&nonce));
        // Begun under a clock that was ahead, in a process before this one.
        let mut ahead = Jar::default();
        let far = ahead.begin(&sign_ins, NOW.plus(2 * CLOCK_TOLERANCE));
        assert!(!sign_ins.of(&ahead.headers(), NOW).has(&far));
        let mut done = jar.clone();
        done.keep(vec![sign_ins.done(&nonce)]);
        assert!(!sign_ins.of(&done.headers(), NOW).has(&nonce));
    }

    #[test]
    fn what_another_process_began_or_anybody_made_up_counts_for_nothing() {
        let (before, mut jar) = (sign_ins(), Jar::default());
        let nonce = jar.begin(&before, NOW);
        let after = SignIns::new(&SessionKey::new([1; 64]), true, NOW.plus(SECOND));
        assert!(!after.of(&jar.headers(), NOW.plus(SECOND)).has(&nonce));
        // Nor is its beginning moved to where it would count.
        let (name, value) = jar.0.pop_first().unwrap();
        let code = value.split_once('.').unwrap().1;
        for made_up in
            [format!("{}.{code}", NOW.plus(SECOND).as_micros()), format!(".{code}"), value[1..].to_owned()]
        {
            jar.0.insert(name.clone(), made_up.clone());
            assert!(!after.of(&jar.headers(), NOW.plus(SECOND)).has(&nonce), "{made_up}");
            assert!(!before.of(&jar.headers(), NOW.plus(SECOND)).has(&nonce), "{made_up}");
        }
        jar.0.insert(name.replace(&nonce, "another"), value);
        assert!(!before.of(&jar.headers(), NOW).has("another"));
    }

    #[test]
    fn tabs_do_not_overwrite_each_other_and_the_oldest_of_too_many_makes_way() {
        let (sign_ins, mut jar) = (sign_ins(), Jar::default());
        let mut other_tab = jar.clone();
        let at_once = [jar.begin(&sign_ins, NOW), other_tab.begin(&sign_ins, NOW)];
        jar.0.extend(other_tab.0);
        assert!(at_once.iter().all(|nonce| sign_ins.of(&jar.headers(), NOW).has(nonce)));
        let later: Vec<_> =
            (0..MAX_PENDING).map(|at| jar.begin(&sign_ins, NOW.plus(SECOND * (at as u32 + 1)))).collect();
        let now = NOW.plus(SECOND * 60);
        assert!(!at_once.iter().any(|nonce| sign_ins.of(&jar.headers(), now).has(nonce)));
        assert!(later.iter().all(|nonce| sign_ins.of(&jar.headers(), now).has(nonce)));
        assert_eq!(jar.0.len(), MAX_PENDING, "the browser forgets the others");
    }

    #[test]
    fn tabs_that_come_back_at_once_open_one_session_and_no_later_one_is_the_same() {
        let (sign_ins, mut jar) = (sign_ins(), Jar::default());
        let (user, account) = ("ana".parse().unwrap(), "acme".parse().unwrap());
        let id = |jar: &Jar| sign_ins.session_id(&sign_ins.of(&jar.headers(), NOW), &user, &account);
        let (first, _) = (jar.begin(&sign_ins, NOW), jar.begin(&sign_ins, NOW));
        let at_once = id(&jar);
        assert_eq!(at_once, id(&jar));
        let ben = "ben".parse().unwrap();
        assert_ne!(at_once, sign_ins.session_id(&sign_ins.of(&jar.headers(), NOW), &ben, &account));
        jar.keep(vec![sign_ins.done(&first)]);
        assert_ne!(at_once, id(&jar));
        jar.begin(&sign_ins, NOW);
        assert_ne!(at_once, id(&jar));
    }
}
