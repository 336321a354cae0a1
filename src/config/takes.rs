//! What a setting takes: durations, sizes, numbers, words, and how each is written. Knows: text. Must not know: which
//! setting the text was written for.
//!
//! What refuses a text says why in a clause that continues "…, which ".

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};
use tracing_subscriber::EnvFilter;

use crate::decisions::resources::ResourceList;
use crate::decisions::self_registration::RedirectHosts;

/// Why a text is refused, as a clause that continues "…, which ".
pub(super) type Why = String;

const DURATION_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
const SIZE_UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("", 1)];
const NO_UNIT: [(&str, u64); 1] = [("", 1)];

/// What a setting takes, with its bounds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Takes {
    /// Seconds at least and at most.
    Duration(u64, u64),
    /// Bytes at least and at most.
    Bytes(u64, u64),
    /// A number at least and at most.
    Count(u64, u64),
    /// One of these words.
    Word(&'static [&'static str]),
    /// Something else: in words, with an example; and what checks it.
    Other(&'static str, fn(&str) -> Result<(), Why>),
}

impl Takes {
    /// The value that a text stands for, as serde reads it.
    pub fn read(self, text: &str) -> Result<Value, Why> {
        if text.is_empty() {
            return Err("is empty".to_owned());
        }
        match self {
            Self::Duration(least, most) => {
                let seconds = in_units(text, &DURATION_UNITS);
                let seconds = seconds.ok_or("is no whole number with a unit of s, m, h or d")?;
                Ok(json!(Duration::from_secs(within(seconds, least, most, show_seconds)?)))
            }
            Self::Bytes(least, most) => {
                let bytes = in_units(text, &SIZE_UNITS).ok_or("is no whole number of bytes, KiB or MiB")?;
                Ok(within(bytes, least, most, show_bytes)?.into())
            }
            Self::Count(least, most) => {
                let number = in_units(text, &NO_UNIT).ok_or("is no whole number")?;
                Ok(within(number, least, most, |number| number.to_string())?.into())
            }
            Self::Word(words) if !words.contains(&text) => Err("is not one of them".to_owned()),
            Self::Word(_) => Ok(text.into()),
            Self::Other(_, check) => check(text).map(|()| text.into()),
        }
    }
}

impl std::fmt::Display for Takes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match *self {
            Self::Duration(least, most) => {
                write!(f, "a duration from \"{}\" to \"{}\"", show_seconds(least), show_seconds(most))
            }
            Self::Bytes(least, most) => {
                write!(f, "a size from \"{}\" to \"{}\"", show_bytes(least), show_bytes(most))
            }
            Self::Count(least, most) => write!(f, "a whole number from {least} to {most}"),
            Self::Word(words) => write!(f, "one of {}", words.join(", ")),
            Self::Other(what, _) => f.write_str(what),
        }
    }
}

/// An IP address and a port.
pub(super) fn address(text: &str) -> Result<(), Why> {
    text.parse::<SocketAddr>().map(drop).map_err(|_| "is no IP address with a port".to_owned())
}

/// Any path: what opens it finds out whether something is there.
pub(super) fn path(text: &str) -> Result<(), Why> {
    if text.contains('\0') { Err("holds a zero byte".to_owned()) } else { Ok(()) }
}

/// An `iss` claim.
pub(super) fn issuer_claim(text: &str) -> Result<(), Why> {
    const MAX_CHARS: usize = 255;
    let is_one = text.len() <= MAX_CHARS && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_one { Ok(()) } else { Err("is too long or holds other characters".to_owned()) }
}

/// At which hosts apps may have metadata documents.
pub(super) fn documents(text: &str) -> Result<(), Why> {
    if text == "off" { Ok(()) } else { RedirectHosts::parse(text).map(drop) }
}

/// The APIs that tokens may be for.
pub(super) fn resources(text: &str) -> Result<(), Why> {
    let read = ResourceList::parse(text).map(drop);
    read.map_err(|_| "has something else than absolute URIs without a fragment".to_owned())
}

