//! The cookies of a request, as they were sent. Knows: names and values, byte for byte. Must not know: what
//! they are good for.
//!
//! Names are compared byte for byte. Code that decodes percent-encoded names, as `actix_web` does, takes
//! `__%48ost-x`, which any sibling host may set for the whole domain, for `__Host-x`, which only this host
//! can set. Cookies of other programs may hold any bytes; ours is still read.

use std::time::Duration;

use actix_web::cookie::{Cookie, SameSite, time};
use actix_web::http::header::{COOKIE, HeaderMap};

/// Names and values, in the order they were sent. What is not UTF-8 is not one of ours.
pub(super) fn sent(headers: &HeaderMap) -> impl Iterator<Item = (&str, &str)> {
    let pairs = headers.get_all(COOKIE).flat_map(|line| line.as_bytes().split(|&byte| byte == b';'));
    pairs.filter_map(|pair| std::str::from_utf8(pair.trim_ascii()).ok()?.split_once('='))
}

/// The value of the one cookie of this name. None if there are two, because it is then unclear which one is ours.
/// (Over https no browser sends two of one `__Host-` name. On loopback, another port may have set one.)
pub fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = sent(headers).filter_map(|(known, value)| (known == name).then_some(value));
    values.next().filter(|_| values.next().is_none())
}

/// How this server's cookies are named and set: for the whole of this host and no other, out of reach of
/// scripts, and not sent along with what other sites post or load.
#[derive(Debug, Clone, Copy)]
pub(super) struct OurCookies {
    /// Whether people reach this server by https. Cookies are then `Secure` and named `__Host-…`, which no
    /// other host and no plain-text connection can set.
    pub(super) https: bool,
}

impl OurCookies {
    /// The full name of one of our cookies.
    pub(super) fn name(self, name: &str) -> String {
        format!("{}{name}", if self.https { "__Host-" } else { "" })
    }

    /// A cookie under its full name. Without an age it goes with the browser's window.
    pub(super) fn cookie(self, name: String, value: String, max_age: Option<Duration>) -> Cookie<'static> {
        let cookie = Cookie::build(name, value).path("/").http_only(true).same_site(SameSite::Lax);
        let mut cookie = cookie.secure(self.https).finish();
        cookie.set_max_age(max_age.map(|age| time::Duration::try_from(age).unwrap_or(time::Duration::MAX)));
        cookie
    }

    /// What takes a cookie out of the browser.
    pub(super) fn removal(self, name: String) -> Cookie<'static> {
        self.cookie(name, String::new(), Some(Duration::ZERO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn only_in(lines: &[&[u8]]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(COOKIE, HeaderValue::from_bytes(line).unwrap());
        }
        only(&headers, "__Host-x").map(str::to_owned)
    }

    #[test]
    fn a_cookie_is_found_by_its_name_to_the_letter_among_any_others() {
        for lines in [
            &[&b"__Host-x=1"[..]][..],
            &[b"a=b; __Host-x=1; c"],
            &[b"a=\xE9;__Host-x=1;=;;\xff=\xff"],
            &[b"__%48ost-x=2; __Host-x=1; __host-x=3; __Host-x =4; x__Host-x=5"],
            &[b"a=b", b"__Host-x=1"],
        ] {
            assert_eq!(only_in(lines).as_deref(), Some("1"), "{lines:?}");
        }
        assert_eq!(only_in(&[b"__Host-x=a=b=="]).as_deref(), Some("a=b=="));
    }

    #[test]
    fn what_spells_the_name_otherwise_or_twice_is_not_it() {
        for lines in [
            &[][..],
            &[&b"__%48ost-x=1"[..]],
            &[b"__Host%2Dx=1"],
            &[b"__HOST-X=1"],
            &[b"__Host-x"],
            &[b"__Host-x=1; __Host-x=1"],
            &[b"__Host-x=1", b"__Host-x=2"],
        ] {
            assert_eq!(only_in(lines), None, "{lines:?}");
        }
    }
}
