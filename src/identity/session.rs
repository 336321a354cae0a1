//! The session of one browser. Knows: its cookie and who is signed in there. Must not know:
//! how the person signed in, or what the session is good for.
//!
//! The cookie is encrypted and authenticated, so that neither the person nor anything that reads cookies
//! from a disk learns or changes what is in it. It is the whole session: the server keeps nothing, and
//! a copy of a cookie is good until the lifetime ends, even after its owner signed out. Lifetimes are
//! therefore short, and end by this server's clock, whatever the browser does.
//!
//! It is set when a person signs in, removed when they sign out, and never otherwise: a page that
//! is answered late cannot undo a sign-in.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use actix_web::cookie::Cookie;
use actix_web::http::header::HeaderMap;
use grantbook_events::{AccountId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::cookies::{OurCookies, only};
use super::tickets::{CLOCK_TOLERANCE, SealError};
use super::{Sealer, SessionKey};

/// The name of the cookie.
const NAME: &str = "grantbook";

/// Reads and writes session cookies.
#[derive(Debug, Clone)]
pub struct Sessions {
    cookies: OurCookies,
    sealer: Sealer,
}

/// A person, as the sign-in names them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    pub user: UserId,
    /// The account they act for.
    pub account: AccountId,
    /// Names are shown to the person and recorded nowhere.
    pub name: Option<String>,
    pub account_name: Option<String>,
    pub role: AccountRole,
}

/// What a person is on their account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccountRole {
    /// One of its users.
    #[default]
    Member,
    /// One who decides for all of them.
    Admin,
}

impl Person {
    /// The user by name and id, or by id alone.
    pub fn user_in_words(&self) -> String {
        in_words(self.name.as_deref(), self.user.as_str())
    }

    /// The account by name and id, or by id alone.
    pub fn account_in_words(&self) -> String {
        in_words(self.account_name.as_deref(), self.account.as_str())
    }

    /// Whether this is that user of that account.
    pub fn is(&self, user: &UserId, account: &AccountId) -> bool {
        (&self.user, &self.account) == (user, account)
    }
}

/// A name is not unique and the platform may let people choose it, so the id is always there.
fn in_words(name: Option<&str>, id: &str) -> String {
    name.map_or_else(|| id.to_owned(), |name| format!("{name} ({id})"))
}

/// Who is signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    #[serde(flatten)]
    pub person: Person,
    /// Random. Forms are bound to it; it is never shown or logged.
    pub session_id: String,
    /// When they signed in.
    pub since: Timestamp,
}

impl Deref for SignedIn {
    type Target = Person;

    fn deref(&self) -> &Person {
        &self.person
    }
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("user", &self.person.user)
            .field("account", &self.person.account)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// Sessions under this key.
    pub fn new(key: &SessionKey, https: bool) -> Self {
        Self { cookies: OurCookies { https }, sealer: Sealer::new(key, "grantbook session cookie, v2") }
    }

    /// Who is signed in at the browser that sent these headers, if the sign-in is no older than `lifetime`.
    pub fn signed_in(&self, headers: &HeaderMap, now: Timestamp, lifetime: Duration) -> Option<SignedIn> {
        let signed_in = self.read(headers)?;
        // One that began later was begun by a clock that was ahead of this one: its age is unknown.
        let begun = signed_in.since <= now.plus(CLOCK_TOLERANCE);
        let over = signed_in.since.plus(lifetime) <= now;
        (begun && !over).then_some(signed_in)
    }

    /// A value that is no session was written by another program or version: then no one is signed in.
    fn read(&self, headers: &HeaderMap) -> Option<SignedIn> {
        let name = self.cookies.name(NAME);
        let plain = self.sealer.open(&name, only(headers, &name)?)?;
        serde_json::from_str(&plain).ok()
    }