/// Directives of a log filter.
pub(super) fn log_filter(text: &str) -> Result<(), Why> {
    EnvFilter::try_new(text).map(drop).map_err(|_| "is no filter".to_owned())
}

/// A whole number with one of these units: decimal digits, without a sign, an underscore or a space.
fn in_units(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let (digits, factor) =
        units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { digits.parse::<u64>().ok()?.checked_mul(*factor) } else { None }
}

fn within(value: u64, least: u64, most: u64, show: impl Fn(u64) -> String) -> Result<u64, Why> {
    if value < least {
        Err(format!("is less than {}", show(least)))
    } else if value > most {
        Err(format!("is more than {}", show(most)))
    } else {
        Ok(value)
    }
}

fn show_seconds(seconds: u64) -> String {
    match seconds {
        days if days > 86_400 && days.is_multiple_of(86_400) => format!("{}d", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3_600) => format!("{}h", hours / 3_600),
        minutes if minutes > 0 && minutes.is_multiple_of(60) => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

fn show_bytes(bytes: u64) -> String {
    match bytes {
        mib if mib > 0 && mib.is_multiple_of(1 << 20) => format!("{}MiB", mib >> 20),
        kib if kib > 0 && kib.is_multiple_of(1 << 10) => format!("{}KiB", kib >> 10),
        bytes => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY_DURATION: Takes = Takes::Duration(0, u64::MAX);
    const ANY_SIZE: Takes = Takes::Bytes(0, u64::MAX);

    fn refused(takes: Takes, text: &str) -> String {
        takes.read(text).expect_err(text)
    }

    #[test]
    fn durations() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000)] {
            assert_eq!(ANY_DURATION.read(text), Ok(json!(Duration::from_secs(seconds))), "{text}");
        }
        for text in
            ["60", "s", "1 s", "-1s", "+1s", "1.5h", "1h30m", "1w", "1S", "18446744073709551615h", "1_0s"]
        {
            assert_eq!(
                refused(ANY_DURATION, text),
                "is no whole number with a unit of s, m, h or d",
                "{text}"
            );
        }
        let bounds = Takes::Duration(60, 86_400);
        assert_eq!(refused(bounds, "59s"), "is less than 1m");
        assert_eq!(refused(bounds, "25h"), "is more than 24h");
        assert!(bounds.read("1m").is_ok() && bounds.read("1d").is_ok());
        assert_eq!(refused(bounds, ""), "is empty");
    }

    #[test]
    fn sizes_and_numbers() {
        for (text, size) in [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("2MiB", 2_097_152)] {
            assert_eq!(ANY_SIZE.read(text), Ok(json!(size)), "{text}");
        }
        for text in ["KiB", "64KB", "64kib", "64 KiB", "-1", "1.5MiB", "18446744073709551615KiB"] {
            assert_eq!(refused(ANY_SIZE, text), "is no whole number of bytes, KiB or MiB", "{text}");
        }
        assert_eq!(refused(Takes::Bytes(1, 1024), "1MiB"), "is more than 1KiB");
        assert_eq!(refused(Takes::Count(1, 9), "0"), "is less than 1");
        assert_eq!(refused(Takes::Count(1, 9), "ten"), "is no whole number");
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for seconds in [0, 1, 59, 60, 61, 3_600, 7_200, 86_400, 172_800, 2_592_000] {
            let read = ANY_DURATION.read(&show_seconds(seconds));
            assert_eq!(read, Ok(json!(Duration::from_secs(seconds))));
        }
        for size in [0, 1, 1023, 1024, 1025, 65_536, 1 << 20, 3 << 20] {
            assert_eq!(ANY_SIZE.read(&show_bytes(size)), Ok(json!(size)));
        }
        assert_eq!((show_seconds(86_400), show_bytes(65_536)), ("24h".into(), "64KiB".into()));
    }
}
