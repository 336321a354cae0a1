//! The URLs of the configuration. Knows: which URLs may leave this machine and which may not. Must not
//! know: what is served or asked there.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

use super::error::quoted;
use super::takes::Why;

/// How our own paths begin. With an issuer whose path begins so, it would be unclear whether a proxy removed it.
const OWN: &str = ".well-known account apps assets audit favicon.ico healthz installations keys metrics oauth openapi.json \
                   projections readyz sign-in sign-out tokens";

/// The URL that names this server to everyone: the `iss` of RFC 9207, the `issuer` of RFC 8414. Https, or
/// http on a loopback host; no query, no fragment, no user name, no trailing slash.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Issuer(String);

impl Issuer {
    /// The issuer of a server that has none configured: http at the address it listens on. `None` if other machines can
    /// reach that address, because they need https.
    pub(super) fn of_loopback(listen: SocketAddr) -> Option<Self> {
        let issuer = Url::parse(&format!("http://{listen}")).ok()?;
        is_loopback(&issuer).then(|| Self(issuer.as_str().trim_end_matches('/').to_owned()))
    }

    pub(super) fn parse(text: &str) -> Result<Self, Why> {
        let url = web_url(text)?;
        if url.query().is_some() {
            return Err("has a query".to_owned());
        }
        if text.ends_with('/') {
            return Err("ends with a slash".to_owned());
        }
        // Callers compare issuers byte for byte, so there must be one way to write each.
        let normal = url.as_str().trim_end_matches('/');
        if normal != text {
            return Err(format!("is not in its normal form, {}", quoted(normal)));
        }
        let issuer = Self(text.to_owned());
        let first = issuer.path().split('/').nth(1).unwrap_or_default();
        if is_own(first) {
            return Err(format!("has a path that begins with /{first}, as paths of grantbook itself do"));
        }
        Ok(issuer)
    }

    /// The URL of a path on this server; the path begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }

    /// Whether browsers reach this server through TLS, so that cookies can be `Secure`.
    pub fn is_https(&self) -> bool {
        self.0.starts_with("https:")
    }

    /// Its path, without a trailing slash: empty for most.
    pub fn path(&self) -> &str {
        let after_scheme = self.0.split_once("://").map_or("", |(_, rest)| rest);
        after_scheme.find('/').and_then(|slash| after_scheme.get(slash..)).unwrap_or_default()
    }

    /// The URL, without a trailing slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Issuer {
    type Error = Why;

    fn try_from(text: String) -> Result<Self, Why> {
        Self::parse(&text)
    }
}

impl fmt::Display for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_own(segment: &str) -> bool {
    OWN.split(' ').any(|own| own == segment)
}

/// A URL a browser may be sent to, in the clear only if it stays on this machine.
pub(super) fn web_url(text: &str) -> Result<Url, Why> {
    let url = Url::parse(text).map_err(|_| "is no URL")?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => return Err("is http on a host other than loopback".to_owned()),
        _ => return Err("is neither https nor http".to_owned()),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user name or a password in it".to_owned());
    }
    if url.fragment().is_some() {
        return Err("has a fragment".to_owned());
    }
    Ok(url)
}

