//! What is counted. No label holds anything that a caller controls: labels are our own routes, classes of
//! statuses, and names of our own commands and refusals.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use actix_web::http::StatusCode;
use grantbook_events::Timestamp;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Upper bounds of the latency buckets, in seconds.
const LATENCY_BUCKETS: [f64; 16] =
    [1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: Cow<'static, str>,
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: Cow<'static, str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    command: &'static str,
    outcome: &'static str,
}

/// Everything that is counted while the server runs.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
    decisions: Family<DecisionLabels, Counter>,
    apps: Count,
    installations: Count,
    live_tokens: Count,
    operator_keys: Count,
    quarantined: Count,
    position: Count,
    caught_up: Count,
    history_position: Count,
    staleness: Gauge<f64, AtomicU64>,
    strong: StrongGauges,
    store: StoreGauges,
}

/// Reads on the word of the store.
#[derive(Debug)]
struct StrongGauges {
    reads: Count,
    shared: Count,
    refused: Count,
    running: Count,
}

/// What the store had to do again.
#[derive(Debug)]
struct StoreGauges {
    reconnected: Count,
    resubscribed: Count,
}

type Count = Gauge<u64, AtomicU64>;

/// What is read off the ledger when somebody asks.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gauges {
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
    /// The last position folded.
    pub position: u64,
    /// Whether everything that was in the store at the start is folded.
    pub caught_up: bool,
    /// The last position in the history.
    pub history_position: u64,
    /// How old what is folded here is, in seconds; 0 if nobody else appends.
    pub staleness: f64,
    /// Streams that were read strongly.
    pub strong_reads: u64,
    /// Answers from a strong read that another had asked for.
    pub strong_shared: u64,
    /// Strong reads that were refused because too many ran.
    pub strong_refused: u64,
    /// Strong reads that run now.
    pub strong_running: u64,
    /// Connections to the store that were made anew.
    pub reconnected: u64,
    /// Subscriptions to the store that were taken up again.
    pub resubscribed: u64,
}

