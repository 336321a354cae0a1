//! Times and positions in arguments: checked here, so that a typing error is an error of usage, and passed on as they were
//! written. Knows: what a server takes. Must not know: what is asked.

use crate::ledger::{When, WhenError, WrittenTime};

/// What WHEN is, for the help of commands that take it.
pub(super) const HELP: &str = "\
WHEN is a position of the ledger, such as 1200, or a time:
  2026-01-31T12:00:00Z       RFC 3339, with any offset
  2026-01-31                 its midnight, UTC
  today, yesterday           the same of those days
  7d, 12h, 30m               so long ago";

/// A time, or a position.
pub(super) fn when(text: &str) -> Result<String, WhenError> {
    text.parse::<When>().map(|_| text.to_owned())
}

/// A time alone.
pub(super) fn time(text: &str) -> Result<String, WhenError> {
    text.parse::<WrittenTime>().map(|_| text.to_owned())
}
