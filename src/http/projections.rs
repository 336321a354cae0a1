//! `/projections`: how far each projection is, a digest of its state, and rebuilding one. Knows: replays. Must not
//! know: how anything is folded.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query};
use grantbook_events::Position;
use grantbook_projections::live::Live;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::operator::Operator;
use super::problem::Problem;
use super::reply::{Answer, Reply};
use super::service::Service;
use crate::audit::HISTORY_VERSION;
use crate::replay::{NotStarted, Projection, Rebuild};

/// Every projection.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectionsJson {
    items: Vec<ProjectionJson>,
}

/// One projection.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProjectionJson {
    name: &'static str,
    /// Projections of one version fold alike.
    version: u32,
    /// The last position folded.
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
    rebuild: Option<Rebuild>,
}

/// What a snapshot is for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct SnapshotQuery {
    /// Whether a start may load it, which is the default. One that is not kept is written in the directory
    /// `compared` beside the others, in place of the one before it, and only to be compared.
    kept: Option<bool>,
}

/// A snapshot that was written.
#[derive(Debug, Serialize, ToSchema)]
pub struct SnapshotJson {
    /// The last position in it.
    position: Position,
}

pub async fn list(service: Data<Service>) -> Answer<ProjectionsJson> {
    let live = Arc::clone(&service.ledger.live());
    let quarantined = live.counts().quarantined;
    let broke = |_| Problem::broken("the digest broke off");
    let (position, digest) = web::block(move || live.digest_at()).await.map_err(broke)?;
    let live = ProjectionJson {
        name: Projection::Live.name(),
        version: Live::VERSION,
        position,
        digest: Some(digest.to_string()),
        unavailable: None,
        quarantined: Some(quarantined),
        rebuild: service.rebuilds.last(Projection::Live),
    };
    let (position, digest, unavailable) = match service.history.digest_at().await {
        Ok((position, digest)) => (position, Some(digest.to_string()), None),
        Err(why) => (service.history.progress().position, None, Some(why.to_string())),
    };
    let history = ProjectionJson {
        name: Projection::History.name(),
        version: HISTORY_VERSION,
        position,
        digest,
        unavailable,
        quarantined: None,
        rebuild: service.rebuilds.last(Projection::History),
    };
    Ok(Reply::ok(ProjectionsJson { items: vec![live, history] }))
}

pub async fn rebuild(operator: Operator, name: Path<String>) -> Answer<Rebuild> {
    let (projection, rebuilds) = (named(&name)?, &operator.service.rebuilds);
    rebuilds.start(projection).map_err(|why| match why {
        NotStarted::Running => Problem::conflict(why.to_string()),
        NotStarted::NotReady => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why.to_string()),
    })?;
    tracing::info!(%projection, operator = operator.origin.actor.id, "a rebuild was asked for");
    let begun = rebuilds.last(projection).ok_or_else(|| Problem::not_found("rebuild since the start"))?;
    Ok(Reply::json(StatusCode::ACCEPTED, &begun))
}

pub async fn progress(service: Data<Service>, name: Path<String>) -> Answer<Rebuild> {
    let last = service.rebuilds.last(named(&name)?);
    let last = last.ok_or_else(|| Problem::not_found("rebuild since the start"))?;
    Ok(Reply::ok(last))
}

pub async fn cancel(service: Data<Service>, name: Path<String>) -> Answer<()> {
    if service.rebuilds.cancel(named(&name)?) {
        return Ok(Reply::no_content());
    }
    Err(Problem::conflict("no rebuild of this projection is under way"))
}

pub async fn snapshot(service: Data<Service>, query: Query<SnapshotQuery>) -> Answer<SnapshotJson> {
    let written = match query.kept {
        Some(false) => service.ledger.take_snapshot_apart().await,
        Some(true) | None => service.ledger.take_snapshot().await,
    };
    match written {
        Ok(Some(position)) => Ok(Reply::created(SnapshotJson { position })),
        Ok(None) => Err(Problem::conflict(
            "no snapshot is taken before the first event, or while a stream is in quarantine",
        )),
        Err(error) => Err(Problem::broken("the snapshot cannot be written; the log says why").because(error)),
    }
}

/// The projection that the path names.
fn named(name: &str) -> Result<Projection, Problem> {
    name.parse().map_err(|_| Problem::not_found("projection"))
}

#[cfg(test)]
mod tests;