/// Whether a URL stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::from(address).is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_that_stand() {
        for text in [
            "https://auth.example.com",
            "https://auth.example.com:8443",
            "https://example.com/auth",
            "https://xn--bcher-kva.example",
            "http://127.0.0.1:8700",
            "http://127.9.9.9",
            "http://[::1]:8700",
            "http://localhost:3000",
        ] {
            let issuer = Issuer::parse(text).expect(text);
            assert_eq!(issuer.as_str(), text);
            assert_eq!(issuer.join("/oauth/token"), format!("{text}/oauth/token"));
            assert_eq!(issuer.is_https(), text.starts_with("https"));
        }
    }

    #[test]
    fn an_issuer_has_a_path_or_none() {
        for (text, path) in [
            ("https://example.com", ""),
            ("http://[::1]:8700", ""),
            ("https://example.com/auth", "/auth"),
            ("https://example.com:8443/a/b", "/a/b"),
            ("https://example.com/oauth2", "/oauth2"),
        ] {
            assert_eq!(Issuer::parse(text).unwrap().path(), path, "{text}");
        }
    }

    #[test]
    fn what_our_own_paths_begin_with_is_known() {
        let endpoints = include_str!("../http/endpoints.rs");
        let paths = ["GET", "POST", "PATCH", "DELETE"].map(|method| format!("{method} \"/"));
        let paths = paths.iter().flat_map(|start| endpoints.split(start).skip(1));
        let mut first: Vec<_> = paths.filter_map(|path| path.split(['/', '"']).next()).collect();
        first.retain(|segment| !segment.is_empty());
        assert!(first.len() > 20);
        assert!(first.iter().all(|segment| is_own(segment)), "{first:?}");
    }

    #[test]
    fn issuers_that_do_not() {
        for (text, why) in [
            ("", "is no URL"),
            ("auth.example.com", "is no URL"),
            ("ftp://example.com", "is neither https nor http"),
            ("javascript:alert(1)", "is neither https nor http"),
            ("http://example.com", "is http on a host other than loopback"),
            ("http://localhost.example.com", "is http on a host other than loopback"),
            ("http://0.0.0.0:8700", "is http on a host other than loopback"),
            ("http://[::ffff:10.0.0.1]", "is http on a host other than loopback"),
            ("https://me@example.com", "has a user name or a password in it"),
            ("https://:pw@example.com", "has a user name or a password in it"),
            ("https://example.com#here", "has a fragment"),
            ("https://example.com?", "has a query"),
            ("https://example.com?a=b", "has a query"),
            ("https://example.com/", "ends with a slash"),
            ("https://example.com/auth/", "ends with a slash"),
            ("https://Example.com", "is not in its normal form, \"https://example.com\""),
            ("HTTPS://example.com", "is not in its normal form, \"https://example.com\""),
            ("https://example.com:443", "is not in its normal form, \"https://example.com\""),
            ("https://example.com/a/../b", "is not in its normal form, \"https://example.com/b\""),
            ("http://2130706433", "is not in its normal form, \"http://127.0.0.1\""),
            (" https://example.com", "is not in its normal form, \"https://example.com\""),
            ("https://example.com\\a", "is not in its normal form, \"https://example.com/a\""),
            (
                "https://example.com/oauth",
                "has a path that begins with /oauth, as paths of grantbook itself do",
            ),
            (
                "https://example.com/apps/auth",
                "has a path that begins with /apps, as paths of grantbook itself do",
            ),
        ] {
            assert_eq!(Issuer::parse(text), Err(why.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_default_issuer_is_where_the_server_listens_on_loopback() {
        let of = |listen: &str| Issuer::of_loopback(listen.parse().expect(listen)).map(|issuer| issuer.0);
        assert_eq!(of("127.0.0.1:8700").as_deref(), Some("http://127.0.0.1:8700"));
        assert_eq!(of("[::1]:8700").as_deref(), Some("http://[::1]:8700"));
        assert_eq!(of("127.0.0.1:80").as_deref(), Some("http://127.0.0.1"));
        assert_eq!(of("0.0.0.0:8700"), None);
        assert_eq!(of("192.0.2.1:8700"), None);
    }

    #[test]
    fn a_login_url_keeps_its_query() {
        let url = web_url("https://example.com/sign-in?for=grantbook").expect("stands");
        assert_eq!(url.as_str(), "https://example.com/sign-in?for=grantbook");
        for loopback in ["http://127.0.0.1:9000/login", "http://[::1]/login", "http://localhost/login"] {
            assert!(web_url(loopback).is_ok(), "{loopback}");
        }
        for wrong in [
            "http://example.com/login",
            "/login",
            "javascript:alert(1)",
            "https://u:p@example.com/x",
            "https://example.com/#x",
            "https://",
        ] {
            assert!(web_url(wrong).is_err(), "{wrong}");
        }
    }
}
