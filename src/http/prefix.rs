//! An issuer with a path, such as `https://example.com/auth`: requests and redirects under it. Knows: paths. Must
//! not know: what is served at any of them.
//!
//! A proxy in front may take the path off or leave it on; both arrive at the same route. What leaves has it.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::Uri;
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::Next;
use actix_web::web;

use super::service::Service;
use crate::pages::Prefix;

/// Where metadata is, if the issuer has no path. A path comes after it (RFC 8414 section 3.1).
const METADATA: &str = "/.well-known/oauth-authorization-server";

/// Middleware, outermost, for an issuer with a path.
///
/// # Errors
/// Those of the services within.
pub async fn under_the_issuer<B: MessageBody>(
    service: web::Data<Service>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    if let Some(uri) = own(&service.prefix, request.uri()) {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
    let mut response = next.call(request).await?;
    let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
    if let Some(location) = location.and_then(|path| HeaderValue::try_from(service.prefix.href(path)).ok()) {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(response)
}

/// The URI of our own that was asked for under the prefix; none if it is one as it is.
fn own(prefix: &Prefix, asked: &Uri) -> Option<Uri> {
    let path = match asked.path() {
        path if path.strip_prefix(METADATA) == Some(prefix.as_str()) => METADATA,
        path => match path.strip_prefix(prefix.as_str())? {
            "" => "/",
            own if own.starts_with('/') => own,
            _ => return None,
        },
    };
    let query = asked.query().map_or_else(String::new, |query| format!("?{query}"));
    let mut parts = asked.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}")).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_taken_off_where_it_is_there() {
        let prefix = Prefix::new("/auth");
        for (asked, taken) in [
            ("/auth/oauth/token", Some("/oauth/token")),
            (
                "/auth/oauth/authorize?client_id=a&state=/auth/b?",
                Some("/oauth/authorize?client_id=a&state=/auth/b?"),
            ),
            ("/auth", Some("/")),
            ("/auth/", Some("/")),
            ("/auth?a=b", Some("/?a=b")),
            ("/.well-known/oauth-authorization-server/auth", Some("/.well-known/oauth-authorization-server")),
            ("/auth/.well-known/oauth-authorization-server", Some("/.well-known/oauth-authorization-server")),
            ("/oauth/token", None),
            ("/authority", None),
            ("/AUTH/oauth/token", None),
            ("/other/auth/oauth/token", None),
            ("/.well-known/oauth-authorization-server/other", None),
            ("/.well-known/oauth-authorization-server", None),
        ] {
            let own = own(&prefix, &asked.parse().unwrap());
            assert_eq!(own.map(|uri| uri.to_string()).as_deref(), taken, "{asked}");
        }
        // Once, and no more.
        assert_eq!(own(&prefix, &"/auth/auth/apps".parse().unwrap()).unwrap(), "/auth/apps");
    }
}
