//! How long an answer may be kept (RFC 9111 section 5). Knows: headers. Must not know: what was answered.

use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, DATE, EXPIRES};

/// An answer is kept at least so long, so that nobody makes us ask again at every request.
pub(super) const KEPT_AT_LEAST: Duration = Duration::from_secs(10 * 60);
/// And at most so long, so that a change arrives.
const KEPT_AT_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long an answer with these headers is kept.
pub(super) fn kept_for(headers: &HeaderMap) -> Duration {
    let seconds = max_age(headers).or_else(|| until_expires(headers)).unwrap_or(0);
    Duration::from_secs(seconds).clamp(KEPT_AT_LEAST, KEPT_AT_MOST)
}

fn max_age(headers: &HeaderMap) -> Option<u64> {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let is = |name: &str| directives.iter().any(|directive| directive.eq_ignore_ascii_case(name));
    if is("no-store") || is("no-cache") {
        return Some(0);
    }
    directives.iter().find_map(|directive| {
        let (name, seconds) = directive.split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| seconds.trim_matches('"').parse().ok())?
    })
}

/// By the clock of who answered. `Expires: 0` and the like are in the past.
fn until_expires(headers: &HeaderMap) -> Option<u64> {
    let time = |name| {
        let text = headers.get(name)?.to_str().ok()?;
        jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp().as_second())
    };
    u64::try_from(time(EXPIRES)?.saturating_sub(time(DATE)?)).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn x1_answers_are_kept_as_their_headers_say_within_bounds() {
        const DATE_VALUE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const MINUTES: u64 = 60;
        const HOURS: u64 = 60 * MINUTES;
        for (given, seconds) in [
            (&[][..], 10 * MINUTES),
            (&[("cache-control", "public, max-age=3600")], HOURS),
            (&[("cache-control", "public"), ("cache-control", "Max-Age=\"7200\"")], 2 * HOURS),
            (&[("cache-control", "max-age=5")], 10 * MINUTES),
            (&[("cache-control", "max-age=99999999")], 24 * HOURS),
            (&[("cache-control", "max-age=99999999999999999999999")], 10 * MINUTES),
            (&[("cache-control", "no-store, max-age=3600")], 10 * MINUTES),
            (&[("date", DATE_VALUE), ("expires", "Sun, 06 Nov 1994 11:49:37 GMT")], 3 * HOURS),
            (&[("date", DATE_VALUE), ("expires", "Sun, 06 Nov 1994 07:49:37 GMT")], 10 * MINUTES),
            (&[("date", DATE_VALUE), ("expires", "0")], 10 * MINUTES),
            (
                &[
                    ("date", DATE_VALUE),
                    ("expires", "Sun, 06 Nov 1994 11:49:37 GMT"),
                    ("cache-control", "max-age=3600"),
                ],
                HOURS,
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in given {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(kept_for(&headers), Duration::from_secs(seconds), "{given:?}");
        }
    }
}
