//! Points in time. Knows: microseconds since 1970 and their RFC 3339 form. Must not know: the clock.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::text::serde_as_text;

/// A point in time in UTC, to the microsecond. Stored as RFC 3339, such as `2026-01-02T03:04:05.000006Z`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

/// A text that is not RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a time must be RFC 3339 in UTC, such as 2026-01-02T03:04:05.000006Z")]
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
            // Beyond the year 9999 no RFC 3339 form exists; the number is still the truth.
            Err(_) => write!(f, "{}us", self.0),
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
        let time: jiff::Timestamp = text.parse().map_err(|_| TimestampError)?;
        Ok(Self(time.as_microsecond()))
    }
}

serde_as_text!(Timestamp);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339_to_the_microsecond_and_back() {
        let time = Timestamp::from_micros(1_767_323_045_000_006);
        assert_eq!(time.to_string(), "2026-01-02T03:04:05.000006Z");
        assert_eq!("2026-01-02T03:04:05.000006Z".parse(), Ok(time));
        assert_eq!(Timestamp::EPOCH.to_string(), "1970-01-01T00:00:00.000000Z");
        assert_eq!("yesterday".parse::<Timestamp>(), Err(TimestampError));
        assert_eq!(Timestamp::from_micros(i64::MAX).plus(Duration::MAX).as_micros(), i64::MAX);
    }
}
