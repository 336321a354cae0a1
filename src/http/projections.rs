//! `/projections`: how far each projection is and what it comes to, and building one again. Knows: replays.
//! Must not know: how anything is folded.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::context::Context;
use super::manage::reply;
use super::operator::{Admin, Reader};
use super::problem::Problem;
use super::service::Service;
use crate::audit::HISTORY_VERSION;
use crate::replay::{NotStarted, Outcome, Projection, Rebuild};

/// Every projection.
#[derive(Debug, Serialize, ToSchema)]
struct ProjectionsJson {
    items: Vec<ProjectionJson>,
}

/// One projection.
#[derive(Debug, Serialize, ToSchema)]
struct ProjectionJson {
    name: &'static str,
    /// Projections of one version fold alike.
    version: u32,
    /// The last position folded.
    #[schema(value_type = u64)]
    position: Position,
    /// A digest of the state at that position, the same however it was built.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    digest: Option<String>,
    /// Why there is no digest, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    unavailable: Option<String>,
    /// Streams in quarantine, of the live projection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    quarantined: Option<usize>,
    /// The last rebuild since the start, if there was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rebuild: Option<RebuildJson>,
}

/// A rebuild, under way or over.
#[derive(Debug, Serialize, ToSchema)]
struct RebuildJson {
    /// `running`; `same` or `repaired`: the new copy is served, and the old one was the same or not; `cancelled`
    /// or `failed`: what was served before is served, unless `why` says otherwise.
    state: &'static str,
    /// Events folded.
    events: u64,
    #[schema(value_type = u64)]
    position: Position,
    /// The end of the ledger when it began.
    #[schema(value_type = u64)]
    head: Position,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime, nullable = false)]
    ended_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
}

/// What a snapshot is for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct SnapshotWanted {
    /// Whether a start may load it, which is the default. One that is not kept is written in the directory
    /// `compared` beside the others, in place of the one before it, and only to be compared.
    #[param(nullable = false)]
    kept: Option<bool>,
}

/// A snapshot that was written.
#[derive(Debug, Serialize, ToSchema)]
struct SnapshotJson {
    /// The last position in it.
    #[schema(value_type = u64)]
    position: Position,
}

impl From<Rebuild> for RebuildJson {
    fn from(rebuild: Rebuild) -> Self {
        let (ended_at, outcome) = rebuild.ended.unzip();
        let (state, reason) = match outcome {
            None => ("running", None),
            Some(Outcome::Same) => ("same", None),
            Some(Outcome::Repaired) => ("repaired", None),
            Some(Outcome::Cancelled) => ("cancelled", None),
            Some(Outcome::Failed(why)) => ("failed", Some(why)),
        };
        let (step, started_at) = (rebuild.step, rebuild.started_at);
        let (events, position, head) = (step.events, step.position, step.head);
        Self { state, events, position, head, started_at, ended_at, reason }
    }
}

/// Read how far each projection is, and a digest of its state there. Reads all of the state.
#[utoipa::path(get, path = "/projections", operation_id = "list_projections", tag = "projections", security(("operator_key" = [])),
    responses(
        (status = 200, description = "Every projection", body = ProjectionsJson),
    ))]
pub async fn list(_reader: Reader, service: web::Data<Service>) -> Result<HttpResponse, Problem> {
    let mut items = Vec::new();
    for projection in Projection::ALL {
        let rebuild = service.rebuilds.last(projection).map(RebuildJson::from);
        items.push(match projection {
            Projection::Live => live(&service, rebuild).await?,
            Projection::History => history(&service, rebuild).await,
        });
    }
    Ok(reply::ok(&ProjectionsJson { items }))
}

async fn live(service: &Service, rebuild: Option<RebuildJson>) -> Result<ProjectionJson, Problem> {
    let live = Arc::clone(&service.ledger.live());
    let quarantined = Some(live.counts().quarantined);
    let broke = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", "the digest broke off");
    let (position, digest) = web::block(move || live.digest_at()).await.map_err(broke)?;
    let (name, digest) = (Projection::Live.name(), Some(digest.to_string()));
    let version = Live::VERSION;
    Ok(ProjectionJson { name, version, position, digest, unavailable: None, quarantined, rebuild })
}

