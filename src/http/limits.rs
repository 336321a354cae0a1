//! What every request passes first: its size, its time, and whether this node may answer yet.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::{StatusCode, header};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError as _, web};

use super::browser::PageError;
use super::context::Context;
use super::endpoint::wants_a_page;
use super::endpoints::has_a_page;
use super::node::{self, PROBES};
use super::problem::Problem;
use super::service::Service;
use super::unread::Unread;
use crate::identity::dev::names_loopback;

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct RequestLimits {
    /// The longest URI and headers together, in bytes.
    pub head_bytes: usize,
    /// How long it may take, its body included.
    pub within: Duration,
    /// Whether only requests that name a loopback host are answered. Where anybody may sign in as anybody,
    /// a page elsewhere must not reach this server through a name that it made point here.
    pub loopback_hosts_only: bool,
}

/// Passes a request on, or says why not.
pub(super) async fn guard(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    let limits = request.app_data::<web::Data<RequestLimits>>().cloned();
    let service = request.app_data::<web::Data<Service>>().cloned();
    let (Some(limits), Some(service)) = (limits, service) else { return next.call(request).await };
    let unread = Unread::of(&mut request);
    let refused = match too_much(&limits, &service, &request) {
        None => node::catch_up(&service, request.request()).await,
        refused => refused,
    };
    // A person, if one reads the answer, and the request's name for them.
    let person = has_a_page(request.path()) && wants_a_page(request.headers());
    let person = person.then(|| Context::of(request.request()));
    let refusal = |problem: Problem| match &person {
        Some(context) => PageError::problem(&problem).page(context),
        None => problem.error_response(),
    };
    if let Some(problem) = refused {
        return Ok(unread.held_by(request.into_response(refusal(problem))));
    }
    let answer = tokio::time::timeout(limits.within, next.call(request)).await;
    let Ok(answer) = answer else {
        let detail = format!("the request was not complete within {} s", limits.within.as_secs());
        let problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", detail);
        let refused = InternalError::from_response(problem.clone(), refusal(problem));
        return Err(unread.held_by_error(refused.into()));
    };
    let response = answer.map_err(|error| unread.clone().held_by_error(error))?;
    let page = response.response().error().and_then(actix_web::Error::as_error::<PageError>);
    let refused = match page {
        Some(page) => Some(page.page(&Context::of(response.request()))),
        None => refused_by_actix(response.response()).map(refusal),
    };
    Ok(unread.held_by(match refused {
        Some(refused) => response.into_response(refused),
        None => response,
    }))
}

/// What actix refuses by itself, such as a body that is too large, in its own plain text.
fn refused_by_actix<B>(response: &HttpResponse<B>) -> Option<Problem> {
    let kind = response.headers().get(header::CONTENT_TYPE)?;
    let error = response.error().filter(|_| kind.as_bytes().starts_with(b"text/plain"))?;
    let (status, detail) = (response.status(), error.to_string());
    Some(match status {
        StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(status, "too_large", "the body is longer than this server takes")
        }
        _ => Problem::new(status, "invalid_request", format!("the request cannot be read: {detail}")),
    })
}

fn too_much(limits: &RequestLimits, service: &Service, request: &ServiceRequest) -> Option<Problem> {
    let size =
        |(name, value): (&header::HeaderName, &header::HeaderValue)| name.as_str().len() + value.len() + 4;
    let head = request.path().len()
        + request.query_string().len()
        + request.headers().iter().map(size).sum::<usize>();
    if head > limits.head_bytes {
        let detail = format!("URI and headers may have at most {} bytes together", limits.head_bytes);
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Some(Problem::new(status, "head_too_large", detail));
    }
    if limits.loopback_hosts_only && !names_loopback(host_of(request)) {
        let detail = "with the dev sign-in, use this server as 127.0.0.1, [::1] or localhost";
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "not_loopback", detail));
    }
    if !service.ledger.is_ready() && !PROBES.contains(&request.path()) {
        let detail = "the ledger is not folded yet; /readyz tells how far it is";
        return Some(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", detail));
    }
    None
}

fn host_of(request: &ServiceRequest) -> &str {
    request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default()
}
