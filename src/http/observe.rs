//! One log line and one measurement a request. Knows: routes, statuses, durations, and what the answer says of
//! itself. Must not know: anything a caller sent but the name of the request; a query, a header or a body may hold
//! a secret and is never looked at here.

use std::borrow::Cow;
use std::time::Instant;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::web;

use super::context::{Caller, Context, REQUEST_ID_HEADER};
use super::cors;
use super::endpoint::{Matched, method_name};
use super::reason::Reason;
use crate::telemetry::Metrics;

/// What stands for the route of a request that no route matched.
const UNMATCHED: &str = "unmatched";
/// Routes that are asked by POST although they change nothing: their parameters must not be in a URI.
const READING_POSTS: &[&str] = &["/oauth/introspect"];
/// Asked every few seconds, and its refusal is news to nobody but who asks.
const READINESS: &str = "/readyz";

/// Middleware: names the request in its reply, measures it and logs it. What else every request passes is called from
/// here as plain functions, because each middleware of its own costs several allocations a request.
///
/// It is on the way of every token check, so it formats nothing unless the line is wanted.
pub async fn observe(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    let started = Instant::now();
    let method = method_name(request.method());
    let metrics = request.app_data::<web::Data<Metrics>>().cloned();
    let context = Context::of(request.request());
    let answer = cors::answer(request, next).await;
    let (status, route, reason) = match &answer {
        Ok(response) => {
            let request = response.request();
            // Refused before it was routed, a request still has a path of the table.
            let matched = request.app_data::<Matched>().map(|matched| Cow::Borrowed(matched.0));
            let route = matched.or_else(|| request.match_pattern().map(Cow::Owned));
            (response.status(), route, Reason::of(response.response()))
        }
        Err(error) => (error.as_response_error().status_code(), None, Some(Reason::new(error))),
    };
    let elapsed = started.elapsed();
    let route = route.unwrap_or(Cow::Borrowed(UNMATCHED));
    log(&Line {
        method,
        route: &route,
        status,
        context: &context,
        milliseconds: (elapsed.as_secs_f64() * 1e6).round() / 1e3,
        reason,
    });
    if let Some(metrics) = metrics {
        metrics.request(route, status, elapsed);
    }
    match answer {
        Ok(mut response) => {
            name(response.headers_mut(), &context);
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            name(response.headers_mut(), &context);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// Says in the answer what the request is called.
fn name(headers: &mut HeaderMap, context: &Context) {
    if let Ok(name) = HeaderValue::from_str(context.request_id.as_str()) {
        headers.insert(HeaderName::from_static(REQUEST_ID_HEADER), name);
    }
}

struct Line<'a> {
    method: &'static str,
    route: &'a str,
    status: StatusCode,
    context: &'a Context,
    milliseconds: f64,
    reason: Option<Reason>,
}

/// Changes and refusals are worth a line always, the rest when somebody looks.
fn log(line: &Line<'_>) {
    let (client_id, operator) = match line.context.caller() {
        Some(Caller::App(id)) => (Some(id), None),
        Some(Caller::Operator(key)) => (None, Some(key)),
        None => (None, None),
    };
    macro_rules! line {
        ($level:ident) => {
            tracing::event!(
                target: "grantbook::request",
                tracing::Level::$level,
                method = line.method,
                route = line.route,
                status = line.status.as_u16(),
                duration_ms = line.milliseconds,
                request_id = line.context.request_id.as_str(),
                client_id = client_id.map(tracing::field::display),
                operator = operator.map(tracing::field::display),
                reason = line.reason.as_ref().map(|reason| reason.told.as_str()),
                cause = line.reason.as_ref().and_then(|reason| reason.cause.as_deref()),
            )
        };
    }
    let reads = matches!(line.method, "GET" | "HEAD" | "OPTIONS") || READING_POSTS.contains(&line.route);
    if line.status.is_server_error() && line.route != READINESS {
        line!(ERROR);
    } else if !reads || line.reason.is_some() {
        line!(INFO);
    } else {
        line!(DEBUG);
    }
}

#[cfg(test)]
mod tests;
