//! One log line and one measurement a request. Knows: routes, statuses, durations, and what the answer says of
//! itself. Must not know: anything a caller sent but the name of the request; a query, a header or a body may hold
//! a secret and is never looked at here.

use std::borrow::Cow;
use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::Next;
use actix_web::web;

use super::context::{Caller, Context, REQUEST_ID_HEADER};
use super::cors;
use super::endpoint::{Matched, method_name};
use super::endpoints::path_of;
use super::limits::guard;
use super::reason::Reason;
use super::service::Service;

/// What stands for the route of a request that no route matched.
const UNMATCHED: &str = "unmatched";
/// Routes that are asked by POST although they change nothing: their parameters must not be in a URI.
const READING_POSTS: &[&str] =
    &["/oauth/introspect", "/oauth/par", "/oauth/userinfo", "/audit/token", "/audit/token/timeline"];
/// Asked every few seconds, and only the caller needs its refusal.
const READINESS: &str = "/readyz";

/// Middleware: names the request in its reply, measures it and logs it. What else every request passes is called from
/// here as plain functions, because each middleware of its own costs several allocations a request.
///
/// It is on the way of every token check, so it formats nothing unless the line is wanted.
pub async fn observe(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    let Some(service) = request.app_data::<web::Data<Service>>().cloned() else {
        return next.call(request).await;
    };
    let started = Instant::now();
    let method = method_name(request.method());
    let context = Context::of(request.request());
    let uri = request.uri().clone();
    let open = cors::opened(request.path());
    let (request, mut response) = match open {
        Some(methods) if method == "OPTIONS" => (Some(request.into_parts().0), cors::preflight(methods)),
        Some(_) | None => guard(&service, &context, request, next).await,
    };
    // Refused before it was routed, a request still has a path of the table.
    let route = request.as_ref().and_then(|request| {
        let matched = request.app_data::<Matched>().map(|matched| Cow::Borrowed(matched.0));
        matched.or_else(|| request.match_pattern().map(Cow::Owned))
    });
    let elapsed = started.elapsed();
    let given_up = || request.is_none().then(|| path_of(uri.path()).map(Cow::Borrowed)).flatten();
    let route = route.or_else(given_up).unwrap_or(Cow::Borrowed(UNMATCHED));
    let milliseconds = (elapsed.as_secs_f64() * 1e6).round() / 1e3;
    log(method, &route, response.status(), &context, milliseconds, Reason::of(&response));
    service.metrics.request(route, response.status(), elapsed);
    if let Ok(name) = HeaderValue::from_str(context.request_id.as_str()) {
        response.headers_mut().insert(REQUEST_ID_HEADER, name);
    }
    if open.is_some() {
        cors::open(response.headers_mut());
    }
    match request {
        Some(request) => Ok(ServiceResponse::new(request, response)),
        None => Err(InternalError::from_response("the request is gone", response).into()),
    }
}

/// Changes and refusals are always worth a line, the rest at the level DEBUG.
fn log(
    method: &str,
    route: &str,
    status: StatusCode,
    context: &Context,
    milliseconds: f64,
    reason: Option<Reason>,
) {
    let (client_id, operator) = match context.caller() {
        Some(Caller::App(id)) => (Some(id), None),
        Some(Caller::Operator(key)) => (None, Some(key)),
        None => (None, None),
    };
    macro_rules! line {
        ($level:ident) => {
            tracing::event!(
                target: "grantbook::request",
                tracing::Level::$level,
                method,
                route,
                status = status.as_u16(),
                duration_ms = milliseconds,
                request_id = context.request_id.as_str(),
                client_id = client_id.map(tracing::field::display),
                operator = operator.map(tracing::field::display),
                reason = reason.as_ref().map(|reason| reason.text.as_str()),
                cause = reason.as_ref().and_then(|reason| reason.cause.as_deref()),
            )
        };
    }
    let reads = matches!(method, "GET" | "HEAD" | "OPTIONS") || READING_POSTS.contains(&route);
    if status.is_server_error() && route != READINESS {
        line!(ERROR);
    } else if !reads || reason.is_some() {
        line!(INFO);
    } else {
        line!(DEBUG);
    }
}

#[cfg(test)]
mod tests;
