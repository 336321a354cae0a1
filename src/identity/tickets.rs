//! Proof that a form was made by this server for this session. Knows: signatures, sessions by their id,
//! expiry. Must not know: what the forms ask.
//!
//! A *ticket* carries what a form was made for through the browser and back, signed and expiring; the
//! server keeps nothing. A *CSRF token* carries nothing and only proves the session. Both are bound to
//! the session and to the kind of form, so that neither a form made for another person nor one made for
//! another question is taken.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantbook_events::Timestamp;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::SessionKey;

/// The longest that any ticket is good for.
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How far another node's clock may be ahead of ours.
pub const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Makes and checks tickets and CSRF tokens.
#[derive(Clone)]
pub struct Tickets {
    key: Zeroizing<[u8; 64]>,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(…)")
    }
}

/// Why a ticket is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not made by this server for this kind of form, or changed since.
    #[error("this form was not made by this server, or was changed on its way")]
    Malformed,
    /// Made for another session: somebody else's, or from before the last sign-in.
    #[error("this form was made for another session; open the page again")]
    WrongSession,
    /// Too old; or made by a clock that was ahead of this one, so that nobody knows how old it is.
    #[error("this form is too old; open the page again")]
    Expired,
}

/// What a browser is to carry cannot be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("a ticket or a session cannot be written: {0}")]
pub struct SealError(#[from] serde_json::Error);

/// What a signature is for: what is signed as one kind is never taken as the other.
#[derive(Clone, Copy)]
enum Kind {
    Ticket,
    CsrfToken,
}

/// What a ticket says.
#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    /// Seconds since 1970.
    expires: i64,
    /// A digest of the session id: the ticket may show up in a page's source, the id must not.
    session: String,
    claims: T,
}

impl Tickets {
    /// With a key of their own, derived from the session key.
    pub fn new(key: &SessionKey) -> Self {
        Self { key: key.derive("grantbook forms, v2") }
    }

    /// Signs what a form of this kind was made for. URL-safe text; readable by the person, so no secrets.
    /// Good until `expires_at`, to the second below; for [`LONGEST_LIFETIME`] at most.
    pub fn seal<T: Serialize>(
        &self,
        purpose: &str,
        session_id: &str,
        claims: &T,
        expires_at: Timestamp,
    ) -> Result<String, SealError> {
        let sealed = Sealed { expires: expires_at.as_secs(), session: digest(session_id), claims };
        let content = serde_json::to_vec(&sealed)?;
        let signature = self.sign(Kind::Ticket, purpose, &content).finalize().into_bytes();
        Ok(format!("{}.{}", URL_SAFE_NO_PAD.encode(content), URL_SAFE_NO_PAD.encode(signature)))
    }

    /// What a form of this kind was made for, if it was made here, for this session, and is not too old.
    pub fn open<T: DeserializeOwned>(
        &self,
        purpose: &str,
        session_id: &str,
        ticket: &str,
        now: Timestamp,
    ) -> Result<T, TicketError> {
        let sealed: Sealed<T> = self.sealed(purpose, ticket).ok_or(TicketError::Malformed)?;
        if sealed.session != digest(session_id) {
            return Err(TicketError::WrongSession);
        }
        let latest = now.plus(LONGEST_LIFETIME).plus(CLOCK_TOLERANCE).as_secs();
        if now.as_secs() >= sealed.expires || sealed.expires > latest {
            return Err(TicketError::Expired);
        }
        Ok(sealed.claims)
    }

    /// What a form of this kind was made for, in whatever session and however long ago: good to ask the same
    /// again, and for no decision.
    pub fn made_for<T: DeserializeOwned>(&self, purpose: &str, ticket: &str) -> Option<T> {
        self.sealed(purpose, ticket).map(|sealed| sealed.claims)
    }

    fn sealed<T: DeserializeOwned>(&self, purpose: &str, ticket: &str) -> Option<Sealed<T>> {
        let (content, signature) = ticket.split_once('.')?;
        let content = URL_SAFE_NO_PAD.decode(content).ok()?;
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        self.sign(Kind::Ticket, purpose, &content).verify_slice(&signature).ok()?;
        serde_json::from_slice(&content).ok()
    }

    /// A token for a form that needs no ticket. Good as long as the session.
    pub fn csrf_token(&self, session_id: &str, form: &str) -> String {
        let signature = self.sign(Kind::CsrfToken, form, session_id.as_bytes()).finalize();
        URL_SAFE_NO_PAD.encode(signature.into_bytes())
    }

    /// Whether a form of this kind was made here for this session; compared in constant time.
    pub fn check_csrf_token(&self, session_id: &str, form: &str, token: &str) -> bool {
        let signature = self.sign(Kind::CsrfToken, form, session_id.as_bytes());
        URL_SAFE_NO_PAD.decode(token).is_ok_and(|token| signature.verify_slice(&token).is_ok())
    }

    fn sign(&self, kind: Kind, purpose: &str, content: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new((&*self.key).into());
        mac.update(&[kind as u8]);
        // The length keeps the end of one from being the start of the other.
        mac.update(&(purpose.len() as u64).to_be_bytes());
        mac.update(purpose.as_bytes());
        mac.update(content);
        mac
    }
}

