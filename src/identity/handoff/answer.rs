//! The host's answer. Knows: what a JWT must say to be believed. Must not know: whether it was asked for.

use std::fmt;

use grantbook_events::{IdError, Timestamp};
use serde_json::{Map, Value};

use super::Handoff;
use crate::identity::session::{AccountRole, Person};

/// The longest answer that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// The longest name that is shown, in characters. It is kept in a cookie, which has some 4 KB.
const MAX_SHOWN_CHARS: usize = 100;
/// How far ahead of ours the host's clock may be, in seconds.
const LEEWAY_SECS: i64 = 30;

/// Who the host says is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// The person.
    pub person: Person,
    /// What they set out with.
    pub nonce: String,
}

/// An answer that reads right and was not compared with what is pending yet.
pub(super) struct Assertion {
    pub(super) arrived: Arrived,
    pub(super) jti: String,
    /// Seconds since 1970.
    pub(super) exp: i64,
}

/// Why an answer is refused. `Display` is the reason, for the log; [`HandoffError::sentence`] is what to
/// tell the person.
#[derive(Debug, thiserror::Error)]
pub enum HandoffError {
    #[error("the answer is not a JWT: {0}")]
    Malformed(String),
    #[error("the answer is signed with {found}, and {configured} is configured")]
    OtherAlgorithm { found: String, configured: &'static str },
    /// The header names extensions that must be understood.
    #[error("the answer's header says `crit`, and grantbook understands no extension")]
    Critical,
    #[error("the answer's signature does not match the configured key")]
    WrongSignature,
    #[error("the answer has no claim `{0}`")]
    MissingClaim(&'static str),
    #[error("the answer's claim `{claim}` must be {expected}")]
    WrongClaim { claim: &'static str, expected: &'static str },
    #[error("the answer's `iss` is {found:?}, and {expected:?} is configured")]
    OtherIssuer { found: String, expected: String },
    #[error("the answer's `aud` is {found}, and must be {expected:?} alone")]
    OtherAudience { found: String, expected: String },
    #[error(
        "the answer's `{claim}` is {ahead} s ahead of this server's clock; at most {LEEWAY_SECS} s are taken"
    )]
    FromTheFuture { claim: &'static str, ahead: i64 },
    #[error("the answer expired {0} s ago")]
    Expired(i64),
    #[error("the answer is good for {lifetime} s (`exp` minus `iat`), and must be for 1 to {allowed} s")]
    WrongLifetime { lifetime: i64, allowed: u64 },
    #[error("the answer's claim `{claim}` is not an identifier: {source}")]
    NotAnId { claim: &'static str, source: IdError },
    /// Not asked for by this browser, or spent, or too long ago, or before this process started.
    #[error(
        "the answer's `request` is not pending in this browser, or has been since before this server started"
    )]
    NotPending,
    #[error("the answer was used before (its `jti` is known)")]
    Reused,
    /// More answers at once than can be remembered; none is taken that could be taken twice.
    #[error("too many answers are within their lifetime to remember another")]
    TooMany,
}

impl HandoffError {
    /// Whether this came too late or once too often, and the person may be where they wanted to be.
    pub fn may_be_done(&self) -> bool {
        matches!(self, Self::NotPending | Self::Reused | Self::Expired(_))
    }

    /// What to tell the person: plain, and nothing that only the operator should know.
    pub fn sentence(&self) -> &'static str {
        match self {
            Self::NotPending | Self::Reused => {
                "This sign-in is done already, took more than half an hour, or was started in another browser."
            }
            Self::Expired(_) => "This sign-in took too long on its way back.",
            Self::TooMany => "Too many people sign in at this moment.",
            _ => {
                "What your platform said about you could not be accepted. If it happens again, tell the people \
                 who run this site."
            }
        }
    }
}

/// The claims as they come; each is taken and checked by name, so that a refusal can name it.
struct Claims(Map<String, Value>);

impl Handoff {
    /// What a token says, or why it is refused.
    pub(super) fn read(
        &self,
        our_issuer: &str,
        token: &str,
        now: Timestamp,
    ) -> Result<Assertion, HandoffError> {
        let mut claims = self.verified_claims(token)?;
        let issuer = claims.text("iss")?;
        if issuer != self.issuer {
            return Err(HandoffError::OtherIssuer { found: issuer, expected: self.issuer.clone() });
        }
        check_audience(our_issuer, &required("aud", claims.take("aud"))?)?;
        let exp = required("exp", claims.seconds("exp")?)?;
        let not_before = claims.seconds("nbf")?;
        self.check_times(required("iat", claims.seconds("iat")?)?, not_before, exp, now)?;
        let not_an_id = |claim| move |source| HandoffError::NotAnId { claim, source };
        Ok(Assertion {
            arrived: Arrived {
                person: Person {
                    user: claims.text("sub")?.parse().map_err(not_an_id("sub"))?,
                    account: claims.text("account")?.parse().map_err(not_an_id("account"))?,
                    name: claims.shown("name")?,
                    account_name: claims.shown("account_name")?,
                    role: claims.role()?,
                },
                nonce: claims.text("request")?,
            },
            jti: claims.text("jti")?,
            exp,
        })
    }

