//! The log of this process. Knows: what the configuration says of its form. Must not know: what is logged.

use super::failure::Failure;
use crate::config::Config;
use crate::telemetry;

/// What a command logs that serves the ledger itself while it runs: every question about history is logged, whichever
/// way it is asked. The state of the history file is left out.
pub(super) const QUESTIONS: &str = "off,grantbook::audit=info,grantbook::audit::history=off";

/// Sends what passes a filter to stderr from here on. To be called once.
pub(super) fn begin(config: &Config, filter: &str) -> Result<(), Failure> {
    telemetry::init(config.log.format, filter).map_err(Failure::of)
}
