//! Redirect URIs. What may be registered (A5), and what matches what was registered (A3).

use url::{Host, Url};

/// The longest redirect URI, in bytes.
pub const REDIRECT_URI_MAX: usize = 2048;

/// What an answer adds to the query of a redirect URI (RFC 6749 section 4.1.2, RFC 9207).
const ANSWER: &[&str] = &["code", "state", "iss", "error", "error_description"];
/// Schemes that name no app: with a dot and anything after it they look as if they ran or opened something.
const KNOWN_SCHEMES: &[&str] = &[
    "about",
    "blob",
    "data",
    "file",
    "filesystem",
    "ftp",
    "http",
    "https",
    "intent",
    "javascript",
    "mailto",
    "vbscript",
    "view-source",
    "ws",
    "wss",
];

/// Why a redirect URI cannot be registered, in words that say what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RedirectUriError {
    /// Not a URI, or a relative one.
    #[error("redirect URI must be an absolute URI such as https://app.example/callback")]
    NotAbsolute,
    /// Longer than [`REDIRECT_URI_MAX`].
    #[error("redirect URI must be at most {REDIRECT_URI_MAX} characters")]
    TooLong,
    /// It has a fragment.
    #[error("redirect URI must not have a fragment (#…)")]
    Fragment,
    /// It has a user name or password.
    #[error("redirect URI must not have a user name or password")]
    UserInfo,
    /// Plain http to somewhere else than this machine.
    #[error("redirect URI must use https; http is for 127.0.0.1, [::1] and localhost only")]
    PlainHttp,
    /// A scheme that is neither https nor a private one (RFC 8252 section 7.1).
    #[error("a private scheme must be a domain name of yours in reverse, such as com.example.app:/callback")]
    Scheme,
    /// Its query has a parameter that the answer would add again.
    #[error("redirect URI must not have the parameter {0} in its query: the answer adds its own")]
    Answer(String),
    /// It has a host pattern.
    #[error("redirect URI must name one host: patterns with * are not supported")]
    Pattern,
    /// There is a shorter or plainer way to write the same.
    #[error("redirect URI must be written as {0}")]
    NotCanonical(String),
    /// It hides a line break, a backslash or a path step.
    #[error("redirect URI must not contain encoded control characters, backslashes or dot segments")]
    Disguised,
}

/// Whether a redirect URI may be registered.
pub fn check_registrable(uri: &str) -> Result<(), RedirectUriError> {
    if uri.len() > REDIRECT_URI_MAX {
        return Err(RedirectUriError::TooLong);
    }
    if uri.contains('#') {
        return Err(RedirectUriError::Fragment);
    }
    let url = Url::parse(uri).map_err(|_| RedirectUriError::NotAbsolute)?;
    if has_disguise(uri) {
        return Err(RedirectUriError::Disguised);
    }
    if uri.contains('*') {
        return Err(RedirectUriError::Pattern);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(RedirectUriError::UserInfo);
    }
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err(RedirectUriError::PlainHttp),
        scheme if is_private(scheme) => {}
        _ => return Err(RedirectUriError::Scheme),
    }
    // What a parser would change is a second spelling of the same thing, and spellings are compared
    // exactly. Only the slash after a bare authority may be left out.
    let canonical = url.as_str();
    let bare = url.path() == "/" && url.query().is_none() && canonical.strip_suffix('/') == Some(uri);
    if canonical != uri && !bare {
        return Err(RedirectUriError::NotCanonical(canonical.to_owned()));
    }
    match url.query_pairs().find(|(name, _)| ANSWER.contains(&name.as_ref())) {
        Some((name, _)) => Err(RedirectUriError::Answer(name.into_owned())),
        None => Ok(()),
    }
}

/// Whether a scheme is a domain name in reverse, as far as that can be seen.
fn is_private(scheme: &str) -> bool {
    let Some((first, rest)) = scheme.split_once('.') else { return false };
    !KNOWN_SCHEMES.contains(&first) && rest.split('.').all(|label| !label.is_empty())
}

/// Encoded forms of what a parser would take out, or might be talked into taking for something else.
pub(super) fn has_disguise(uri: &str) -> bool {
    let lower = uri.to_ascii_lowercase();
    let control =
        lower.as_bytes().windows(3).any(|triple| triple.starts_with(b"%0") || triple.starts_with(b"%1"));
    control || ["%7f", "%5c", "%2e", "\\"].iter().any(|disguise| lower.contains(disguise))
}

