//! The host's answer. Knows: what a JWT must say to be believed. Must not know: whether it was asked for.

use grantbook_events::{AccountId, Timestamp, UserId};
use jsonwebtoken::errors::ErrorKind;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Handoff;
use crate::identity::session::{AccountRole, Person};

/// The longest answer that is read, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest name that is shown, in characters. It is kept in a cookie, which has some 4 KB.
const MAX_SHOWN_CHARS: usize = 100;
/// How far ahead of ours the host's clock may be, in seconds.
const LEEWAY_SECS: i64 = 30;

/// Who the host says is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub person: Person,
    /// Names the sign-in that is answered.
    pub nonce: String,
}

/// An answer that is right in itself and was not compared with what is pending yet.
pub(super) struct Assertion {
    pub(super) arrived: Arrived,
    pub(super) jti: String,
    /// Seconds since 1970.
    pub(super) exp: i64,
}

/// Why an answer is refused. `Display` is the reason, for the log; [`HandoffError::sentence`] is for the person.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    /// It is not what the configuration says an answer is.
    #[error("the answer{0}")]
    Wrong(String),
    #[error("the answer expired {0} s ago")]
    Expired(i64),
    /// Not asked for by this browser, or spent, or too long ago, or before this process started.
    #[error(
        "the answer's `request` is not pending in this browser, or has been since before this server started"
    )]
    NotPending,
    #[error("the answer was used before (its `jti` is known)")]
    Reused,
    /// More answers at once than can be remembered. None is accepted that could be accepted twice.
    #[error("too many answers are within their lifetime to remember another")]
    TooMany,
}

impl HandoffError {
    /// Whether this came too late or once too often, and the person may be where they wanted to be.
    pub fn may_be_done(&self) -> bool {
        matches!(self, Self::NotPending | Self::Reused | Self::Expired(_))
    }

    /// For the person: plain, and nothing that only the operator should know.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::NotPending | Self::Reused => {
                "This sign-in is done already, took more than half an hour, or was started in another browser."
            }
            Self::Expired(_) => "This sign-in took too long on its way back.",
            Self::TooMany => "Too many people sign in at this moment.",
            Self::Wrong(_) => {
                "What your platform said about you could not be accepted. If it happens again, tell the people \
                 who run this site."
            }
        }
    }
}

/// Refuses an answer, with what is wrong as words that continue "the answer".
fn wrong<T>(why: impl Into<String>) -> Result<T, HandoffError> {
    Err(HandoffError::Wrong(why.into()))
}

/// What an answer says. A claim that is null is absent.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Value,
    iat: Seconds,
    nbf: Option<Seconds>,
    exp: Seconds,
    sub: UserId,
    account: AccountId,
    request: Text,
    jti: Text,
    #[serde(default, deserialize_with = "shown")]
    name: Option<String>,
    #[serde(default, deserialize_with = "shown")]
    account_name: Option<String>,
    role: Option<AccountRole>,
}

/// A `NumericDate` (RFC 7519 section 2): seconds since 1970, which some libraries write with a fraction.
#[derive(Deserialize)]
#[serde(try_from = "f64")]
struct Seconds(i64);

impl TryFrom<f64> for Seconds {
    type Error = &'static str;

    fn try_from(seconds: f64) -> Result<Self, Self::Error> {
        /// Far beyond any date and far below where a double or an `i64` loses a second.
        const BOUND: f64 = 1e12;
        // Bounded, so that the cast only drops the fraction.
        let is_time = seconds.abs() <= BOUND;
        is_time.then(|| Self(seconds.floor() as i64)).ok_or("it must be a number of seconds since 1970")
    }
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Text(String);

impl TryFrom<String> for Text {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.is_empty() { Err("it must be a text that is not empty") } else { Ok(Self(text)) }
    }
}