    fn verified_claims(&self, token: &str) -> Result<Claims, HandoffError> {
        let malformed = |detail: &dyn fmt::Display| HandoffError::Malformed(detail.to_string());
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed(&format_args!("it is longer than {MAX_TOKEN_BYTES} bytes")));
        }
        // The header is only believed as far as it agrees with the configuration: the algorithm and the
        // key are chosen there and nowhere else.
        let header = jsonwebtoken::decode_header(token).map_err(|error| malformed(&error))?;
        if header.alg != self.key.algorithm().as_jwt() {
            return Err(HandoffError::OtherAlgorithm {
                found: format!("{:?}", header.alg),
                configured: self.key.algorithm().name(),
            });
        }
        if header.crit.is_some() {
            return Err(HandoffError::Critical);
        }
        let mut validation = jsonwebtoken::Validation::new(self.key.algorithm().as_jwt());
        // Each claim is checked here, with a reason of its own and by the time in the call.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        match jsonwebtoken::decode(token, self.key.decoding_key(), &validation) {
            Ok(verified) => Ok(Claims(verified.claims)),
            Err(error) => Err(match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => HandoffError::WrongSignature,
                _ => malformed(&error),
            }),
        }
    }

    fn check_times(&self, iat: i64, nbf: Option<i64>, exp: i64, now: Timestamp) -> Result<(), HandoffError> {
        let now = now.as_secs();
        for (claim, time) in [("iat", Some(iat)), ("nbf", nbf)] {
            let ahead = time.map_or(0, |time| time.saturating_sub(now));
            if ahead > LEEWAY_SECS {
                return Err(HandoffError::FromTheFuture { claim, ahead });
            }
        }
        let lifetime = exp.saturating_sub(iat);
        let allowed = self.max_age.as_secs();
        if !u64::try_from(lifetime).is_ok_and(|lifetime| (1..=allowed).contains(&lifetime)) {
            return Err(HandoffError::WrongLifetime { lifetime, allowed });
        }
        if now >= exp {
            return Err(HandoffError::Expired(now.saturating_sub(exp)));
        }
        Ok(())
    }
}

/// The audience must be this server alone: others could replay an answer that is also for them.
fn check_audience(our_issuer: &str, audience: &Value) -> Result<(), HandoffError> {
    let only = match audience {
        Value::Array(audiences) if audiences.len() == 1 => &audiences[0],
        other => other,
    };
    if only.as_str() == Some(our_issuer) {
        return Ok(());
    }
    Err(HandoffError::OtherAudience { found: audience.to_string(), expected: our_issuer.to_owned() })
}

fn required<T>(claim: &'static str, value: Option<T>) -> Result<T, HandoffError> {
    value.ok_or(HandoffError::MissingClaim(claim))
}

impl Claims {
    /// A claim that is null is not there.
    fn take(&mut self, claim: &str) -> Option<Value> {
        self.0.remove(claim).filter(|value| !value.is_null())
    }

    fn text(&mut self, claim: &'static str) -> Result<String, HandoffError> {
        match required(claim, self.take(claim))? {
            Value::String(text) if !text.is_empty() => Ok(text),
            _ => Err(HandoffError::WrongClaim { claim, expected: "a text that is not empty" }),
        }
    }

    /// A text that is only shown. People choose their names, so one that is too long or holds what cannot be shown
    /// is no reason to keep its owner out: it is cut, and what is left of it is shown.
    fn shown(&mut self, claim: &'static str) -> Result<Option<String>, HandoffError> {
        match self.take(claim) {
            None => Ok(None),
            Some(Value::String(text)) => {
                let words = text.split(|c: char| c.is_whitespace() || c.is_control());
                let words: Vec<_> = words.filter(|word| !word.is_empty()).collect();
                let text: String = words.join(" ").chars().take(MAX_SHOWN_CHARS).collect();
                Ok(Some(text).filter(|text| !text.is_empty()))
            }
            Some(_) => Err(HandoffError::WrongClaim { claim, expected: "a text" }),
        }
    }

    fn role(&mut self) -> Result<AccountRole, HandoffError> {
        let Some(role) = self.take("role") else { return Ok(AccountRole::default()) };
        serde_json::from_value(role)
            .map_err(|_| HandoffError::WrongClaim { claim: "role", expected: "\"member\" or \"admin\"" })
    }

    /// A `NumericDate` (RFC 7519 section 2): seconds since 1970, which some libraries write with a fraction.
    fn seconds(&mut self, claim: &'static str) -> Result<Option<i64>, HandoffError> {
        /// Far beyond any date and far below where a double or an `i64` loses a second.
        const BOUND: f64 = 1e12;
        let Some(value) = self.take(claim) else { return Ok(None) };
        match value.as_f64() {
            // Bounded, so that the cast only drops the fraction.
            Some(seconds) if seconds.abs() <= BOUND => Ok(Some(seconds.floor() as i64)),
            _ => Err(HandoffError::WrongClaim { claim, expected: "a number of seconds since 1970" }),
        }
    }
}
