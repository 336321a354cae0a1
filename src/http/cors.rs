//! Which paths pages of other origins may call (the CORS protocol of the Fetch standard, section 3.2). Knows:
//! headers. Must not know: what a path does.
//!
//! An app that runs in a browser reads metadata, pushes its requests, exchanges its code, asks about its token and
//! revokes it from its own origin. All these take what they need from the request itself and nothing from cookies, so
//! any origin may, and never with credentials. Everything else is for pages of this server, or for programs.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The paths, as the route table spells them, and what they take. One in braces is the last part of its path.
const OPEN: &[(&str, &str)] = &[
    ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
    ("/oauth/par", "POST, OPTIONS"),
    ("/oauth/token", "POST, OPTIONS"),
    ("/oauth/revoke", "POST, OPTIONS"),
    ("/oauth/userinfo", "GET, HEAD, POST, OPTIONS"),
];
/// With every answer, so that no cache has to tell origins apart. Never with credentials.
const ANSWER: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    (header::ACCESS_CONTROL_EXPOSE_HEADERS, "WWW-Authenticate, Retry-After, X-Request-Id"),
];
/// With the answer to a preflight request. `*` does not stand for Authorization.
const PREFLIGHT: [(HeaderName, &str); 2] = [
    (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Content-Type, *"),
    (header::ACCESS_CONTROL_MAX_AGE, "7200"),
];

/// What a path of the table takes, if pages of other origins may call it.
pub(super) fn opened(path: &str) -> Option<&'static str> {
    let is_it = |open: &str| match open.split_once('{') {
        None => open == path,
        Some((parent, _)) => path.strip_prefix(parent).is_some_and(|id| !id.is_empty() && !id.contains('/')),
    };
    OPEN.iter().find(|(open, _)| is_it(open)).map(|&(_, methods)| methods)
}

/// The answer to a preflight request.
pub(super) fn preflight(methods: &'static str) -> HttpResponse {
    let mut response = HttpResponse::NoContent();
    for (name, value) in PREFLIGHT {
        response.insert_header((name, value));
    }
    response.insert_header((header::ALLOW, methods));
    response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods));
    response.finish()
}

/// Lets a page of another origin read an answer, also one that refuses it.
pub(super) fn open(headers: &mut HeaderMap) {
    for (name, value) in ANSWER {
        headers.insert(name, HeaderValue::from_static(value));
    }
}
