//! The headers that protect a page. Knows: what a browser enforces. Must not know: what is on the page.

use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};

/// Where the forms of a page may lead.
///
/// Browsers disagree on `form-action`: Firefox checks where a form is sent, Chromium and Safari also check
/// every redirect that follows. An approved consent form is redirected to the app, and the app may redirect
/// further, to a place only the app knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forms {
    /// To this server, and no further.
    Here,
    /// To this server and on to wherever the redirects lead: `form-action` is left out. For pages whose
    /// only forms are our own, escaped ones, it would add little to `default-src 'none'`.
    LeaveForAnywhere,
}

const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'";
const POLICY_HERE: &str = "default-src 'none'; style-src 'self'; img-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'";

/// The headers of every page. The page loads one stylesheet and its icon and nothing else, runs no script, cannot be
/// framed, is not stored, and tells no other site its address.
///
/// With `no-referrer` browsers post forms with `Origin: null`: do not compare `Origin`.
pub fn security_headers(forms: Forms) -> [(HeaderName, HeaderValue); 5] {
    let fixed = HeaderValue::from_static;
    let policy = match forms {
        Forms::Here => POLICY_HERE,
        Forms::LeaveForAnywhere => POLICY,
    };
    [
        (CONTENT_SECURITY_POLICY, fixed(policy)),
        (X_FRAME_OPTIONS, fixed("DENY")),
        (REFERRER_POLICY, fixed("no-referrer")),
        (CACHE_CONTROL, fixed("no-store")),
        (X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(forms: Forms) -> String {
        let (_, value) = &security_headers(forms)[0];
        value.to_str().unwrap().to_owned()
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
    fn a_form_may_leave_only_if_it_says_so() {
        assert_eq!(policy(Forms::Here), format!("{}; form-action 'self'", policy(Forms::LeaveForAnywhere)));
        assert!(!policy(Forms::LeaveForAnywhere).contains("form-action"));
    }
}
