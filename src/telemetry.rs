//! What the server says of itself. Knows: how a log line is written, and what is counted. Must not know:
//! anything a caller sent.

mod metrics;

use std::io::{IsTerminal, stderr};

use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

pub use metrics::{Gauges, Metrics};

/// How a log line is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("a log filter must be levels by module, such as info or warn,grantbook=debug: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// It was set up before.
    #[error("logging is set up already")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends the process's log to stderr from here on. To be called once.
///
/// # Errors
/// If the filter is not one, or logging was set up before.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).finish().try_init()?,
        LogFormat::Json => lines.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_gets_what_would_be_right() {
        let error = init(LogFormat::Text, "grantbook=loud").unwrap_err().to_string();
        assert!(error.starts_with("a log filter must be levels by module, such as info"), "{error}");
    }
}
