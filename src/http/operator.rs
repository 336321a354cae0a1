//! Who the operator is: a key in an `Authorization: Bearer` header (RFC 6750), and what its role may do.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::http::{StatusCode, header};
use actix_web::{FromRequest, HttpRequest, web};
use grantbook_events::{ActorKind, OperatorKeyId, Role, SecretDigest};
use percent_encoding::percent_decode_str;

use super::context::{Caller, Context};
use super::problem::Problem;
use super::service::{KeyName, Service};
use crate::ledger::Origin;
use crate::secrets;

/// Who uses the command line, percent-encoded. Taken from a caller with a key of this process alone: anybody who has that can
/// read the server's own files, and is told from others like them only by what they say.
pub const PERSON_HEADER: &str = "x-grantbook-person";
/// The longest name of a person, in characters.
const PERSON_MAX: usize = 128;

/// A caller with an accepted operator key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// Which key.
    pub key: KeyName,
    /// What it may do.
    pub role: Role,
    /// Who uses the command line, if this is it.
    person: Option<String>,
}

/// A caller that may change things: role `admin`.
#[derive(Debug, Clone)]
pub struct Admin(pub Operator);

/// A caller that may read everything: role `admin` or `auditor`.
#[derive(Debug, Clone)]
pub struct Reader(pub Operator);

impl Operator {
    /// The operator behind a bearer key, if the key is accepted.
    pub fn of(request: &HttpRequest) -> Result<Self, Problem> {
        let unauthorized = |detail: &str| Problem::new(StatusCode::UNAUTHORIZED, "invalid_key", detail);
        let presented = bearer(request)
            .ok_or_else(|| unauthorized("send an operator key: Authorization: Bearer gbk_…"))?;
        let service = request.app_data::<web::Data<Service>>();
        let known = service.and_then(|service| Self::with_key(service, presented));
        let known = known.ok_or_else(|| unauthorized("the operator key is unknown or was retired"))?;
        Context::of(request).is_from(Caller::Operator(known.key.clone()));
        Ok(match known.key {
            KeyName::Recorded(_) => known,
            KeyName::Process(_) => Self { person: person(request), ..known },
        })
    }

    fn with_key(service: &Service, presented: &str) -> Option<Self> {
        Self::with_digest(service, &secrets::digest(presented))
    }

    fn with_digest(service: &Service, digest: &SecretDigest) -> Option<Self> {
        if let Some(key) = service.ledger.live().operator_key(digest) {
            return Some(Self { key: KeyName::Recorded(key.key_id), role: key.role, person: None });
        }
        let own = service.process_keys.iter().find(|key| secrets::digests_match(&key.digest, digest))?;
        Some(Self { key: KeyName::Process(own.name), role: own.role, person: None })
    }

    /// This operator, through a request.
    pub fn origin(&self, context: &Context) -> Origin {
        context.origin(ActorKind::Operator, self.person.clone().unwrap_or_else(|| self.key.to_string()))
    }

    fn must_be(self, allowed: &[Role]) -> Result<Self, Problem> {
        if allowed.contains(&self.role) {
            return Ok(self);
        }
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "forbidden",
            "the role of this operator key does not allow this",
        ))
    }
}

/// The name that a command sends along; none that could be taken for the id of an operator key.
fn person(request: &HttpRequest) -> Option<String> {
    let sent = request.headers().get(PERSON_HEADER)?.to_str().ok()?;
    let name = percent_decode_str(sent).decode_utf8().ok()?;
    let is_plain =
        !name.is_empty() && name.chars().count() <= PERSON_MAX && !name.chars().any(char::is_control);
    (is_plain && name.parse::<OperatorKeyId>().is_err()).then(|| name.into_owned())
}

/// Whether a key is accepted, as far as this node knows.
pub(super) fn is_known(service: &Service, presented: &str) -> bool {
    Operator::with_key(service, presented).is_some()
}

/// Whether a key is accepted under its id, as a client secret is under a client id. A node that does not know the
/// key catches up first.
pub(super) async fn is_accepted(service: &Service, key_id: &str, digest: &SecretDigest) -> bool {
    let named = || Operator::with_digest(service, digest).map(|operator| operator.key.to_string());
    let mut known = named();
    if known.is_none() && service.ledger.is_shared() {
        // If it cannot, what is here is no older than it may be.
        let _ = service.ledger.become_current().await;
        known = named();
    }
    known.is_some_and(|known| known == key_id)
}

/// The token of an `Authorization: Bearer` header.
pub fn bearer(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

impl FromRequest for Admin {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Operator::of(request).and_then(|operator| operator.must_be(&[Role::Admin])).map(Self))
    }
}

impl FromRequest for Reader {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let allowed = &[Role::Admin, Role::Auditor];
        ready(Operator::of(request).and_then(|operator| operator.must_be(allowed)).map(Self))
    }
}
