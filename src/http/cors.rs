//! Which paths pages of other origins may call (the CORS protocol of the Fetch standard, section 3.2). Knows:
//! headers. Must not know: what a path does.
//!
//! An app that runs in a browser reads metadata, registers itself, pushes its requests, exchanges its code, asks about its token and
//! revokes it from its own origin. All these take what they need from the request itself and nothing from cookies, so
//! any origin may, and never with credentials. Everything else is for pages of this server, or for programs.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// The paths, as the route table spells them, and what they take. One in braces is the last part of its path.
pub(super) const OPEN: &[(&str, &str)] = &[
    ("/.well-known/oauth-authorization-server", "GET, HEAD, OPTIONS"),
    ("/oauth/par", "POST, OPTIONS"),
    ("/oauth/token", "POST, OPTIONS"),
    ("/oauth/revoke", "POST, OPTIONS"),
    ("/oauth/userinfo", "GET, HEAD, POST, OPTIONS"),
    ("/oauth/register", "POST, OPTIONS"),
    ("/oauth/register/{client_id}", "GET, HEAD, PUT, DELETE, OPTIONS"),
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
    OPEN.iter().find(|(open, _)| is_at(open, path)).map(|&(_, methods)| methods)
}

/// Whether a path is one of the list.
fn is_at(open: &str, path: &str) -> bool {
    match open.split_once('{') {
        None => open == path,
        Some((parent, _)) => path.strip_prefix(parent).is_some_and(|id| !id.is_empty() && !id.contains('/')),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b1_a_path_is_open_with_any_last_part_where_the_list_has_braces_and_nowhere_below() {
        assert!(is_at("/oauth/token", "/oauth/token"));
        assert!(is_at("/apps/{client_id}", "/apps/5f0c") && is_at("/apps/{client_id}", "/apps/{client_id}"));
        for below in ["/apps", "/apps/", "/apps/5f0c/secrets", "/apps/5f0c/", "/x/apps/5f0c"] {
            assert!(!is_at("/apps/{client_id}", below), "{below}");
        }
        for other in ["/oauth/token/", "/oauth/tokens", "/oauth", ""] {
            assert!(!is_at("/oauth/token", other), "{other}");
        }
    }
}
