//! `/healthz`, `/readyz`, `/metrics`: what load balancers, orchestrators and Prometheus ask, without a key.
//! Nothing here shows an id, a name or a secret.

use actix_web::http::header::{self, Accept, Header as _};
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::problem::Problem;
use super::reason::Reason;
use super::service::Service;
use crate::ledger::LIVE;
use crate::telemetry::{self, Metrics, Readings, TextFormat};

/// Whether the server can answer.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Readiness {
    ready: bool,
    /// The last position folded.
    position: u64,
    /// Streams in quarantine: one of their events cannot be read or folded, and nothing in them counts.
    quarantined: usize,
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

/// Whether the process lives.
#[utoipa::path(get, path = "/healthz", tag = "probes",
    responses((status = 200, description = "It lives", body = String, content_type = "text/plain")))]
pub async fn healthz() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .content_type("text/plain; charset=utf-8")
        .body("ok\n")
}

/// Whether the server can answer: only once the ledger as of the start is folded, and folding goes on.
#[utoipa::path(get, path = "/readyz", tag = "probes",
    responses(
        (status = 200, description = "It can", body = Readiness),
        (status = 503, description = "It cannot, and why", body = Readiness),
    ))]
pub async fn readyz(service: web::Data<Service>) -> HttpResponse {
    let progress = service.ledger.progress();
    let position = progress.position.as_u64();
    // Of the projector, what it leaves behind says so.
    let ended = service.tasks().into_iter().filter(|(name, runs)| !runs && *name != LIVE);
    let ended = ended.map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    // What stopped the folding names streams; that is for the log.
    let reason = if !ended.is_empty() {
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
    let mut response = if reason.is_none() { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let head = match &reason {
        None => None,
        Some(_) => service.ledger.head().await.ok().map(|head| head.as_u64()),
    };
    let mut response = response.insert_header((header::CACHE_CONTROL, "no-store")).json(Readiness {
        ready: reason.is_none(),
        position,
        quarantined: service.ledger.live().counts().quarantined,
        head,
        staleness: service.ledger.staleness().map(|behind| behind.as_secs_f64()),
        reason: reason.clone(),
    });
    if let Some(reason) = reason {
        Reason::new(reason).put_on(&mut response);
    }
    response
}

/// What the server counts, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "probes",
    description = "As OpenMetrics if Accept asks for that, else in the text format of Prometheus.",
    responses((status = 200, description = "Metrics", content(
        (String = "text/plain"), (String = "application/openmetrics-text")))))]
pub async fn metrics(
    request: HttpRequest,
    service: web::Data<Service>,
    metrics: web::Data<Metrics>,
) -> Result<HttpResponse, Problem> {
    let (counts, progress) = (service.ledger.live().counts(), service.ledger.progress());
    let (strong, store) = (service.ledger.strong_counts(), service.ledger.store().counts());
    let readings = Readings {
        staleness: service.ledger.staleness().map_or(0.0, |behind| behind.as_secs_f64()),
        strong_reads: strong.reads,
        strong_shared: strong.shared,
        strong_refused: strong.refused,
        strong_running: strong.running,
        reconnected: store.reconnected,
        resubscribed: store.resubscribed,
        apps: counts.apps,
        installations: counts.installations,
        live_tokens: counts.tokens,
        operator_keys: counts.operator_keys,
        quarantined: counts.quarantined,
        position: progress.position.as_u64(),
        caught_up: progress.caught_up,
        history_position: service.history.progress().position.as_u64(),
        lost_lines: telemetry::lost_lines(),
        tasks: service.tasks(),
    };
    let format = format_for(&request);
    let text = metrics.render(&readings, format).map_err(|_| {
        let (status, detail) = (actix_web::http::StatusCode::INTERNAL_SERVER_ERROR, "cannot write metrics");
        Problem::new(status, "server_error", detail)
    })?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, format.content_type()))
        .insert_header((header::VARY, "accept"));
    Ok(response.body(text))
}

/// OpenMetrics only for those who prefer it: everybody reads the older format.
fn format_for(request: &HttpRequest) -> TextFormat {
    let ranked = Accept::parse(request).map(|accept| accept.ranked()).unwrap_or_default();
    let known = ranked.iter().find_map(|kind| match kind.essence_str() {
        "application/openmetrics-text" => Some(TextFormat::OpenMetrics),
        "text/plain" | "text/*" | "*/*" => Some(TextFormat::Prometheus),
        _ => None,
    });
    known.unwrap_or(TextFormat::Prometheus)
}

#[cfg(test)]
mod tests;
