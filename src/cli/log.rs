//! The log of this process. Knows: what the configuration says of its form. Must not know: what is logged.

use super::failure::Failure;
use crate::config::Config;
use crate::telemetry;

/// What is logged by a command that serves the ledger itself for as long as it takes: whoever asks about history
/// is logged, whichever way they come. How the history file does is not asked.
pub(super) const QUESTIONS: &str = "off,grantbook::audit=info,grantbook::audit::history=off";

/// Sends what passes a filter to stderr from here on. To be called once.
pub(super) fn begin(config: &Config, filter: &str) -> Result<(), Failure> {
    telemetry::init(config.log.format, filter).map_err(Failure::of)
}
