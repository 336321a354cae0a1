//! Who the operator is: a key in an `Authorization: Bearer` header (RFC 6750), and what its role may do.

use std::future::{Ready, ready};

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest, ResponseError as _, web};
use grantbook_events::{ActorKind, OperatorKeyId, Role, SecretDigest};
use percent_encoding::percent_decode_str;

use super::audit::questions::log_question;
use super::context::{Caller, Context};
use super::openapi::describe::Input;
use super::problem::Problem;
use super::service::{KeyName, Service};
use crate::decisions::Command;
use crate::ledger::Origin;
use crate::secrets;

/// Who uses the command line, percent-encoded. Taken from a caller with a key of this process alone: its holder can
/// read the server's own files, so that this name can only be taken on trust.
pub const PERSON_HEADER: &str = "x-grantbook-person";
/// The longest name of a person, in characters.
const PERSON_MAX: usize = 128;

/// Who may use an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// A person in a browser, a probe, or a program without a key.
    Anyone,
    /// An app that authenticates in its form. Errors are those of RFC 6749.
    Client,
    /// Anything that found a secret. Errors are those of RFC 6749.
    Reporter,
    /// Software that registers an app, with an initial access token if one is needed, or manages its registration with the token for
    /// that. Errors are those of RFC 7591.
    Registration,
    /// Anything with an access token. Errors are those of RFC 6750.
    Bearer,
    /// A resource server with an operator key that introspects, or an app with its secret. Errors are those of RFC 6749.
    ResourceServer,
    /// An operator key that may read.
    Auditor,
    /// An operator key that may read. Each question is logged.
    Audit,
    /// An operator key that may change things.
    Admin,
}

/// A caller with an accepted operator key, and what its commands are settled with.
#[derive(Debug, Clone)]
pub struct Operator {
    pub service: web::Data<Service>,
    pub context: Context,
    pub origin: Origin,
}

impl Operator {
    /// Settles a command; a refusal and a fault are problems alike.
    pub async fn settle<C: Command>(&self, command: &C) -> Result<C::Answer, Problem>
    where
        Problem: From<C::Refusal>,
    {
        Ok(self.context.settle(&self.service, &self.origin, command).await??)
    }
}

/// Middleware: passes a request on if its key may use the endpoint. What is asked about history is logged, also if it
/// is refused.
pub(super) async fn admit(
    access: Access,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    let admitted = admitted(access, request.request());
    if access == Access::Audit {
        log_question(request.request(), admitted.as_ref().map(|operator| &operator.origin));
    }
    match admitted {
        Ok(operator) => {
            request.extensions_mut().insert(operator);
            next.call(request).await
        }
        Err(problem) => Ok(request.into_response(problem.error_response())),
    }
}

fn admitted(access: Access, request: &HttpRequest) -> Result<Operator, Problem> {
    let service = request.app_data::<web::Data<Service>>().ok_or_else(unknown_key)?;
    let unsent = || unauthorized("send an operator key: Authorization: Bearer gbk_…");
    let (key, role) = accepted(request, service, bearer(request).ok_or_else(unsent)?)?;
    let is_allowed = match access {
        Access::Admin => role == Role::Admin,
        Access::Auditor | Access::Audit => matches!(role, Role::Admin | Role::Auditor),
        Access::Anyone
        | Access::Client
        | Access::Reporter
        | Access::Registration
        | Access::Bearer
        | Access::ResourceServer => true,
    };
    if !is_allowed {
        return Err(wrong_role());
    }
    let named = match key {
        KeyName::Recorded(_) => None,
        KeyName::Process(_) => person(request),
    };
    let context = Context::of(request);
    let origin = context.origin(ActorKind::Operator, named.unwrap_or_else(|| key.to_string()));
    Ok(Operator { service: service.clone(), context, origin })
}

impl FromRequest for Operator {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    /// The one that [`admit`] let in.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(request.extensions().get::<Self>().cloned().ok_or_else(unknown_key))
    }
}

impl Input for Operator {}

/// The name of a key that a request came with, and what it may do.
fn accepted(request: &HttpRequest, service: &Service, presented: &str) -> Result<(KeyName, Role), Problem> {
    let (key, role) = find_key(service, &secrets::digest(presented)).ok_or_else(unknown_key)?;
    Context::of(request).is_from(Caller::Operator(key.clone()));
    Ok((key, role))
}

/// A key of a role that may introspect.
pub(super) fn introspects(request: &HttpRequest, service: &Service, presented: &str) -> Result<(), Problem> {
    match accepted(request, service, presented)? {
        (_, role) if may_introspect(role) => Ok(()),
        _ => Err(wrong_role()),
    }
}

/// Registering apps is not a reason to learn whose tokens are whose.
const fn may_introspect(role: Role) -> bool {
    match role {
        Role::Admin | Role::Auditor | Role::Resource => true,
        Role::Registrar => false,
    }
}

/// The operator key with which software registers itself, if that is what a request came with.
pub(super) fn registrar(request: &HttpRequest, service: &Service, presented: &str) -> Option<OperatorKeyId> {
    match accepted(request, service, presented).ok()? {
        (KeyName::Recorded(key_id), Role::Registrar) => Some(key_id),
        _ => None,
    }
}

fn wrong_role() -> Problem {
    let detail = "the role of this operator key does not allow this";
    Problem::new(StatusCode::FORBIDDEN, "forbidden", detail)
}

fn unknown_key() -> Problem {
    unauthorized("the operator key is unknown or was retired")
}

fn unauthorized(detail: &str) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, "invalid_key", detail)
}

fn find_key(service: &Service, digest: &SecretDigest) -> Option<(KeyName, Role)> {
    if let Some(key) = service.ledger.live().operator_key(digest) {
        return Some((KeyName::Recorded(key.key_id), key.role));
    }
    let own = service.process_keys.iter().find(|key| secrets::digests_match(&key.digest, digest))?;
    Some((KeyName::Process(own.name), own.role))
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
    find_key(service, &secrets::digest(presented)).is_some()
}

/// Whether a key that introspects is accepted under its id, as a client secret is under a client id. A node that does not
/// know the key catches up first.
pub(super) async fn is_accepted(service: &Service, key_id: &str, digest: &SecretDigest) -> bool {
    let named = || {
        let (key, _) = find_key(service, digest).filter(|(_, role)| may_introspect(*role))?;
        Some(key.to_string())
    };
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
