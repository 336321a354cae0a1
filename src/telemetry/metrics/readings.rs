//! The values that are read when metrics are asked for. Knows: numbers and their names. Must not know: where
//! they are kept.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;
use utoipa::ToSchema;

use crate::telemetry::LostLines;

/// One label, by name and value.
type Label = [(&'static str, &'static str); 1];

/// A stream in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet, Serialize, ToSchema)]
pub struct QuarantinedStream {
    pub stream: String,
    /// Of its first event that cannot be read or folded.
    pub position: u64,
    /// What is wrong with that event, in at most 200 characters.
    pub reason: String,
}

/// The values that are read when metrics are asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    /// Apps, deleted ones too.
    pub apps: usize,
    /// Installations, ended ones too.
    pub installations: usize,
    /// Tokens neither revoked nor ended.
    pub live_tokens: usize,
    /// Operator keys, retired ones too.
    pub operator_keys: usize,
    /// Streams in quarantine.
    pub quarantined: usize,
    /// The first of them.
    pub quarantined_streams: Vec<QuarantinedStream>,
    /// The last position folded.
    pub position: u64,
    /// Whether everything that was in the store at the start is folded.
    pub caught_up: bool,
    /// The last position in the history.
    pub history_position: u64,
    /// How many seconds of recorded time each subscriber is after the live projection, where that is known.
    pub subscriber_lags: Vec<(&'static str, f64)>,
    /// How old what is folded here is, in seconds; 0 if no other node appends.
    pub staleness: f64,
    /// Streams that were read strongly.
    pub strong_reads: u64,
    /// Answers from a strong read that another had asked for.
    pub strong_shared: u64,
    /// Strong reads that were refused because too many ran.
    pub strong_refused: u64,
    /// Strong reads that run now.
    pub strong_running: u64,
    /// Connections to the store that were made again.
    pub reconnected: u64,
    /// Subscriptions to the store that were taken up again.
    pub resubscribed: u64,
    /// Log lines that were lost.
    pub lost_lines: LostLines,
    /// The threads and tasks that the server needs, and whether each runs.
    pub tasks: Vec<(&'static str, bool)>,
}

impl Readings {
    pub(super) fn registry(&self) -> Registry {
        let mut registry = Registry::with_prefix("grantbook");
        let r = &mut registry;
        gauge(r, "apps", "Apps, deleted ones too", self.apps as u64);
        gauge(r, "installations", "Installations, ended ones too", self.installations as u64);
        gauge(r, "live_tokens", "Tokens neither revoked nor ended", self.live_tokens as u64);
        gauge(r, "operator_keys", "Operator keys, retired ones too", self.operator_keys as u64);
        let help = "Streams with an event that cannot be read or folded; nothing in them counts";
        gauge(r, "quarantined_streams", help, self.quarantined as u64);
        let quarantined = Family::<QuarantinedStream, Gauge<u64, AtomicU64>>::default();
        for stream in &self.quarantined_streams {
            quarantined.get_or_create(stream).set(1);
        }
        let help = "1 for each stream in quarantine, of the first 20: which, since where, and why";
        r.register("quarantined_stream", help, quarantined);
        gauge(r, "position", "The last position folded into the live projection", self.position);
        let help = "1 once the ledger as of the start is folded, else 0";
        gauge(r, "caught_up", help, u64::from(self.caught_up));
        gauge(r, "history_position", "The last position in the history file", self.history_position);
        let lags = Family::<Label, Gauge<f64, AtomicU64>>::default();
        for (subscriber, lag) in &self.subscriber_lags {
            lags.get_or_create(&[("subscriber", *subscriber)]).set(*lag);
        }
        let help = "Recorded time between the last event of the live projection and that of a subscriber";
        r.register_with_unit("subscriber_lag", help, Unit::Seconds, lags);
        let help = "Streams read from the store for one answer since the start";
        counter(r, "strong_reads", help, self.strong_reads);
        let help = "Answers that came from such a read of another's";
        counter(r, "strong_reads_shared", help, self.strong_shared);
        counter(r, "strong_reads_refused", "Such reads refused because too many ran", self.strong_refused);
        gauge(r, "strong_reads_running", "Such reads that run now", self.strong_running);
        counter(r, "store_reconnected", "Connections to the store that were made again", self.reconnected);
        counter(r, "store_resubscribed", "Subscriptions that were taken up again", self.resubscribed);
        let help = "How old what this node has folded is; 0 if it is the only one";
        r.register_with_unit("staleness", help, Unit::Seconds, ConstGauge::new(self.staleness));
        let LostLines { queue_full, not_written } = self.lost_lines;
        let lost = Family::<Label, Counter>::default();
        for (reason, lines) in [("queue_full", queue_full), ("not_written", not_written)] {
            lost.get_or_create(&[("reason", reason)]).inc_by(lines);
        }
        r.register("log_lines_lost", "Log lines that were lost, by reason", lost);
        let tasks = Family::<Label, Gauge<u64, AtomicU64>>::default();
        for (task, runs) in &self.tasks {
            tasks.get_or_create(&[("task", *task)]).set(u64::from(*runs));
        }
        let help = "1 while a thread or task that the server needs runs, 0 once it has ended";
        r.register("task_running", help, tasks);
        registry
    }
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstGauge::new(value));
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}