async fn history(service: &Service, rebuild: Option<RebuildJson>) -> ProjectionJson {
    let (position, digest, unavailable) = match service.history.digest_at().await {
        Ok((position, digest)) => (position, Some(digest.to_string()), None),
        Err(why) => (service.history.progress().position, None, Some(why.to_string())),
    };
    let (name, version) = (Projection::History.name(), HISTORY_VERSION);
    ProjectionJson { name, version, position, digest, unavailable, quarantined: None, rebuild }
}

/// Build a projection again beside the one that is served, and let it take its place. Progress is in the list.
#[utoipa::path(post, path = "/projections/{name}/rebuild", operation_id = "rebuild_projection", tag = "projections", security(("operator_key" = [])),
    params(("name" = inline(Name), Path)),
    responses(
        (status = 202, description = "It has begun", body = RebuildJson),
    ))]
pub async fn rebuild(
    Admin(operator): Admin,
    context: Context,
    service: web::Data<Service>,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let projection = named(&name)?;
    service.rebuilds.start(projection).map_err(|why| match why {
        NotStarted::UnderWay => Problem::new(StatusCode::CONFLICT, "conflict", why.to_string()),
        NotStarted::NotReady => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why.to_string()),
    })?;
    let actor = operator.origin(&context).actor;
    tracing::info!(%projection, operator = actor.id, "a rebuild was asked for");
    let begun = service.rebuilds.last(projection).map(RebuildJson::from);
    Ok(HttpResponse::Accepted().insert_header(("cache-control", "no-store")).json(begun))
}

/// Read how far the last rebuild of a projection is, or how it ended.
#[utoipa::path(get, path = "/projections/{name}/rebuild", operation_id = "read_rebuild", tag = "projections", security(("operator_key" = [])),
    params(("name" = inline(Name), Path)),
    responses(
        (status = 200, description = "The last rebuild since the start", body = RebuildJson),
    ))]
pub async fn progress(
    _reader: Reader,
    service: web::Data<Service>,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let last = service.rebuilds.last(named(&name)?);
    let last = last.ok_or_else(|| Problem::not_found("rebuild since the start"))?;
    Ok(reply::ok(&RebuildJson::from(last)))
}

/// Call a rebuild off. Until the new copy is served, nothing was changed.
#[utoipa::path(delete, path = "/projections/{name}/rebuild", operation_id = "cancel_rebuild", tag = "projections", security(("operator_key" = [])),
    params(("name" = inline(Name), Path)),
    responses(
        (status = 204, description = "It will end"),
    ))]
pub async fn cancel(
    _admin: Admin,
    service: web::Data<Service>,
    name: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    if service.rebuilds.cancel(named(&name)?) {
        return Ok(reply::done());
    }
    Err(Problem::new(StatusCode::CONFLICT, "conflict", "no rebuild of this projection is under way"))
}

/// Write a snapshot of the live projection now.
#[utoipa::path(post, path = "/projections/live/snapshots", operation_id = "take_snapshot", tag = "projections", security(("operator_key" = [])),
    params(SnapshotWanted),
    responses(
        (status = 201, description = "It is written", body = SnapshotJson),
    ))]
pub async fn snapshot(
    _admin: Admin,
    service: web::Data<Service>,
    wanted: web::Query<SnapshotWanted>,
) -> Result<HttpResponse, Problem> {
    let written = match wanted.kept {
        Some(false) => service.ledger.take_snapshot_apart().await,
        Some(true) | None => service.ledger.take_snapshot().await,
    };
    match written {
        Ok(Some(position)) => Ok(reply::created(&SnapshotJson { position })),
        Ok(None) => Err(Problem::new(
            StatusCode::CONFLICT,
            "conflict",
            "no snapshot is taken before the first event, or while a stream is in quarantine",
        )),
        Err(error) => {
            let detail = "the snapshot cannot be written; the log says why";
            Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", detail).because(error))
        }
    }
}

/// The name of a projection.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "a description: names are read by Projection")]
enum Name {
    Live,
    History,
}

fn named(name: &str) -> Result<Projection, Problem> {
    name.parse().map_err(|_| Problem::not_found("projection"))
}

#[cfg(test)]
mod tests;
