//! `/healthz`, `/readyz`, `/metrics`: what load balancers, orchestrators and Prometheus ask, without a key. They are for
//! operators: a proxy hides them from the public. Nothing here shows a secret, and no id but those of streams in quarantine.

use std::sync::Arc;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_projections::live::Poison;
use serde::Serialize;
use utoipa::ToSchema;

use super::input::accepted;
use super::problem::Problem;
use super::reason::Reason;
use super::reply::Reply;
use super::service::Service;
use crate::audit::HISTORY;
use crate::ledger::LIVE;
use crate::telemetry::{self, QuarantinedStream, Readings, TextFormat};

/// How long a probe waits to learn where the ledger ends.
const HEAD_WITHIN: Duration = Duration::from_secs(1);
/// How many streams in quarantine are named.
const MAX_NAMED: usize = 20;
/// The longest reason why one is there, in characters.
const REASON_MAX_CHARS: usize = 200;

/// Whether the server can answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    /// The last position folded.
    position: u64,
    /// Streams in quarantine: one of their events cannot be read or folded, and nothing in them counts.
    quarantined: usize,
    /// The first of these streams; absent if there is none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    quarantined_streams: Vec<QuarantinedStream>,
    /// The last position in the ledger, if it is known and the server is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    head: Option<u64>,
    /// How old what is folded here is, in seconds; absent if no other node appends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    staleness: Option<f64>,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// `GET /healthz`
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// `GET /readyz`
pub async fn readyz(service: web::Data<Service>) -> Reply<Readiness> {
    let progress = service.ledger.progress();
    let position = progress.position.as_u64();
    // The live projection says itself why it stopped.
    let ended = service.tasks().into_iter().filter(|(name, runs)| !runs && *name != LIVE);
    let ended = ended.map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    // What stopped the folding names streams; that is for the log.
    let reason = if service.ends_early() {
        Some("the ledger ends before what this node has seen of it: see the log".to_owned())
    } else if !ended.is_empty() {
        Some(format!("what the server needs has ended: {ended}; the log says why"))
    } else if progress.stopped.is_some() {
        Some("folding the ledger has stopped: the log says why".to_owned())
    } else if !progress.caught_up {
        Some("the ledger is still being folded".to_owned())
    } else if service.ledger.is_stale() {
        Some("this node is too far behind the ledger".to_owned())
    } else {
        None
    };
    let head = match &reason {
        None => None,
        Some(_) => {
            let head = tokio::time::timeout(HEAD_WITHIN, service.ledger.head()).await;
            head.ok().and_then(Result::ok).map(|head| head.as_u64())
        }
    };
    let status = if reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let log = reason.as_deref().map(Reason::new);
    let readiness = Readiness {
        ready: reason.is_none(),
        position,
        quarantined: service.ledger.live().counts().quarantined,
        quarantined_streams: quarantined(&service),
        head,
        staleness: service.ledger.staleness().map(|behind| behind.as_secs_f64()),
        reason,
    };
    let reply = Reply::json(status, &readiness);
    match log {
        Some(reason) => reply.because(reason),
        None => reply,
    }
}

/// The first streams in quarantine.
fn quarantined(service: &Service) -> Vec<QuarantinedStream> {
    let named = |poison: Arc<Poison>| QuarantinedStream {
        stream: poison.stream.to_string(),
        position: poison.position.as_u64(),
        // It may quote what a foreign event holds.
        reason: Reason::new(&poison.reason).text.chars().take(REASON_MAX_CHARS).collect(),
    };
    service.ledger.live().quarantined().into_iter().take(MAX_NAMED).map(named).collect()
}

/// `GET /metrics`
pub async fn metrics(request: HttpRequest, service: web::Data<Service>) -> Result<HttpResponse, Problem> {
    let (counts, progress) = (service.ledger.live().counts(), service.ledger.progress());
    let history = service.history.progress();
    let (consistent, store) = (service.ledger.read_counts(), service.ledger.store().counts());
    let readings = Readings {
        staleness: service.ledger.staleness().map_or(0.0, |behind| behind.as_secs_f64()),
        strong_reads: consistent.reads,
        strong_shared: consistent.shared,
        strong_refused: consistent.refused,
        strong_running: consistent.running,
        reconnected: store.reconnected,
        resubscribed: store.resubscribed,
        apps: counts.apps,
        installations: counts.installations,
        live_tokens: counts.tokens,
        operator_keys: counts.operator_keys,
        quarantined: counts.quarantined,
        quarantined_streams: quarantined(&service),
        position: progress.position.as_u64(),
        caught_up: progress.caught_up,
        history_position: history.position.as_u64(),
        subscriber_lags: history.lag(&progress).map(|lag| (HISTORY, lag.as_secs_f64())).into_iter().collect(),
        lost_lines: telemetry::lost_lines(),
        tasks: service.tasks(),
    };
    // OpenMetrics only for those who prefer it: everyone reads the older format.
    let format = match accepted(&request, &["text/plain", "application/openmetrics-text"]) {
        1 => TextFormat::OpenMetrics,
        _ => TextFormat::Prometheus,
    };
    let text =
        service.metrics.render(&readings, format).map_err(|_| Problem::broken("cannot write metrics"))?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::VARY, "accept"));
    Ok(response.body(text))
}

#[cfg(test)]
mod tests;
