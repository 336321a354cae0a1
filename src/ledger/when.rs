//! Times and positions as people write them, on the command line and in queries. Knows: their forms. Must not
//! know: what time it is, or what is asked.

use std::str::FromStr;

use grantbook_events::{Position, Timestamp};
use jiff::Span;
use jiff::civil::{DateTime, Time};
use jiff::fmt::temporal::Pieces;
use jiff::tz::Offset;

use super::until::Until;

/// What a time may look like, for messages.
pub const TIME_FORMS: &str = "a time is written as in RFC 3339, such as 2026-01-31T12:00:00Z, as a date (its midnight, \
    UTC), such as 2026-01-31, as today or yesterday, or as how long ago, such as 7d or 12h";

/// A time as it is written: RFC 3339 with any offset, a date, `today`, `yesterday`, or how long ago.
#[derive(Debug, Clone, Copy)]
pub enum WrittenTime {
    /// This time.
    At(Timestamp),
    /// So long before now.
    Ago(Span),
    /// Midnight (UTC) of the day that began so many days before today.
    Midnight(u8),
}

/// A time as it is written, or a position.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// A position of the ledger.
    Position(Position),
    /// A time.
    Time(WrittenTime),
}

/// Neither, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WhenError {
    /// A form decoder makes a space of a `+`.
    #[error("`{0}` has a space where a + was meant: in a URL, write + as %2B")]
    Space(String),
    /// A time of day is a time only together with an offset.
    #[error("`{0}` has no offset: end it with Z for UTC, or with an offset such as +02:00")]
    NoOffset(String),
    /// No time.
    #[error("`{0}` is no time: {TIME_FORMS}")]
    NoTime(String),
    /// No time, and no position.
    #[error("`{0}` is neither a position, such as 1200, nor a time: {TIME_FORMS}")]
    Neither(String),
}

impl WrittenTime {
    /// Which time it is, as of now.
    pub fn at(self, now: Timestamp) -> Timestamp {
        let then = match self {
            Self::At(time) => return time,
            Self::Ago(span) => civil(now).and_then(|now| now.checked_sub(span).ok()),
            Self::Midnight(days) => {
                let midnight = civil(now).map(|now| now.date().to_datetime(Time::midnight()));
                midnight.and_then(|midnight| midnight.checked_sub(Span::new().days(days)).ok())
            }
        };
        let then = then.and_then(|then| Offset::UTC.to_timestamp(then).ok());
        // Longer ago than time is counted: before every event.
        then.map_or(Timestamp::EPOCH, |then| Timestamp::from_micros(then.as_microsecond()))
    }
}

impl When {
    /// How far a look at the ledger goes, as of now.
    pub fn until(self, now: Timestamp) -> Until {
        match self {
            Self::Position(position) => Until::Position(position),
            Self::Time(time) => Until::Time(time.at(now)),
        }
    }
}

impl FromStr for WrittenTime {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        match text {
            "today" => return Ok(Self::Midnight(0)),
            "yesterday" => return Ok(Self::Midnight(1)),
            _ => {}
        }
        if let Ok(time) = text.parse() {
            return Ok(Self::At(time));
        }
        if let Some(time) = midnight(text) {
            return Ok(Self::At(time));
        }
        // `7d` and `7 days ago` are the same.
        if let Ok(span) = text.parse::<Span>() {
            return Ok(Self::Ago(span.abs()));
        }
        let is_time = |text: &str| text.parse::<Timestamp>().is_ok();
        Err(match text.rsplit_once(' ') {
            Some((time, offset)) if is_time(&format!("{time}+{offset}")) => WhenError::Space(text.to_owned()),
            _ if is_time(&format!("{text}Z")) => WhenError::NoOffset(text.to_owned()),
            _ => WhenError::NoTime(text.to_owned()),
        })
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position::new(position)));
        }
        text.parse().map(Self::Time).map_err(|error| match error {
            WhenError::NoTime(text) => WhenError::Neither(text),
            error => error,
        })
    }
}

/// The time at which a date begins in UTC.
fn midnight(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    let is_date = pieces.time().is_none() && pieces.time_zone_annotation().is_none();
    let date = is_date.then(|| pieces.date())?;
    format!("{date}T00:00:00Z").parse().ok()
}

/// The date and the time of day in UTC.
fn civil(time: Timestamp) -> Option<DateTime> {
    let time = jiff::Timestamp::from_microsecond(time.as_micros()).ok()?;
    Some(Offset::UTC.to_datetime(time))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> String {
        let now = "2026-03-01T10:20:30.5Z".parse().unwrap();
        text.parse::<WrittenTime>().map_or_else(|error| error.to_string(), |time| time.at(now).to_string())
    }

    #[test]
    fn a_time_is_written_in_many_ways() {
        for (text, time) in [
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000000Z"),
            ("2026-01-31T12:00:00+02:00", "2026-01-31T10:00:00.000000Z"),
            ("2026-01-31t12:00:00.25-00:30", "2026-01-31T12:30:00.250000Z"),
            ("2026-01-31 12:00Z", "2026-01-31T12:00:00.000000Z"),
            ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.000000Z"),
            ("2026-01-31", "2026-01-31T00:00:00.000000Z"),
            ("9999-12-31", "9999-12-31T00:00:00.000000Z"),
            ("today", "2026-03-01T00:00:00.000000Z"),
            ("yesterday", "2026-02-28T00:00:00.000000Z"),
            ("7d", "2026-02-22T10:20:30.500000Z"),
            ("7 days ago", "2026-02-22T10:20:30.500000Z"),
            ("12h", "2026-02-28T22:20:30.500000Z"),
            ("1h30m", "2026-03-01T08:50:30.500000Z"),
            ("2w", "2026-02-15T10:20:30.500000Z"),
            ("0s", "2026-03-01T10:20:30.500000Z"),
            ("19998 years", "1970-01-01T00:00:00.000000Z"),
        ] {
            assert_eq!(at(text), time, "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_what_would_be_right() {
        for text in ["2026-01-31T12:00:00 02:00", "2026-01-31T12:00:00.5 02:00", "2026-01-31 12:00 02"] {
            assert_eq!(
                at(text),
                format!("`{text}` has a space where a + was meant: in a URL, write + as %2B")
            );
        }
        for text in ["2026-01-31T12:00:00", "2026-01-31 12:00"] {
            assert!(at(text).starts_with(&format!("`{text}` has no offset: end it with Z")), "{}", at(text));
        }
        for text in ["", "soon", "2026-02-30", "7", "-7", "7x", "1200", "2026-01", "25:00"] {
            assert!(at(text).starts_with(&format!("`{text}` is no time: a time is ")), "{}", at(text));
        }
        let neither = "soon".parse::<When>().unwrap_err().to_string();
        assert!(neither.starts_with("`soon` is neither a position, such as 1200, nor a time: "), "{neither}");
    }

    #[test]
    fn digits_are_a_position() {
        let now = Timestamp::EPOCH.plus(std::time::Duration::from_secs(86_400));
        let until = |text: &str| text.parse::<When>().unwrap().until(now);
        assert_eq!(until("1200"), Until::Position(Position::new(1200)));
        assert_eq!(until("24h"), Until::Time(Timestamp::EPOCH));
    }
}
