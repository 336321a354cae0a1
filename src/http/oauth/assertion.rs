//! Client authentication by an assertion that the app signed: `private_key_jwt` (RFC 7523 section 3). Knows: what an assertion
//! must say. Must not know: which endpoint was asked, or which apps there are.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantbook_events::{ClientKeys, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, Validation, decode, decode_header};
use serde::Deserialize;

use crate::decisions::key_set::{KeySet, KeySetError};
use crate::outbound::{FetchError, Outbound};
use crate::secrets::PlainSecret;
use crate::single_use::{NotAccepted, SingleUse};

/// The one `client_assertion_type` there is.
pub const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The longest assertion, in bytes.
const MAX_BYTES: usize = 8 * 1024;
/// How far ahead the end of an assertion may be, and how much our clocks may differ, in seconds.
const MAX_LIFETIME_SECS: f64 = 5.0 * 60.0;
const SKEW_SECS: f64 = 60.0;
/// How long after a key set was fetched it is fetched again for a key that is not in it.
const KEYS_ASKED_AGAIN_AFTER: Duration = Duration::from_secs(60);
/// How many assertions are remembered until they expire.
pub const MAX_REMEMBERED: usize = 262_144;

/// An assertion as it was presented. Nothing in it is believed until [`Assertion::check`] has.
#[derive(Debug)]
pub struct Assertion {
    token: PlainSecret,
    header: Header,
    client_id: String,
}

/// Why an assertion is refused, in words for the developer of the app.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    #[error("client_assertion_type must be {JWT_BEARER}")]
    Type,
    #[error("client_assertion must be a JWT signed with ES256, EdDSA or RS256, of at most {MAX_BYTES} bytes")]
    NoJwt,
    #[error("client_assertion must not have crit in its header")]
    Critical,
    #[error("client_assertion must be signed with a key of the app, for the alg and the kid in its header")]
    Signature,
    #[error("client_assertion must have the claims iss, sub, aud, exp and jti, as RFC 7523 section 3 says")]
    Claims,
    #[error("iss and sub of client_assertion must be the client_id")]
    Issuer,
    #[error("aud of client_assertion must be the issuer or the URL of the endpoint, and nothing else")]
    Audience,
    #[error("exp of client_assertion must not be past, and at most 5 minutes ahead")]
    Expiry,
    #[error("nbf and iat of client_assertion must not be in the future")]
    NotYet,
    #[error("client_assertion was used before: sign one with another jti for each request")]
    Reused,
    #[error("too many assertions were used within their lifetime: try again in a minute")]
    TooMany,
    #[error("the app's key set {0}")]
    KeySet(#[from] KeySetError),
    #[error("the app's jwks_uri {0}")]
    Fetch(#[from] FetchError),
}

#[derive(Debug, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    // Seconds since 1970, which may have a fraction (RFC 7519 section 2).
    exp: f64,
    nbf: Option<f64>,
    iat: Option<f64>,
    jti: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

impl Assertion {
    /// Reads an assertion without believing it.
    ///
    /// # Errors
    /// If it is nothing that could be believed.
    pub fn read(assertion_type: &str, token: PlainSecret) -> Result<Self, AssertionError> {
        #[derive(Deserialize)]
        struct Subject {
            sub: String,
        }
        if assertion_type != JWT_BEARER {
            return Err(AssertionError::Type);
        }
        let text = token.expose();
        let header =
            decode_header(text).ok().filter(|_| text.len() <= MAX_BYTES).ok_or(AssertionError::NoJwt)?;
        if header.crit.is_some() {
            return Err(AssertionError::Critical);
        }
        let payload = text.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let payload = payload.ok_or(AssertionError::NoJwt)?;
        let Subject { sub } = serde_json::from_slice(&payload).map_err(|_| AssertionError::Claims)?;
        Ok(Self { token, header, client_id: sub })
    }

    /// The app that it says it is of.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Whether it is of the app that has these keys, meant for one of these audiences, valid now, and not used before. A set at a
    /// URL that has no key for it is fetched again, once a minute at most.
    ///
    /// # Errors
    /// What would be right.
    pub async fn check(
        &self,
        keys: &ClientKeys,
        audiences: &[&str],
        outbound: &Outbound,
        used: &SingleUse,
        now: Timestamp,
    ) -> Result<(), AssertionError> {
        let claims = match keys {
            ClientKeys::None => return Err(AssertionError::Signature),
            ClientKeys::Jwks(set) => self.verify(set.as_bytes())?,
            ClientKeys::JwksUri(url) => match self.verify(&outbound.document(url, now).await?) {
                Err(AssertionError::Signature | AssertionError::KeySet(_)) => {
                    self.verify(&outbound.document_no_older(url, KEYS_ASKED_AGAIN_AFTER, now).await?)?
                }
                verified => verified?,
            },
        };
        self.check_claims(&claims, audiences, now)?;
        // Names of different apps must differ, and a client id has no line break.
        let name = format!("{}\n{}", self.client_id, claims.jti);
        used.take(&name, (claims.exp + SKEW_SECS) as i64, now).map_err(|error| match error {
            NotAccepted::Reused => AssertionError::Reused,
            NotAccepted::TooMany => AssertionError::TooMany,
        })
    }

    fn verify(&self, keys: &[u8]) -> Result<Claims, AssertionError> {
        let keys = KeySet::parse(keys)?;
        let mut validation = Validation::new(self.header.alg);
        // Each claim is checked here, by the time in the call.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        for key in keys.fitting(self.header.alg, self.header.kid.as_deref()) {
            match decode::<Claims>(self.token.expose(), key, &validation) {
                Ok(verified) => return Ok(verified.claims),
                Err(error) if matches!(error.kind(), ErrorKind::Json(_)) => {
                    return Err(AssertionError::Claims);
                }
                Err(_) => {}
            }
        }
        Err(AssertionError::Signature)
    }

    fn check_claims(
        &self,
        claims: &Claims,
        audiences: &[&str],
        now: Timestamp,
    ) -> Result<(), AssertionError> {
        if claims.iss != self.client_id || claims.sub != self.client_id {
            return Err(AssertionError::Issuer);
        }
        let is_for_us = |audience: &String| audiences.contains(&audience.as_str());
        // Others could present an assertion that is also for them.
        let is_for_us_alone = match &claims.aud {
            Audience::One(audience) => is_for_us(audience),
            Audience::Several(all) => !all.is_empty() && all.iter().all(is_for_us),
        };
        if !is_for_us_alone {
            return Err(AssertionError::Audience);
        }
        let now = now.as_secs() as f64;
        if claims.exp + SKEW_SECS <= now || claims.exp > now + MAX_LIFETIME_SECS + SKEW_SECS {
            return Err(AssertionError::Expiry);
        }
        if [claims.nbf, claims.iat].into_iter().flatten().any(|time| time > now + SKEW_SECS) {
            return Err(AssertionError::NotYet);
        }
        if claims.jti.is_empty() { Err(AssertionError::Claims) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests;
