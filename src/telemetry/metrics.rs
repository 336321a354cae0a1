//! What is counted. No label holds anything that a caller controls: labels are our own routes, classes of
//! statuses, and names of our own commands, refusals and tasks. The one exception are streams in quarantine, of which a
//! bounded number is named.

mod process;
mod readings;
mod text;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use grantbook_events::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub use readings::{QuarantinedStream, Readings};
pub use text::TextFormat;

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

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

/// Everything that is counted while the server runs.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    latency: Family<RouteLabels, Histogram>,
    decisions: Family<DecisionLabels, Counter>,
    introspections: Family<OutcomeLabels, Counter>,
    started_at: Timestamp,
}

impl Metrics {
    /// Nothing counted yet, by a process that started at this time.
    pub fn new(started_at: Timestamp) -> Self {
        let mut registry = Registry::with_prefix("grantbook");
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "Which grantbook this is", build);
        let requests = Family::default();
        registry.register("http_requests", "Requests by route and class of status", requests.clone());
        let histogram: fn() -> Histogram = || Histogram::new(LATENCY_BUCKETS);
        let latency = Family::new_with_constructor(histogram);
        let help = "Time from the head of a request to the head of its reply";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, latency.clone());
        let decisions = Family::default();
        registry.register("decisions", "Commands settled, by command and outcome", decisions.clone());
        let introspections = Family::default();
        registry.register("introspections", "Tokens asked about, by outcome", introspections.clone());
        Self { registry, requests, latency, decisions, introspections, started_at }
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

    /// Counts an answer about a token.
    pub fn introspection(&self, is_active: bool) {
        let outcome = if is_active { "active" } else { "inactive" };
        self.introspections.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    /// Everything, with what is read off the ledger and the process now.
    ///
    /// # Errors
    /// If something cannot be written as text.
    pub fn render(&self, readings: &Readings, format: TextFormat) -> Result<String, fmt::Error> {
        let process = process::registry(self.started_at);
        format.write(&[&self.registry, &readings.registry(), &process])
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
mod tests;
