//! The session of one browser. Knows: the cookie it rests in and who is signed in there. Must not know:
//! how the person signed in, or what the session is good for.
//!
//! The cookie is encrypted and authenticated, so that neither the person nor anything that reads cookies
//! from a disk learns or changes what is in it. It is the whole session: the server keeps nothing, and
//! a copy of a cookie is good until the lifetime ends, even after its owner signed out. Lifetimes are
//! therefore short, and end by this server's clock, whatever the browser does.

use std::fmt;
use std::time::Duration;

use actix_session::config::{
    BrowserSession, CookieContentSecurity, PersistentSession, SessionLifecycle, TtlExtensionPolicy,
};
use actix_session::storage::CookieSessionStore;
use actix_session::{Session, SessionMiddleware};
use actix_web::cookie::{Key, SameSite, time};
use grantbook_events::{AccountId, Timestamp, UserId};
use serde::{Deserialize, Serialize};

use super::SessionKey;
use crate::secrets;

/// How far in the future a session may have begun: another node's clock may be ahead of ours.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Where the session keeps who is signed in.
const SIGNED_IN: &str = "signed_in";
/// Where the session keeps the id of a browser in which nobody is signed in.
const VISIT: &str = "visit";

/// How session cookies are set.
#[derive(Debug, Clone, Copy)]
pub struct CookieOptions {
    /// Whether people reach this server by https: the cookie is then `Secure` and named `__Host-…`, which
    /// no other host and no plain-text connection can set.
    pub https: bool,
    /// How long a sign-in lasts.
    pub lifetime: Duration,
    /// Whether the cookie outlives the browser's window. If not, it goes with the window, and with the
    /// lifetime at the latest.
    pub persistent: bool,
}

/// The middleware that reads and sets the session cookie: `HttpOnly`, `SameSite=Lax`, for the whole of
/// this host and no other.
pub fn middleware(key: &SessionKey, options: CookieOptions) -> SessionMiddleware<CookieSessionStore> {
    let lifetime = time::Duration::try_from(options.lifetime).unwrap_or(time::Duration::MAX);
    let lifecycle: SessionLifecycle = if options.persistent {
        PersistentSession::default()
            .session_ttl(lifetime)
            .session_ttl_extension_policy(TtlExtensionPolicy::OnStateChanges)
            .into()
    } else {
        BrowserSession::default().state_ttl(lifetime).into()
    };
    let mut cookie_key = [0; 64];
    let (signing, encryption) = cookie_key.split_at_mut(32);
    signing.copy_from_slice(key.derive("grantbook session cookie, signing, v1").as_slice());
    encryption.copy_from_slice(key.derive("grantbook session cookie, encryption, v1").as_slice());
    SessionMiddleware::builder(CookieSessionStore::default(), Key::from(&cookie_key))
        .cookie_name(cookie_name(options.https).to_owned())
        .cookie_secure(options.https)
        .cookie_http_only(true)
        .cookie_same_site(SameSite::Lax)
        .cookie_path("/".to_owned())
        .cookie_domain(None)
        .cookie_content_security(CookieContentSecurity::Private)
        .session_lifecycle(lifecycle)
        .build()
}

/// The name of the session cookie.
pub const fn cookie_name(https: bool) -> &'static str {
    if https { "__Host-grantbook" } else { "grantbook" }
}

/// Who is signed in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// The person.
    pub user: UserId,
    /// The account they act for.
    pub account: AccountId,
    /// Random, new at every sign-in. Forms are bound to it; it is never shown or logged.
    pub session_id: String,
    /// When they signed in.
    pub since: Timestamp,
}

impl fmt::Debug for SignedIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignedIn")
            .field("user", &self.user)
            .field("account", &self.account)
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}

