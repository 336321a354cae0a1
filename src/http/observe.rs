//! One log line and one measurement a request. Knows: routes, statuses, durations. Must not know: anything
//! a caller sent but the name of the request; a query, a header or a body may hold a secret and is never
//! looked at here.

use std::borrow::Cow;
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::web;

use super::context::{Context, REQUEST_ID_HEADER};
use super::path::Matched;
use crate::telemetry::Metrics;

/// What stands for the route of a request that no route matched.
const UNMATCHED: &str = "unmatched";
/// Routes that are asked by POST although they change nothing: their parameters must not be in a URI.
const READING_POSTS: &[&str] = &["/oauth/introspect"];

/// Middleware, outermost: names the request in its reply, measures it and logs it.
///
/// It is on the way of every token check, so it formats nothing unless the line is wanted.
///
/// # Errors
/// Those of the services within, which are measured and passed on.
pub async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let started = Instant::now();
    let method = name_of(request.method());
    let metrics = request.app_data::<web::Data<Metrics>>().cloned();
    let answer = next.call(request).await;
    let (status, route, context) = match &answer {
        Ok(response) => {
            let request = response.request();
            // Refused before it was routed, a request still has a path of the table.
            let matched = request.app_data::<Matched>().map(|matched| Cow::Borrowed(matched.0));
            let route = matched.or_else(|| request.match_pattern().map(Cow::Owned));
            (response.status(), route, Some(Context::last_of(request)))
        }
        Err(error) => (error.as_response_error().status_code(), None, None),
    };
    let elapsed = started.elapsed();
    let route = route.unwrap_or(Cow::Borrowed(UNMATCHED));
    let request_id = context.as_ref().map_or("", |context| context.request_id.as_str());
    log(Line {
        method,
        route: &route,
        status,
        request_id,
        milliseconds: (elapsed.as_secs_f64() * 1e6).round() / 1e3,
    });
    let name = HeaderValue::from_str(request_id);
    if let Some(metrics) = metrics {
        metrics.request(route, status, elapsed);
    }
    answer.map(|mut response| {
        if let Ok(name) = name {
            response.headers_mut().insert(HeaderName::from_static(REQUEST_ID_HEADER), name);
        }
        response
    })
}

struct Line<'a> {
    method: &'static str,
    route: &'a str,
    status: StatusCode,
    request_id: &'a str,
    milliseconds: f64,
}

/// Changes and failures are worth a line always, the rest when somebody looks.
fn log(line: Line<'_>) {
    macro_rules! line {
        ($level:ident) => {
            tracing::event!(
                target: "grantbook::request",
                tracing::Level::$level,
                method = line.method,
                route = line.route,
                status = line.status.as_u16(),
                duration_ms = line.milliseconds,
                request_id = line.request_id,
            )
        };
    }
    let reads = matches!(line.method, "GET" | "HEAD" | "OPTIONS") || READING_POSTS.contains(&line.route);
    let changes = !reads && line.route != UNMATCHED;
    if changes || line.status.is_server_error() {
        line!(INFO);
    } else {
        line!(DEBUG);
    }
}

/// A method by a name of ours: callers may make up their own.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

#[cfg(test)]
mod tests;
