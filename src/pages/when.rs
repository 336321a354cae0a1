//! Points in time in words. Knows: dates. Must not know: the clock.

use grantbook_events::Timestamp;

/// Such as `2 January 2026, 03:04 UTC`.
pub(super) fn in_words(time: &Timestamp) -> String {
    match jiff::Timestamp::from_microsecond(time.as_micros()) {
        Ok(time) => time.strftime("%-d %B %Y, %H:%M UTC").to_string(),
        Err(_) => time.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_reads_as_a_person_would_write_it() {
        assert_eq!(in_words(&Timestamp::from_micros(1_767_323_045_000_006)), "2 January 2026, 03:04 UTC");
        assert_eq!(in_words(&Timestamp::from_micros(i64::MAX)), format!("{}us", i64::MAX));
    }
}
