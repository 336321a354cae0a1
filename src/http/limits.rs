//! What every request passes first: its size, its time, whether this node may answer yet, and whether it has to catch
//! up with the other nodes before. Knows: which requests cannot be answered by what is folded here. Must not know: how
//! the ledger catches up.

use actix_web::body::BoxBody;
use actix_web::dev::ServiceRequest;
use actix_web::error::QueryPayloadError;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpRequest, HttpResponse, ResponseError as _};

use super::browser::PageError;
use super::context::Context;
use super::endpoint::wants_a_page;
use super::endpoints::{answers_as_oauth, has_a_page};
use super::oauth::error::OAuthError;
use super::operator;
use super::problem::Problem;
use super::service::Service;
use super::unread::Unread;
use super::waiting::{TooLate, Waiting};
use crate::identity::SignIn;
use crate::identity::dev::names_loopback;
use crate::secrets;

/// The paths that answer before the ledger is folded.
const PROBES: &[&str] = &["/healthz", "/readyz", "/metrics"];
/// This node need not catch up for these: `Ledger::token` reads from the store what one token needs.
const TOKEN_CHECKS: &[&str] = &["/oauth/introspect", "/oauth/userinfo"];

/// Passes a request on, or answers why not. The request is gone if the answer took too long.
pub(super) async fn guard(
    service: &Service,
    context: &Context,
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> (Option<HttpRequest>, HttpResponse) {
    let unread = Unread::of(&mut request);
    let waiting = Waiting::of(service, &request, unread.clone());
    let is_person = has_a_page(request.path()) && wants_a_page(request.headers());
    let is_oauth = answers_as_oauth(request.path());
    let refusal = |problem: Problem| match problem.status {
        _ if is_person => PageError::from(problem).page(context),
        503 if is_oauth => OAuthError::from(problem).error_response(),
        _ => problem.error_response(),
    };
    let answer = async {
        let refused = match too_much(service, &request) {
            None => catch_up(service, request.request()).await,
            refused => refused,
        };
        if let Some(problem) = refused {
            return (Some(request.into_parts().0), refusal(problem));
        }
        match next.call(request).await {
            Ok(answer) => {
                let (request, response) = answer.into_parts();
                let page = response.error().and_then(actix_web::Error::as_error::<PageError>);
                let page = page.map(|page| page.page(context));
                let refused = page.or_else(|| refused_by_actix(&response).map(refusal));
                (Some(request), refused.unwrap_or(response))
            }
            Err(error) => (None, HttpResponse::from_error(error)),
        }
    };
    let (request, response) = match waiting.wait_for(answer).await {
        Ok(answered) => answered,
        Err(TooLate::Request(within)) => {
            let detail = format!("the request was not complete within {} s", within.as_secs());
            (None, refusal(Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail)))
        }
        Err(TooLate::Answer(within)) => {
            // What it was to change goes on by itself.
            let problem = match context.may_have_changed() {
                true => Problem::outcome_unknown(),
                false => Problem::temporarily_unavailable(),
            };
            let why = format!("there was no answer within {} s", within.as_secs());
            (None, refusal(problem.because(why)))
        }
    };
    match unread {
        Some(unread) => (request, unread.held_by(response)),
        None => (request, response),
    }
}

/// What actix refuses by itself, such as a body that is too large, in its own plain text.
fn refused_by_actix(response: &HttpResponse) -> Option<Problem> {
    let kind = response.headers().get(header::CONTENT_TYPE)?;
    let error = response.error().filter(|_| kind.as_bytes().starts_with(b"text/plain"))?;
    if let Some(QueryPayloadError::Deserialize(error)) = error.as_error() {
        return Some(Problem::bad_request(format!("query: {error}")));
    }
    Some(match response.status() {
        status @ StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too_large", "the body is longer than this server takes")
        }
        status => Problem::new(status, "invalid_request", format!("the request cannot be read: {error}")),
    })
}

fn too_much(service: &Service, request: &ServiceRequest) -> Option<Problem> {
    let size =
        |(name, value): (&header::HeaderName, &header::HeaderValue)| name.as_str().len() + value.len() + 4;
    let head = request.path().len()
        + request.query_string().len()
        + request.headers().iter().map(size).sum::<usize>();
    let limit = service.config.limits.head;
    if head > limit {
        let detail = format!("URI and headers may have at most {limit} bytes together");
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Some(Problem::new(status, "head_too_large", detail));
    }
    // Where anyone may sign in as anyone, a page elsewhere must not reach this server through a name that it made point
    // here.
    let is_dev = matches!(service.config.sign_in, SignIn::Dev(_));
    if is_dev && !names_loopback(host_of(request)) {
        let detail = "with the dev sign-in, use this server as 127.0.0.1, [::1] or localhost";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "not_loopback", detail));
    }
    if PROBES.contains(&request.path()) {
        return None;
    }
    let not_ready = |detail| Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail));
    if service.ends_early() {
        not_ready("the ledger ends before what this node has seen of it; its log says what to do")
    } else if !service.ledger.is_ready() {
        not_ready("the ledger is not folded yet; /readyz tells how far it is")
    } else {
        None
    }
}

fn host_of(request: &ServiceRequest) -> &str {
    request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}

/// Catches up with the ledger if this request needs it, or says why it is not answered.
async fn catch_up(service: &Service, request: &HttpRequest) -> Option<Problem> {
    let ledger = &service.ledger;
    if !ledger.is_shared() || PROBES.contains(&request.path()) {
        return None;
    }
    let is_stale = match ledger.must_look() {
        _ if TOKEN_CHECKS.contains(&request.path()) => false,
        Ok(must_look) => must_look,
        Err(error) => return Some(Problem::fault(&error)),
    };
    if !is_stale && !is_of_an_operator(service, request) {
        return None;
    }
    match ledger.become_current().await {
        Ok(()) => None,
        // What is here is no older than it may be.
        Err(_) if !is_stale => None,
        Err(error) => Some(Problem::fault(&error)),
    }
}

/// Whether an operator asks, who may have done something elsewhere a moment ago. For the check of a token the key alone
/// matters, if it is not known here yet.
fn is_of_an_operator(service: &Service, request: &HttpRequest) -> bool {
    operator::bearer(request).is_some_and(|key| {
        secrets::is_operator_key(key)
            && (!TOKEN_CHECKS.contains(&request.path()) || !operator::is_known(service, key))
    })
}
