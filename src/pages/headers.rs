//! The headers that protect a page. Knows: what a browser enforces. Must not know: what is on the page.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use url::{Host, Url};

/// Where the forms of a page may lead.
///
/// Browsers disagree on `form-action`: Firefox checks where a form is sent, Chromium and Safari also check
/// every redirect that follows. An approved consent form is redirected to the app, and the app may redirect
/// further, to a place only the app knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forms<'a> {
    /// To this server, and no further.
    Here,
    /// To this server and on to the origin (or private scheme) of this redirect URI. An app whose callback
    /// redirects to another origin is cut off by Chromium and Safari.
    LeaveFor(&'a str),
    /// To this server and on to wherever the redirects lead: `form-action` is left out. For pages whose
    /// only forms are our own, escaped ones, it would add little to `default-src 'none'`.
    LeaveForAnywhere,
}

/// The headers of every page. The page loads one stylesheet and its icon and nothing else, runs no script, cannot be
/// framed, is not stored, and tells no other site its address.
///
/// With `no-referrer` browsers post forms with `Origin: null`: do not compare `Origin`.
pub fn security_headers(forms: Forms<'_>) -> [(HeaderName, HeaderValue); 5] {
    let fixed = HeaderValue::from_static;
    [
        (CONTENT_SECURITY_POLICY, content_security_policy(forms)),
        (X_FRAME_OPTIONS, fixed("DENY")),
        (REFERRER_POLICY, fixed("no-referrer")),
        (CACHE_CONTROL, fixed("no-store")),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
    ]
}

macro_rules! policy {
    ($form_action:literal) => {
        concat!(
            "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'",
            $form_action
        )
    };
}

fn content_security_policy(forms: Forms<'_>) -> HeaderValue {
    let here = HeaderValue::from_static(policy!("; form-action 'self'"));
    match forms {
        Forms::Here => here,
        Forms::LeaveForAnywhere => HeaderValue::from_static(policy!("")),
        // What cannot be named safely is not named: the form then stays here.
        Forms::LeaveFor(redirect_uri) => form_source(redirect_uri)
            .and_then(|source| {
                HeaderValue::try_from(format!("{} {source}", policy!("; form-action 'self'"))).ok()
            })
            .unwrap_or(here),
    }
}

/// A redirect URI as a CSP source (CSP 3 section 2.3.1), if it can be one. The result holds none of the
/// characters that separate sources and directives: a host may legally contain `;` or `,`.
fn form_source(redirect_uri: &str) -> Option<String> {
    let url = Url::parse(redirect_uri).ok()?;
    let scheme = url.scheme();
    if !matches!(scheme, "http" | "https") {
        // A private scheme has a dot (RFC 8252 section 7.1), which no scheme that runs or holds content has.
        return scheme.contains('.').then(|| format!("{scheme}:"));
    }
    let host = match url.host()? {
        Host::Domain(name)
            if name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) =>
        {
            name.to_owned()
        }
        Host::Domain(_) => return None,
        Host::Ipv4(address) => address.to_string(),
        // A source cannot name an IPv6 address. It is a loopback one, or it would not be registered.
        Host::Ipv6(address) => return address.is_loopback().then(|| format!("{scheme}:")),
    };
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Some(format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(forms: Forms<'_>) -> String {
        content_security_policy(forms).to_str().unwrap().to_owned()
    }

    #[test]
    fn every_page_is_protected() {
        let headers = security_headers(Forms::Here);
        let value = |name: &HeaderName| &headers.iter().find(|(known, _)| known == name).unwrap().1;
        assert_eq!(
            value(&CONTENT_SECURITY_POLICY),
            "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
        );
        assert_eq!(value(&X_FRAME_OPTIONS), "DENY");
        assert_eq!(value(&REFERRER_POLICY), "no-referrer");
        assert_eq!(value(&CACHE_CONTROL), "no-store");
        assert_eq!(value(&X_CONTENT_TYPE_OPTIONS), "nosniff");
    }

    #[test]
    fn a_form_may_leave_for_the_origin_of_the_redirect_uri() {
        for (redirect_uri, source) in [
            ("https://app.example/cb?x=1;y", "https://app.example"),
            ("https://app.example:8443/cb", "https://app.example:8443"),
            ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example"),
            ("http://127.0.0.1:49152/cb", "http://127.0.0.1:49152"),
            ("http://[::1]:49152/cb", "http:"),
            ("com.example.app:/cb", "com.example.app:"),
        ] {
            let policy = policy(Forms::LeaveFor(redirect_uri));
            assert!(policy.ends_with(&format!("; form-action 'self' {source}")), "{policy}");
        }
        assert!(!policy(Forms::LeaveForAnywhere).contains("form-action"));
        assert!(
            policy(Forms::LeaveForAnywhere)
                .starts_with("default-src 'none'; style-src 'self'; img-src 'self'; frame-anc")
        );
    }

    #[test]
    fn no_redirect_uri_gets_a_directive_into_the_policy() {
        for hostile in [
            "https://a;script-src.example/",
            "https://a,b.example/",
            "https://a'unsafe-inline'.example/",
            "https://*.example/",
            "javascript:alert(1)",
            "data:text/html,x",
            "https://[2001:db8::1]/",
            "not a uri",
            "",
        ] {
            assert_eq!(policy(Forms::LeaveFor(hostile)), policy(Forms::Here), "{hostile}");
        }
        // The parser drops what would end the header line.
        let policy = policy(Forms::LeaveFor("https://app.example\r\nSet-Cookie: a=b/"));
        assert!(!policy.contains("Set-Cookie"), "{policy}");
    }
}
