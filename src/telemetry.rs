//! What the server says of itself. Knows: how a log line is written, and what is counted. Must not know:
//! anything a caller sent.

mod malformed;
mod metrics;
mod queue;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, stderr};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

pub use metrics::{Metrics, QuarantinedStream, Readings, TextFormat};
pub use queue::LostLines;
use queue::Queue;

/// How long the end of the process waits for the last lines to be written: their reader may have stalled.
const FLUSHED_WITHIN: Duration = Duration::from_secs(1);

/// What a log filter leaves out, unless it names it: the client crate of EventStoreDB, whose warnings and errors are of no
/// consequence or said by the store in words of its own.
const CLIENT_LEFT_OUT: &str = "eventstore=off";

static LOG: OnceLock<Queue> = OnceLock::new();

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
    #[error("a log filter must be levels by module, such as info or warn,grantbook=debug: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    #[error("logging is set up already")]
    AlreadySet(#[from] tracing_subscriber::util::TryInitError),
    #[error("no thread for the log: {0}")]
    NoThread(#[from] io::Error),
}

/// Sends the process's log, panics included, to stderr from here on. To be called once. Whether stderr
/// can be written does not matter to the code that logs.
///
/// # Errors
/// If the filter is not one, logging was set up before, or there can be no thread for it.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let mut wanted = EnvFilter::builder().parse(filter)?;
    if !filter.contains("actix_http") {
        wanted = wanted.add_directive(malformed::LEFT_OUT.parse()?);
    }
    if !filter.split(',').any(|directive| directive.trim_start().starts_with("eventstore")) {
        wanted = wanted.add_directive(CLIENT_LEFT_OUT.parse()?);
    }
    let queue = Queue::start(stderr())?;
    let lines = fmt::layer().with_writer(queue.clone()).log_internal_errors(false);
    let lines = match format {
        LogFormat::Text => lines.with_ansi(stderr().is_terminal()).with_filter(wanted).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(wanted).boxed(),
    };
    let again = malformed::Malformed.with_filter(malformed::filter());
    tracing_subscriber::registry().with(lines).with(again).try_init()?;
    LOG.get_or_init(|| queue);
    log_panics();
    Ok(())
}

/// Waits a moment for what was logged to be written. For the end of the process.
pub fn flush() {
    if let Some(queue) = LOG.get() {
        queue.flush(FLUSHED_WITHIN);
    }
}

/// How many log lines were lost since the start.
pub fn lost_lines() -> LostLines {
    LOG.get().map(Queue::lost).unwrap_or_default()
}

/// A panic goes to the log: std would write it to stderr itself, and wait there for its reader.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let (thread, reason) = (std::thread::current(), panic.to_string());
        tracing::error!(
            thread = thread.name(),
            reason = reason.as_str(),
            backtrace = backtrace.as_deref(),
            "a thread or a task panicked"
        );
    }));
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
