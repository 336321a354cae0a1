//! Points in time. Knows: microseconds since 1970 and their RFC 3339 form. Must not know: the clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::DateTime;
use jiff::fmt::temporal::Pieces;

use crate::text::serde_as_text;

/// A point in time in UTC, to the microsecond. Stored as RFC 3339, such as `2026-01-02T03:04:05.000006Z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A text that is not RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time must be RFC 3339, such as 2026-01-02T03:04:05.000006Z")]
pub struct TimestampError;

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970, as RFC 7662 and JWT count them.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This time and a duration later; at the end of time, the end of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time:.6}"),
            Err(_) => match late(self.0) {
                Some(time) => write!(f, "{time:.6}Z"),
                // Beyond the year 9999 no RFC 3339 form exists; the number is still the truth.
                None => write!(f, "{}us", self.0),
            },
        }
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;

    fn from_str(text: &str) -> Result<Self, TimestampError> {
        match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(Self(time.as_microsecond())),
            Err(_) => parse_late(text).map(Self).ok_or(TimestampError),
        }
    }
}

const CIVIL_EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// jiff's times end 26 hours before the year 9999 does, so that they have a form in every time zone. RFC 3339 goes on
/// to the end of it, and people write that for "for ever".
fn late(micros: i64) -> Option<DateTime> {
    CIVIL_EPOCH.checked_add(SignedDuration::from_micros(micros)).ok()
}

/// Microseconds since 1970 of a time in those last hours.
fn parse_late(text: &str) -> Option<i64> {
    let pieces = Pieces::parse(text).ok()?;
    let offset = SignedDuration::from_secs(pieces.to_numeric_offset()?.seconds().into());
    let local = pieces.date().to_datetime(pieces.time()?).duration_since(CIVIL_EPOCH);
    let micros = i64::try_from(local.checked_sub(offset)?.as_micros()).ok()?;
    late(micros).map(|_| micros)
}

serde_as_text!(Timestamp, binary i64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_to_the_microsecond_and_back() {
        let time = Timestamp::from_micros(1_767_323_045_000_006);
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.000006Z");
        assert_eq!("2026-01-02T03:04:05.000006Z".parse(), Ok(time));
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
        for text in ["yesterday", "2026-01-02", "2026-01-02T03:04:05", "9999-12-31T23:59:59-01:00"] {
            assert_eq!(text.parse::<Timestamp>(), Err(TimestampError), "{text}");
        }
        for (text, shown) in [
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("9999-12-31T23:59:59+00:00", "9999-12-31T23:59:59.000000Z"),
            ("9999-12-31T23:59:59+23:00", "9999-12-31T00:59:59.000000Z"),
        ] {
            assert_eq!(text.parse::<Timestamp>().unwrap().to_string(), shown);
        }
        assert_eq!(Timestamp::from_micros(i64::MAX).plus(Duration::MAX).as_micros(), i64::MAX);
    }
}