fn digest(session_id: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(session_id.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Asked {
        state: Option<String>,
        scopes: Vec<String>,
    }

    fn asked() -> Asked {
        Asked { state: Some("é+%\u{0}".repeat(700)), scopes: vec!["widgets".into()] }
    }

    fn tickets() -> Tickets {
        Tickets::new(&SessionKey::new([3; 64]))
    }

    fn later() -> Timestamp {
        NOW.plus(Duration::from_secs(600))
    }

    #[test]
    fn a_ticket_carries_its_claims_back_as_url_safe_text() {
        let ticket = tickets().seal("consent", "session-1", &asked(), later()).unwrap();
        assert!(ticket.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        assert_eq!(tickets().open("consent", "session-1", &ticket, NOW), Ok(asked()));
    }

    #[test]
    fn a_ticket_is_bound_to_its_session_its_purpose_and_its_key() {
        let ticket = tickets().seal("consent", "session-1", &asked(), later()).unwrap();
        let open = |tickets: &Tickets, purpose, session| {
            tickets.open::<Asked>(purpose, session, &ticket, NOW).unwrap_err()
        };
        assert_eq!(open(&tickets(), "consent", "session-2"), TicketError::WrongSession);
        assert_eq!(open(&tickets(), "uninstall", "session-1"), TicketError::Malformed);
        let others = Tickets::new(&SessionKey::new([4; 64]));
        assert_eq!(open(&others, "consent", "session-1"), TicketError::Malformed);
        assert!(!ticket.contains("session-1"));
    }

    #[test]
    fn a_ticket_expires_by_the_time_it_is_given() {
        let ticket = tickets().seal("consent", "s", &asked(), later()).unwrap();
        let last = Timestamp::from_micros(later().as_micros() - 1);
        assert!(tickets().open::<Asked>("consent", "s", &ticket, last).is_ok());
        assert_eq!(tickets().open::<Asked>("consent", "s", &ticket, later()), Err(TicketError::Expired));
        // What it asked is known all the same, if this server made it.
        assert_eq!(tickets().made_for("consent", &ticket), Some(asked()));
        assert_eq!(tickets().made_for::<Asked>("uninstall", &ticket), None);
        let others = Tickets::new(&SessionKey::new([4; 64]));
        assert_eq!(others.made_for::<Asked>("consent", &ticket), None);
    }

    #[test]
    fn a_ticket_does_not_live_longer_because_the_clock_was_set_back() {
        let ticket = tickets().seal("consent", "s", &asked(), later()).unwrap();
        let before = |seconds: i64| Timestamp::from_micros(NOW.as_micros() - seconds * 1_000_000);
        assert!(tickets().open::<Asked>("consent", "s", &ticket, before(60)).is_ok(), "another node's clock");
        for seconds in [61, 3600] {
            let refused = tickets().open::<Asked>("consent", "s", &ticket, before(seconds));
            assert_eq!(refused, Err(TicketError::Expired), "{seconds}");
        }
    }

    #[test]
    fn a_changed_ticket_is_refused_wherever_it_was_changed() {
        let ticket = tickets().seal("consent", "s", &asked(), later()).unwrap();
        // The first byte and every 97th, across content and signature.
        for at in (0..ticket.len()).step_by(97) {
            let mut changed = ticket.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(
                tickets().open::<Asked>("consent", "s", &changed, NOW),
                Err(TicketError::Malformed),
                "byte {at}"
            );
        }
        for nonsense in ["", ".", "..", "a.b.c", &"A".repeat(10_000)] {
            assert_eq!(tickets().open::<Asked>("consent", "s", nonsense, NOW), Err(TicketError::Malformed));
        }
    }

    #[test]
    fn an_unsigned_ticket_is_refused_and_one_with_another_signature() {
        let ticket = tickets().seal("consent", "s", &asked(), later()).unwrap();
        let (content, _) = ticket.split_once('.').unwrap();
        let others = tickets().csrf_token("s", "consent");
        for unsigned in [content.to_owned(), format!("{content}."), format!("{content}.{others}")] {
            let refused = tickets().open::<Asked>("consent", "s", &unsigned, NOW);
            assert_eq!(refused, Err(TicketError::Malformed), "{unsigned}");
        }
        // What is signed as a CSRF token is no ticket, even if it reads as one.
        let json = String::from_utf8(URL_SAFE_NO_PAD.decode(content).unwrap()).unwrap();
        let crossed = format!("{content}.{}", tickets().csrf_token(&json, "consent"));
        assert_eq!(tickets().open::<Asked>("consent", "s", &crossed, NOW), Err(TicketError::Malformed));
    }

    #[test]
    fn a_csrf_token_is_bound_to_its_session_and_its_form() {
        let tickets = tickets();
        let token = tickets.csrf_token("session-1", "uninstall");
        assert!(tickets.check_csrf_token("session-1", "uninstall", &token));
        assert!(!tickets.check_csrf_token("session-2", "uninstall", &token));
        assert!(!tickets.check_csrf_token("session-1", "revoke", &token));
        assert!(!tickets.check_csrf_token("session-1u", "ninstall", &token));
        assert!(!tickets.check_csrf_token("session-1", "uninstall", ""));
        assert!(!tickets.check_csrf_token("session-1", "uninstall", &token[..42]));
        assert!(!Tickets::new(&SessionKey::new([4; 64])).check_csrf_token("session-1", "uninstall", &token));
    }
}