/// A text that is only shown. People choose their names, so one that is too long or holds what cannot be shown
/// is no reason to keep its owner out: it is cut, and what is left of it is shown.
fn shown<'de, D: Deserializer<'de>>(text: D) -> Result<Option<String>, D::Error> {
    let text = Option::<String>::deserialize(text)?.unwrap_or_default();
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    let shown = words.collect::<Vec<_>>().join(" ").chars().take(MAX_SHOWN_CHARS).collect::<String>();
    Ok(Some(shown).filter(|text| !text.is_empty()))
}

impl Handoff {
    /// What a token says, or why it is refused.
    pub(super) fn read(
        &self,
        our_issuer: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Assertion, HandoffError> {
        let claims = self.verified_claims(token)?;
        if claims.iss != self.issuer {
            return wrong(format!("'s `iss` is {:?}, and {:?} is configured", claims.iss, self.issuer));
        }
        // Others could replay an answer that is also for them.
        let is_for_us_alone = match &claims.aud {
            Value::Array(audiences) => matches!(&audiences[..], [only] if only == our_issuer),
            only => only == our_issuer,
        };
        if !is_for_us_alone {
            return wrong(format!("'s `aud` is {}, and must be {our_issuer:?} alone", claims.aud));
        }
        self.check_times(&claims, now)?;
        let Claims { exp, sub: user, account, request, jti, name, account_name, role, .. } = claims;
        let person = Person { user, account, name, account_name, role: role.unwrap_or_default() };
        Ok(Assertion { arrived: Arrived { person, nonce: request.0 }, jti: jti.0, exp: exp.0 })
    }

    fn verified_claims(&self, token: &str) -> Result<Claims, HandoffError> {
        if token.len() > MAX_TOKEN_BYTES {
            return wrong(format!(" is not a JWT: it is longer than {MAX_TOKEN_BYTES} bytes"));
        }
        // The header is only believed as far as it agrees with the configuration: the algorithm and the
        // key are chosen there and nowhere else.
        let header =
            jsonwebtoken::decode_header(token).or_else(|error| wrong(format!(" is not a JWT: {error}")))?;
        let algorithm = self.key.algorithm();
        if header.alg != algorithm {
            return wrong(format!(" is signed with {:?}, and {algorithm:?} is configured", header.alg));
        }
        if header.crit.is_some() {
            return wrong("'s header says `crit`, and grantbook understands no extension");
        }
        let mut validation = jsonwebtoken::Validation::new(algorithm);
        // Each claim is checked here, with a reason of its own and by the time in the call.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = jsonwebtoken::decode::<Value>(token, self.key.decoding_key(), &validation);
        let verified = decoded.or_else(|error| match error.kind() {
            ErrorKind::InvalidSignature => wrong("'s signature does not match the configured key"),
            _ => wrong(format!(" is not a JWT: {error}")),
        })?;
        serde_path_to_error::deserialize(verified.claims)
            .or_else(|error| wrong(format!("'s claims are wrong: {error}")))
    }

    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<(), HandoffError> {
        let (now, iat, exp) = (now.as_secs(), claims.iat.0, claims.exp.0);
        for (claim, time) in [("iat", iat), ("nbf", claims.nbf.as_ref().map_or(iat, |nbf| nbf.0))] {
            let ahead = time.saturating_sub(now);
            if ahead > LEEWAY_SECS {
                return wrong(format!(
                    "'s `{claim}` is {ahead} s ahead of this server's clock; at most {LEEWAY_SECS} s are taken"
                ));
            }
        }
        let lifetime = exp.saturating_sub(iat);
        let allowed = self.max_age.as_secs();
        if !u64::try_from(lifetime).is_ok_and(|lifetime| (1..=allowed).contains(&lifetime)) {
            return wrong(format!(
                " is good for {lifetime} s (`exp` minus `iat`), and must be for 1 to {allowed} s"
            ));
        }
        if now >= exp { Err(HandoffError::Expired(now.saturating_sub(exp))) } else { Ok(()) }
    }
}