impl Metrics {
    /// Nothing counted yet, by a process that started at this time.
    pub fn new(started_at: Timestamp) -> Self {
        let mut registry = Registry::with_prefix("grantbook");
        let requests = Family::default();
        registry.register("http_requests", "Requests by route and class of status", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        let latency = Family::new_with_constructor(histogram);
        let help = "Time from the head of a request to the head of its reply";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, latency.clone());
        let decisions = Family::default();
        registry.register("decisions", "Commands settled, granted or by refusal", decisions.clone());
        let started: Count = Gauge::default();
        started.set(u64::try_from(started_at.as_secs()).unwrap_or(0));
        let help = "When the process started, since 1970";
        registry.register_with_unit("process_start_time", help, Unit::Seconds, started);
        let mut gauge = |name: &str, help: &str| {
            let gauge = Count::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let apps = gauge("apps", "Apps, deleted ones too");
        let installations = gauge("installations", "Installations, ended ones too");
        let live_tokens = gauge("live_tokens", "Tokens neither revoked nor ended");
        let operator_keys = gauge("operator_keys", "Operator keys, retired ones too");
        let help = "Streams with an event that cannot be read or folded; nothing in them counts";
        let quarantined = gauge("quarantined_streams", help);
        let position = gauge("position", "The last position folded into the live projection");
        let caught_up = gauge("caught_up", "1 once the ledger as of the start is folded, else 0");
        let history_position = gauge("history_position", "The last position in the history file");
        let strong = StrongGauges {
            reads: gauge("strong_reads", "Streams read from the store for one answer since the start"),
            shared: gauge("strong_reads_shared", "Answers that came from such a read of another's"),
            refused: gauge("strong_reads_refused", "Such reads refused because too many ran"),
            running: gauge("strong_reads_running", "Such reads that run now"),
        };
        let store = StoreGauges {
            reconnected: gauge("store_reconnected", "Connections to the store that were made anew"),
            resubscribed: gauge("store_resubscribed", "Subscriptions that were taken up again"),
        };
        let staleness = Gauge::default();
        let help = "How old what this node has folded is; 0 if it is the only one";
        registry.register_with_unit("staleness", help, Unit::Seconds, staleness.clone());
        Self {
            registry,
            requests,
            latency,
            decisions,
            apps,
            installations,
            live_tokens,
            operator_keys,
            quarantined,
            position,
            caught_up,
            history_position,
            staleness,
            strong,
            store,
        }
    }

    /// Counts a request. The route must be a pattern of ours, not a path.
    pub fn request(&self, route: Cow<'static, str>, status: StatusCode, duration: Duration) {
        let labels = RequestLabels { route, status: class_of(status) };
        self.requests.get_or_create(&labels).inc();
        self.latency.get_or_create(&RouteLabels { route: labels.route }).observe(duration.as_secs_f64());
    }

    /// Counts a command that was settled: `granted`, or the name of its refusal.
    pub fn decision(&self, command: &'static str, outcome: &'static str) {
        self.decisions.get_or_create(&DecisionLabels { command, outcome }).inc();
    }

    /// Everything in the OpenMetrics text format.
    ///
    /// # Errors
    /// If something cannot be written as text.
    pub fn render(&self, gauges: &Gauges) -> Result<String, fmt::Error> {
        self.apps.set(gauges.apps as u64);
        self.installations.set(gauges.installations as u64);
        self.live_tokens.set(gauges.live_tokens as u64);
        self.operator_keys.set(gauges.operator_keys as u64);
        self.quarantined.set(gauges.quarantined as u64);
        self.position.set(gauges.position);
        self.caught_up.set(u64::from(gauges.caught_up));
        self.history_position.set(gauges.history_position);
        self.staleness.set(gauges.staleness);
        self.strong.reads.set(gauges.strong_reads);
        self.strong.shared.set(gauges.strong_shared);
        self.strong.refused.set(gauges.strong_refused);
        self.strong.running.set(gauges.strong_running);
        self.store.reconnected.set(gauges.reconnected);
        self.store.resubscribed.set(gauges.resubscribed);
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn class_of(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_rendered() {
        let metrics = Metrics::new(Timestamp::from_micros(5_000_000));
        metrics.request("/apps/{client_id}".into(), StatusCode::OK, Duration::from_millis(2));
        metrics.request("/apps/{client_id}".into(), StatusCode::NOT_FOUND, Duration::from_millis(20));
        metrics.decision("exchange_code", "granted");
        let gauges = Gauges {
            apps: 1,
            installations: 2,
            live_tokens: 3,
            operator_keys: 4,
            quarantined: 7,
            position: 5,
            caught_up: true,
            history_position: 8,
            staleness: 0.25,
            strong_reads: 9,
            strong_shared: 10,
            strong_refused: 11,
            strong_running: 12,
            reconnected: 13,
            resubscribed: 14,
        };
        let text = metrics.render(&gauges).unwrap();
        for line in [
            r#"grantbook_http_requests_total{route="/apps/{client_id}",status="2xx"} 1"#,
            r#"grantbook_http_requests_total{route="/apps/{client_id}",status="4xx"} 1"#,
            r#"grantbook_http_request_duration_seconds_bucket{le="0.0025",route="/apps/{client_id}"} 1"#,
            r#"grantbook_http_request_duration_seconds_count{route="/apps/{client_id}"} 2"#,
            r#"grantbook_decisions_total{command="exchange_code",outcome="granted"} 1"#,
            "grantbook_process_start_time_seconds 5",
            "grantbook_apps 1",
            "grantbook_installations 2",
            "grantbook_live_tokens 3",
            "grantbook_operator_keys 4",
            "grantbook_quarantined_streams 7",
            "grantbook_position 5",
            "grantbook_caught_up 1",
            "grantbook_history_position 8",
            "grantbook_staleness_seconds 0.25",
            "grantbook_strong_reads 9",
            "grantbook_strong_reads_shared 10",
            "grantbook_strong_reads_refused 11",
            "grantbook_strong_reads_running 12",
            "grantbook_store_reconnected 13",
            "grantbook_store_resubscribed 14",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing from\n{text}");
        }
    }
}
