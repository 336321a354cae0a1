//! Which paths pages of other origins may call (the CORS protocol of the Fetch standard, section 3.2). Knows:
//! headers. Must not know: what a path does.
//!
//! An app that runs in a browser reads metadata, exchanges its code and revokes its tokens from its own origin.
//! All these take what they need from the request itself and nothing from cookies, so any origin may, and never
//! with credentials. Everything else is for pages of this server, or for programs.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;

use super::limits::guard;

/// The paths, as the route table spells them, and what they take.
const OPEN: &[(&str, &str)] = &[
    ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
    ("/oauth/token", "POST, OPTIONS"),
    ("/oauth/revoke", "POST, OPTIONS"),
];
/// With every answer, so that no cache has to tell origins apart. Never with credentials.
const ANSWER: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "WWW-Authenticate, Retry-After, X-Request-Id"),
];
/// To the question that a browser asks before. `*` does not stand for Authorization.
const PREFLIGHT: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, *"),
    (header::ACCESS_CONTROL_MAX_AGE, "7200"),
];

/// What a path takes that pages of other origins may call.
fn opened(path: &str) -> Option<&'static str> {
    OPEN.iter().find(|(open, _)| *open == path).map(|&(_, methods)| methods)
}

/// Whether pages of other origins may call a path of the table.
pub(super) fn is_open(path: &str) -> bool {
    opened(path).is_some()
}

/// Around everything that may refuse a request, since a page has to see why.
pub(super) async fn answer(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, actix_web::Error> {
    let Some(methods) = opened(request.path()) else { return guard(request, next).await };
    if request.method() == Method::OPTIONS {
        let mut response = HttpResponse::NoContent();
        response.insert_header((header::ALLOW, methods));
        response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods));
        let mut response = response.finish();
        insert(response.headers_mut(), PREFLIGHT);
        insert(response.headers_mut(), ANSWER);
        return Ok(request.into_response(response));
    }
    match guard(request, next).await {
        Ok(mut response) => {
            insert(response.headers_mut(), ANSWER);
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            insert(response.headers_mut(), ANSWER);
            Err(InternalError::from_response(error, response).into())
        }
    }
}

fn insert(headers: &mut HeaderMap, added: [(HeaderName, &'static str); 2]) {
    for (name, value) in added {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