/// The session could not be written.
#[derive(Debug, thiserror::Error)]
#[error("the session cannot be written: {0}")]
pub struct SessionError(#[from] actix_session::SessionInsertError);

/// Who is signed in here, if the sign-in is no older than `lifetime`.
pub fn signed_in(session: &Session, now: Timestamp, lifetime: Duration) -> Option<SignedIn> {
    // What does not read as a sign-in was written by another version: nobody is signed in.
    let signed_in: SignedIn = session.get(SIGNED_IN).ok().flatten()?;
    let begun = signed_in.since <= now.plus(CLOCK_TOLERANCE);
    let over = signed_in.since.plus(lifetime) <= now;
    (begun && !over).then_some(signed_in)
}

/// Signs a person in. Everything the session held before is forgotten and it gets a new id, so that
/// nothing planted in the browser before the sign-in has a part in what comes after.
pub fn establish(
    session: &Session,
    user: UserId,
    account: AccountId,
    now: Timestamp,
) -> Result<SignedIn, SessionError> {
    let signed_in = SignedIn { user, account, session_id: secrets::random_text(), since: now };
    session.clear();
    session.renew();
    session.insert(SIGNED_IN, &signed_in)?;
    Ok(signed_in)
}

/// Signs out: the cookie is removed from the browser.
pub fn end(session: &Session) {
    session.purge();
}

/// An id for a browser in which nobody is signed in, to bind the sign-in form to; made at the first call.
pub fn visit(session: &Session) -> Result<String, SessionError> {
    if let Ok(Some(id)) = session.get(VISIT) {
        return Ok(id);
    }
    let id = secrets::random_text();
    session.insert(VISIT, &id)?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_session::SessionExt as _;
    use actix_web::cookie::Cookie;
    use actix_web::{App, HttpResponse, test, web};

    const LIFETIME: Duration = Duration::from_secs(3600);
    const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);

    async fn sign_in(session: Session) -> HttpResponse {
        establish(&session, "ana".parse().unwrap(), "acme".parse().unwrap(), NOW).unwrap();
        HttpResponse::Ok().finish()
    }

    async fn sign_out(session: Session) -> HttpResponse {
        end(&session);
        HttpResponse::Ok().finish()
    }

    async fn who(session: Session) -> String {
        signed_in(&session, NOW, LIFETIME).map_or_else(String::new, |who| format!("{who:?}"))
    }

    /// One browser's exchange with a server of its own: the answer's body and cookie.
    async fn ask(
        key: &SessionKey,
        options: CookieOptions,
        path: &str,
        cookie: Option<Cookie<'static>>,
    ) -> (String, Option<Cookie<'static>>) {
        let app = test::init_service(
            App::new()
                .wrap(middleware(key, options))
                .route("/in", web::get().to(sign_in))
                .route("/out", web::get().to(sign_out))
                .route("/who", web::get().to(who)),
        )
        .await;
        let mut request = test::TestRequest::get().uri(path);
        if let Some(cookie) = cookie {
            request = request.cookie(cookie);
        }
        let response = test::call_service(&app, request.to_request()).await;
        let set = response.response().cookies().next().map(Cookie::into_owned);
        (String::from_utf8(test::read_body(response).await.to_vec()).unwrap(), set)
    }

    fn options() -> CookieOptions {
        CookieOptions { https: true, lifetime: LIFETIME, persistent: false }
    }

    #[tokio::test]
    async fn the_cookie_is_host_bound_http_only_lax_and_opaque() {
        let key = SessionKey::new([1; 64]);
        let cookie = ask(&key, options(), "/in", None).await.1.unwrap();
        assert_eq!(cookie.name(), "__Host-grantbook");
        assert_eq!(cookie.secure(), Some(true));
        assert_eq!(cookie.http_only(), Some(true));
        assert_eq!(cookie.same_site(), Some(SameSite::Lax));
        assert_eq!((cookie.path(), cookie.domain(), cookie.max_age()), (Some("/"), None, None));
        assert!(!cookie.value().contains("acme"), "{cookie}");

        let plain = CookieOptions { https: false, persistent: true, ..options() };
        let cookie = ask(&key, plain, "/in", None).await.1.unwrap();
        assert_eq!((cookie.name(), cookie.secure()), ("grantbook", None));
        assert_eq!(cookie.max_age(), Some(time::Duration::hours(1)));
    }

    #[tokio::test]
    async fn a_signed_in_person_is_known_until_they_sign_out() {
        let key = SessionKey::new([1; 64]);
        let cookie = ask(&key, options(), "/in", None).await.1;
        let (body, _) = ask(&key, options(), "/who", cookie.clone()).await;
        assert!(body.contains("UserId(ana)") && body.contains("AccountId(acme)"), "{body}");
        let removed = ask(&key, options(), "/out", cookie).await.1.unwrap();
        assert_eq!((removed.value(), removed.secure()), ("", Some(true)));
        assert_eq!(removed.max_age(), Some(time::Duration::ZERO));
    }

    #[tokio::test]
    async fn another_key_or_a_changed_byte_means_nobody_is_signed_in() {
        let key = SessionKey::new([1; 64]);
        let cookie = ask(&key, options(), "/in", None).await.1.unwrap();
        assert_eq!(ask(&SessionKey::new([2; 64]), options(), "/who", Some(cookie.clone())).await.0, "");
        for at in [0, cookie.value().len() / 2, cookie.value().len() - 2] {
            let mut value = cookie.value().to_owned().into_bytes();
            value[at] = if value[at] == b'A' { b'B' } else { b'A' };
            let changed = Cookie::new(cookie.name().to_owned(), String::from_utf8(value).unwrap());
            assert_eq!(ask(&key, options(), "/who", Some(changed)).await.0, "", "byte {at}");
        }
    }

    fn session() -> Session {
        test::TestRequest::default().to_srv_request().get_session()
    }

    #[tokio::test]
    async fn an_old_sign_in_is_refused_whatever_the_browser_kept() {
        let session = session();
        establish(&session, "ana".parse().unwrap(), "acme".parse().unwrap(), NOW).unwrap();
        let last = Timestamp::from_micros(NOW.plus(LIFETIME).as_micros() - 1);
        assert!(signed_in(&session, last, LIFETIME).is_some());
        assert!(signed_in(&session, NOW.plus(LIFETIME), LIFETIME).is_none());
        let much_earlier = Timestamp::from_micros(NOW.as_micros() - 3_600_000_000);
        assert!(signed_in(&session, much_earlier, LIFETIME).is_none());
    }

    #[tokio::test]
    async fn nothing_from_before_the_sign_in_survives_it() {
        let session = session();
        let visit_before = visit(&session).unwrap();
        assert_eq!(visit(&session).unwrap(), visit_before);
        let first = establish(&session, "ana".parse().unwrap(), "acme".parse().unwrap(), NOW).unwrap();
        assert_ne!(visit(&session).unwrap(), visit_before);
        let second = establish(&session, "ana".parse().unwrap(), "acme".parse().unwrap(), NOW).unwrap();
        assert_ne!(first.session_id, second.session_id);
        assert!(!format!("{second:?}").contains(&second.session_id));
    }
}
