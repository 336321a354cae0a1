//! How a value is written: durations, sizes, numbers, addresses, paths. Knows: text. Must not know: which
//! key the text was written for.
//!
//! A parser that refuses says why in a clause that continues "…, which ".

use std::path::PathBuf;
use std::time::Duration;

use super::settings::Takes;

/// Why a text is refused, as a clause that continues "…, which ".
pub(super) type Why = String;

const DURATION_UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
const SIZE_UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("", 1)];

/// A duration within its bounds, such as `90s`, `5m`, `1h`, `30d`.
pub(super) fn duration(text: &str, takes: Takes) -> Result<Duration, Why> {
    let seconds = DURATION_UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .and_then(|(number, factor)| whole_number(number)?.checked_mul(*factor))
        .ok_or("is no whole number with a unit of s, m, h or d")?;
    if let Takes::Duration(least, most) = takes {
        within(seconds, least, most, show_seconds)?;
    }
    Ok(Duration::from_secs(seconds))
}

/// A size in bytes within its bounds, such as `65536` or `64KiB`.
pub(super) fn bytes(text: &str, takes: Takes) -> Result<usize, Why> {
    let size = SIZE_UNITS
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))
        .and_then(|(number, factor)| whole_number(number)?.checked_mul(*factor))
        .ok_or("is no whole number of bytes, KiB or MiB")?;
    if let Takes::Bytes(least, most) = takes {
        within(size, least, most, show_bytes)?;
    }
    usize::try_from(size).map_err(|_| "is more than this machine can address".to_owned())
}

/// A whole number within its bounds.
pub(super) fn count(text: &str, takes: Takes) -> Result<usize, Why> {
    let number = whole_number(text).ok_or("is no whole number")?;
    if let Takes::Count(least, most) = takes {
        within(number, least, most, |number| number.to_string())?;
    }
    usize::try_from(number).map_err(|_| "is more than this machine can count".to_owned())
}

/// The path itself; whether something is there is for whoever opens it to find out.
pub(super) fn path(text: &str) -> Result<PathBuf, Why> {
    if text.contains('\0') { Err("holds a zero byte".to_owned()) } else { Ok(PathBuf::from(text)) }
}

/// Decimal digits and nothing else: no sign, no underscore, no space.
fn whole_number(text: &str) -> Option<u64> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

fn within(value: u64, least: u64, most: u64, show: impl Fn(u64) -> String) -> Result<(), Why> {
    if value < least {
        Err(format!("is less than {}", show(least)))
    } else if value > most {
        Err(format!("is more than {}", show(most)))
    } else {
        Ok(())
    }
}

/// Seconds in the form [`duration`] reads.
pub(super) fn show_seconds(seconds: u64) -> String {
    match seconds {
        days if days > 86_400 && days.is_multiple_of(86_400) => format!("{}d", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3_600) => format!("{}h", hours / 3_600),
        minutes if minutes > 0 && minutes.is_multiple_of(60) => format!("{}m", minutes / 60),
        seconds => format!("{seconds}s"),
    }
}

/// Bytes in the form [`bytes`] reads.
pub(super) fn show_bytes(bytes: u64) -> String {
    match bytes {
        mib if mib > 0 && mib.is_multiple_of(1 << 20) => format!("{}MiB", mib >> 20),
        kib if kib > 0 && kib.is_multiple_of(1 << 10) => format!("{}KiB", kib >> 10),
        bytes => bytes.to_string(),
    }
}

/// A text someone wrote, quoted for a message: cut, its control characters escaped, and whatever stands
/// where a URL carries a user name and a password left out.
pub(super) fn quoted(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let public = match (text.find("://"), text.rfind('@')) {
        (Some(scheme), Some(at)) if scheme + 3 <= at => {
            format!("{}…{}", text.get(..scheme + 3).unwrap_or_default(), text.get(at..).unwrap_or_default())
        }
        _ => text.to_owned(),
    };
    let mut shown: String = public.chars().take(MAX_CHARS).collect();
    if public.chars().nth(MAX_CHARS).is_some() {
        shown.push('…');
    }
    format!("{shown:?}")
}

/// An `iss` claim.
pub(super) fn issuer_claim(text: &str) -> Result<String, Why> {
    const MAX_CHARS: usize = 255;
    if text.len() <= MAX_CHARS && text.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("is too long or holds other characters".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: Takes = Takes::Other("anything");

    #[test]
    fn durations() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("5m", 300), ("24h", 86_400), ("30d", 2_592_000)] {
            assert_eq!(duration(text, ANY), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in
            ["", "60", "s", "1 s", "-1s", "+1s", "1.5h", "1h30m", "1w", "1S", "18446744073709551615h", "1_0s"]
        {
            assert_eq!(
                duration(text, ANY),
                Err("is no whole number with a unit of s, m, h or d".into()),
                "{text}"
            );
        }
        let bounds = Takes::Duration(60, 86_400);
        assert_eq!(duration("59s", bounds), Err("is less than 1m".into()));
        assert_eq!(duration("25h", bounds), Err("is more than 24h".into()));
        assert!(duration("1m", bounds).is_ok() && duration("1d", bounds).is_ok());
    }

    #[test]
    fn sizes_and_numbers() {
        for (text, size) in [("0", 0), ("65536", 65_536), ("64KiB", 65_536), ("2MiB", 2_097_152)] {
            assert_eq!(bytes(text, ANY), Ok(size), "{text}");
        }
        for text in ["", "KiB", "64KB", "64kib", "64 KiB", "-1", "1.5MiB", "18446744073709551615KiB"] {
            assert_eq!(bytes(text, ANY), Err("is no whole number of bytes, KiB or MiB".into()), "{text}");
        }
        assert_eq!(bytes("1MiB", Takes::Bytes(1, 1024)), Err("is more than 1KiB".into()));
        assert_eq!(count("0", Takes::Count(1, 9)), Err("is less than 1".into()));
        assert_eq!(count("ten", ANY), Err("is no whole number".into()));
    }

    #[test]
    fn what_is_shown_can_be_read_back() {
        for seconds in [0, 1, 59, 60, 61, 3_600, 7_200, 86_400, 172_800, 2_592_000] {
            assert_eq!(duration(&show_seconds(seconds), ANY), Ok(Duration::from_secs(seconds)));
        }
        for size in [0, 1, 1023, 1024, 1025, 65_536, 1 << 20, 3 << 20] {
            assert_eq!(bytes(&show_bytes(size), ANY).map(|size| size as u64), Ok(size));
        }
        assert_eq!((show_seconds(86_400), show_bytes(65_536)), ("24h".into(), "64KiB".into()));
    }

    #[test]
    fn what_is_quoted_is_short_and_holds_no_password() {
        assert_eq!(quoted("a\u{1b}[2J\n"), r#""a\u{1b}[2J\n""#);
        assert_eq!(quoted("https://me:hunter2@example.com/"), "\"https://…@example.com/\"");
        assert_eq!(quoted("https://me:hun@ter2@example.com/"), "\"https://…@example.com/\"");
        assert!(quoted(&"x".repeat(5000)).len() < 120);
    }
}
