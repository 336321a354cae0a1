//! The way back to an app: a redirect with a code or an error (RFC 6749 section 4.1.2). Knows: redirect URIs that were
//! checked. Must not know: why an answer is what it is.

use actix_web::HttpResponse;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::decisions::authorization_request::RedirectTarget;
use crate::http::{Reason, Service, see_other};

/// An error that goes back to the app, with its reason for the log.
pub(super) fn refused(
    service: &Service,
    target: &RedirectTarget,
    code: &str,
    description: &str,
) -> HttpResponse {
    let mut response = answer(service, target, &[("error", code), ("error_description", description)]);
    Reason::new(format_args!("{code}: {description}")).put_on(&mut response);
    response
}

/// Everything but the unreserved characters (RFC 3986 section 2.3): what comes back decodes to the same
/// bytes whether or not the app takes `+` for a space.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Sends the browser back to the app (RFC 6749 section 4.1.2, RFC 9207), keeping the redirect URI's own
/// query (A8).
pub(super) fn answer(service: &Service, target: &RedirectTarget, values: &[(&str, &str)]) -> HttpResponse {
    let mut location = target.redirect_uri.clone();
    let state = target.state.as_deref().map(|state| ("state", state));
    for (name, value) in values.iter().copied().chain(state).chain([("iss", service.issuer())]) {
        match location.find('?') {
            None => location.push('?'),
            Some(_) if location.ends_with(['?', '&']) => {}
            Some(_) => location.push('&'),
        }
        location.push_str(name);
        location.push('=');
        location.extend(utf8_percent_encode(value, VALUE));
    }
    see_other(&location)
}