    /// The cookie that signs a person in. It ends with the browser's window.
    ///
    /// # Errors
    /// If the session cannot be written as JSON.
    pub fn cookie(&self, signed_in: &SignedIn) -> Result<Cookie<'static>, SealError> {
        let (name, plain) = (self.cookies.name(NAME), serde_json::to_string(signed_in)?);
        let sealed = self.sealer.seal(&name, plain);
        Ok(self.cookies.cookie(name, sealed, None))
    }

    /// The cookie that signs a browser out.
    pub fn removal(&self) -> Cookie<'static> {
        self.cookies.removal(self.cookies.name(NAME))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::cookie::SameSite;
    use actix_web::test::TestRequest;

    const LIFETIME: Duration = Duration::from_secs(3600);
    const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);

    fn sessions(https: bool) -> Sessions {
        Sessions::new(&SessionKey::new([1; 64]), https)
    }

    fn ana() -> SignedIn {
        SignedIn {
            person: Person {
                user: "ana".parse().unwrap(),
                account: "acme".parse().unwrap(),
                name: Some("Ana Torres".to_owned()),
                account_name: None,
                role: AccountRole::Admin,
            },
            session_id: "secret".to_owned(),
            since: NOW,
        }
    }

    /// Who the headers of a browser with this cookie say is there.
    fn who_at(sessions: &Sessions, cookie: &str, now: Timestamp) -> Option<SignedIn> {
        let request = TestRequest::default().insert_header(("cookie", cookie)).to_http_request();
        sessions.signed_in(request.headers(), now, LIFETIME)
    }

    fn who(sessions: &Sessions, cookie: &str) -> Option<SignedIn> {
        who_at(sessions, cookie, NOW)
    }

    #[test]
    fn the_cookie_is_host_bound_http_only_lax_and_opaque() {
        let cookie = sessions(true).cookie(&ana()).unwrap();
        assert_eq!(cookie.name(), "__Host-grantbook");
        assert_eq!(cookie.secure(), Some(true));
        assert_eq!(cookie.http_only(), Some(true));
        assert_eq!(cookie.same_site(), Some(SameSite::Lax));
        assert_eq!((cookie.path(), cookie.domain(), cookie.max_age()), (Some("/"), None, None));
        assert!(!cookie.value().contains("acme"), "{cookie}");
        // Nothing in it needs an encoding that a browser or a proxy might undo.
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte);
        assert!(cookie.value().bytes().all(plain), "{cookie}");

        let cookie = sessions(false).cookie(&ana()).unwrap();
        assert_eq!((cookie.name(), cookie.secure()), ("grantbook", Some(false)));
        assert!(!cookie.to_string().contains("Secure"));
    }

    #[test]
    fn a_signed_in_person_is_known_until_they_sign_out() {
        let cookie = sessions(true).cookie(&ana()).unwrap();
        assert_eq!(who(&sessions(true), &cookie.stripped().to_string()), Some(ana()));
        let removal = sessions(true).removal();
        assert_eq!((removal.name(), removal.value(), removal.secure()), (cookie.name(), "", Some(true)));
        assert_eq!(removal.max_age(), Some(actix_web::cookie::time::Duration::ZERO));
    }

    #[test]
    fn another_key_or_name_or_a_changed_byte_means_nobody_is_signed_in() {
        let cookie = sessions(true).cookie(&ana()).unwrap();
        let sent = cookie.stripped().to_string();
        assert_eq!(who(&Sessions::new(&SessionKey::new([2; 64]), true), &sent), None);
        // The name is part of what is sealed.
        assert_eq!(who(&sessions(false), &format!("grantbook={}", cookie.value())), None);
        for at in [0, cookie.value().len() / 2, cookie.value().len() - 2] {
            let mut value = cookie.value().to_owned().into_bytes();
            value[at] = if value[at] == b'A' { b'B' } else { b'A' };
            let changed = format!("{}={}", cookie.name(), String::from_utf8(value).unwrap());
            assert_eq!(who(&sessions(true), &changed), None, "byte {at}");
        }
    }

    #[test]
    fn a_name_never_stands_without_the_id() {
        assert_eq!(ana().user_in_words(), "Ana Torres (ana)");
        assert_eq!(ana().account_in_words(), "acme");
    }

    #[test]
    fn an_old_sign_in_is_refused_whatever_the_browser_kept() {
        let cookie = sessions(true).cookie(&ana()).unwrap().stripped().to_string();
        let who = |now| who_at(&sessions(true), &cookie, now);
        let last = Timestamp::from_micros(NOW.plus(LIFETIME).as_micros() - 1);
        assert!(who(last).is_some());
        assert!(who(NOW.plus(LIFETIME)).is_none());
        let much_earlier = Timestamp::from_micros(NOW.as_micros() - 3_600_000_000);
        assert!(who(much_earlier).is_none());
        assert!(!format!("{:?}", ana()).contains("secret"));
    }
}