/// Whether a host is this one, or a name below it.
pub(super) fn is_within(host: &str, name: &str) -> bool {
    host.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Whether a redirect URI leads to this host, or to a name below it.
pub fn leads_to(uri: &str, name: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| url.host_str().is_some_and(|host| is_within(host, name)))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// Whether two redirect URIs are the same: as strings, but that an empty path is the root (RFC 3986 section
/// 6.2.3), as URL libraries write it.
pub fn is_same(one: &str, other: &str) -> bool {
    let is_root_of = |root: &str, bare: &str| root.strip_suffix('/') == Some(bare) && has_no_path(bare);
    one == other || is_root_of(one, other) || is_root_of(other, one)
}

fn has_no_path(uri: &str) -> bool {
    let authority = uri.strip_prefix("https://").or_else(|| uri.strip_prefix("http://"));
    authority.is_some_and(|authority| !authority.contains(['/', '?', '#']))
}

/// Whether a requested redirect URI is a registered one: the same, except that on loopback the port may differ
/// (RFC 8252 section 7.3, and RFC 9700 section 4.1.3 for `localhost`).
pub fn matches(registered: &str, requested: &str) -> bool {
    if is_same(registered, requested) {
        return true;
    }
    match (without_loopback_port(registered), without_loopback_port(requested)) {
        (Some(registered), Some(requested)) => registered == requested,
        (None, _) | (_, None) => false,
    }
}

/// The authority and the rest of a loopback URI, without its port.
fn without_loopback_port(uri: &str) -> Option<(&'static str, &str)> {
    let (host, rest) = ["http://127.0.0.1", "http://[::1]", "http://localhost"]
        .into_iter()
        .find_map(|host| Some((host, uri.strip_prefix(host)?)))?;
    let rest = match rest.strip_prefix(':') {
        None => rest,
        Some(port_and_rest) => {
            let end = port_and_rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(port_and_rest.len());
            let (port, rest) = port_and_rest.split_at(end);
            // Spelt as a parser would: neither 0 nor with a 0 before it.
            port.parse::<u16>().ok().filter(|_| !port.starts_with('0'))?;
            rest
        }
    };
    let rest = if rest.is_empty() { "/" } else { rest };
    rest.starts_with(['/', '?']).then_some((host, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a5_registration_takes_https_loopback_and_private_schemes() {
        for right in [
            "https://app.example/callback",
            "https://app.example",
            "https://app.example/callback?tenant=1",
            "https://app.example:8443/cb",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:4000/cb",
            "http://[::1]/cb",
            "http://localhost:3000/cb",
            "com.example.app:/callback",
            "com.example.data:/callback",
            "https://app.example/callback?code_path=1&states=2&Code=3",
        ] {
            assert_eq!(check_registrable(right), Ok(()), "{right}");
        }
    }

    #[test]
    fn a5_registration_refuses_everything_else_and_says_what_would_be_right() {
        use RedirectUriError as E;
        let canonical = |uri: &str| E::NotCanonical(uri.to_owned());
        for (wrong, error) in [
            ("", E::NotAbsolute),
            ("/callback", E::NotAbsolute),
            ("https://", E::NotAbsolute),
            ("https://app.example/cb#top", E::Fragment),
            ("https://user@app.example/cb", E::UserInfo),
            ("https://user:pass@app.example/cb", E::UserInfo),
            ("http://app.example/cb", E::PlainHttp),
            ("http://127.0.0.1.app.example/cb", E::PlainHttp),
            ("http://localhost.app.example/cb", E::PlainHttp),
            ("javascript:alert(1)", E::Scheme),
            ("data:text/html,x", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("myapp:/callback", E::Scheme),
            ("javascript.x:alert(1)", E::Scheme),
            ("data.x:text/html,x", E::Scheme),
            ("file.x:/etc/passwd", E::Scheme),
            ("https.example:/callback", E::Scheme),
            ("com..example:/callback", E::Scheme),
            ("com.example.:/callback", E::Scheme),
            ("https://app.example/cb?code=1", E::Answer("code".to_owned())),
            ("https://app.example/cb?a=1&state=", E::Answer("state".to_owned())),
            ("https://app.example/cb?iss", E::Answer("iss".to_owned())),
            ("https://app.example/cb?error=x", E::Answer("error".to_owned())),
            ("https://app.example/cb?%65rror_description=x", E::Answer("error_description".to_owned())),
            ("com.example.app:/cb?code=1", E::Answer("code".to_owned())),
            ("https://*.app.example/cb", E::Pattern),
            ("https://app.example/a/../b", canonical("https://app.example/b")),
            ("HTTPS://App.Example/cb", canonical("https://app.example/cb")),
            ("https://app.example:443/cb", canonical("https://app.example/cb")),
            ("https://app.example/a b", canonical("https://app.example/a%20b")),
            ("https://app.example/a/%2e%2e/b", E::Disguised),
            ("https://app.example/%0d%0aSet-Cookie:x", E::Disguised),
            ("https://app.example\\@evil.example/", E::Disguised),
            ("https://app.example/%5C", E::Disguised),
        ] {
            assert_eq!(check_registrable(wrong), Err(error), "{wrong}");
        }
        assert_eq!(check_registrable(&format!("https://a.example/{}", "x".repeat(2048))), Err(E::TooLong));
    }

    #[test]
    fn a_redirect_uri_leads_to_its_host_and_to_the_names_above() {
        let uri = "https://www.app.example:8443/cb";
        assert!(leads_to(uri, "www.app.example") && leads_to(uri, "app.example"));
        assert!(!leads_to(uri, "pp.example") && !leads_to(uri, "a.www.app.example"));
        assert!(leads_to("http://[::1]:4000/cb", "[::1]") && !leads_to("com.example.app:/cb", "app"));
    }

    #[test]
    fn a3_only_the_exact_string_matches() {
        let registered = "https://app.example/callback";
        assert!(matches(registered, registered));
        for wrong in [
            "https://app.example/callback/",
            "https://app.example/callback?x=1",
            "https://app.example/callback#x",
            "https://app.example/Callback",
            "https://APP.example/callback",
            "https://app.example:443/callback",
            "https://app.example/./callback",
            "https://app.example/x/../callback",
            "https://app.example/callbac%6B",
            "https://app.example.evil.example/callback",
            "https://user@app.example/callback",
            "https://app.example\\.evil.example/callback",
            "https://app.example/callback%0d%0a",
            "https://app.example/callback\n",
            "http://app.example/callback",
            " https://app.example/callback",
            "",
        ] {
            assert!(!matches(registered, wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a3_an_empty_path_is_the_root_and_no_other_slash_is_forgiven() {
        for (one, other) in [
            ("https://app.example", "https://app.example/"),
            ("https://app.example:8443", "https://app.example:8443/"),
            ("http://127.0.0.1", "http://127.0.0.1:51004/"),
        ] {
            assert!(matches(one, other) && matches(other, one), "{one} {other}");
        }
        assert!(is_same("https://app.example", "https://app.example/"));
        assert!(!is_same("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"), "a port is no spelling");
        for (one, other) in [
            ("https://app.example/cb", "https://app.example/cb/"),
            ("https://app.example", "https://app.example//"),
            ("https://app.example", "https://app.example/?"),
            ("https://app.example", "https://app.example.evil.example/"),
            ("com.example.app:", "com.example.app:/"),
        ] {
            assert!(!matches(one, other) && !matches(other, one), "{one} {other}");
        }
    }

    #[test]
    fn a3_only_on_loopback_may_the_port_differ() {
        assert!(matches("http://localhost:3000/cb", "http://localhost:51004/cb"));
        assert!(matches("http://localhost/cb", "http://localhost:9/cb"));
        assert!(matches("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb"));
        assert!(matches("http://127.0.0.1:4000/cb", "http://127.0.0.1:51004/cb"));
        assert!(matches("http://[::1]/cb?a=1", "http://[::1]:9/cb?a=1"));
        for (registered, wrong) in [
            ("http://localhost/cb", "http://localhost.evil.example:9/cb"),
            ("http://localhost/cb", "https://localhost:9/cb"),
            ("http://localhost/cb", "http://127.0.0.1:9/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:00080/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:+80/cb"),
            ("https://app.example/cb", "https://app.example:8443/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:9/other"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:0/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:65536/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1:9@evil.example/cb"),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb"),
            ("http://127.0.0.1", "http://127.0.0.1:9.evil.example"),
            ("http://127.0.0.1/cb", "http://127.0.0.2:9/cb"),
            ("http://127.0.0.1/cb", "http://[::1]:9/cb"),
            ("http://127.0.0.1/cb", "https://127.0.0.1:9/cb"),
        ] {
            assert!(!matches(registered, wrong), "{wrong}");
        }
    }
}
