//! `/projections`: how far each projection is, a digest of its state, and rebuilding one. Knows: replays. Must not
//! know: how anything is folded.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Query};
use grantbook_events::Position;
use grantbook_projections::live::Live;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::openapi::describe::{Operation, PathParameters};
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
#[into_params(parameter_in = Query)]
pub struct SnapshotWanted {
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
    let mut items = Vec::new();
    for projection in Projection::ALL {
        let rebuild = service.rebuilds.last(projection);
        items.push(match projection {
            Projection::Live => live(&service, rebuild).await?,
            Projection::History => history(&service, rebuild).await,
        });
    }
    Ok(Reply::ok(ProjectionsJson { items }))
}

async fn live(service: &Service, rebuild: Option<Rebuild>) -> Result<ProjectionJson, Problem> {
    let live = Arc::clone(&service.ledger.live());
    let quarantined = Some(live.counts().quarantined);
    let broke = |_| Problem::broken("the digest broke off");
    let (position, digest) = web::block(move || live.digest_at()).await.map_err(broke)?;
    let (name, digest) = (Projection::Live.name(), Some(digest.to_string()));
    let version = Live::VERSION;
    Ok(ProjectionJson { name, version, position, digest, unavailable: None, quarantined, rebuild })
}

async fn history(service: &Service, rebuild: Option<Rebuild>) -> ProjectionJson {
    let (position, digest, unavailable) = match service.history.digest_at().await {
        Ok((position, digest)) => (position, Some(digest.to_string()), None),
        Err(why) => (service.history.progress().position, None, Some(why.to_string())),
    };
    let (name, version) = (Projection::History.name(), HISTORY_VERSION);
    ProjectionJson { name, version, position, digest, unavailable, quarantined: None, rebuild }
}

pub async fn rebuild(operator: Operator, name: Path<Name>) -> Answer<Rebuild> {
    let (projection, rebuilds) = (name.projection()?, &operator.service.rebuilds);
    rebuilds.start(projection).map_err(|why| match why {
        NotStarted::Running => Problem::conflict(why.to_string()),
        NotStarted::NotReady => Problem::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", why.to_string()),
    })?;
    tracing::info!(%projection, operator = operator.origin.actor.id, "a rebuild was asked for");
    let begun = rebuilds.last(projection).ok_or_else(|| Problem::not_found("rebuild since the start"))?;
    Ok(Reply::accepted(begun))
}

pub async fn progress(service: Data<Service>, name: Path<Name>) -> Answer<Rebuild> {
    let last = service.rebuilds.last(name.projection()?);
    let last = last.ok_or_else(|| Problem::not_found("rebuild since the start"))?;
    Ok(Reply::ok(last))
}

pub async fn cancel(service: Data<Service>, name: Path<Name>) -> Answer<()> {
    if service.rebuilds.cancel(name.projection()?) {
        return Ok(Reply::no_content());
    }
    Err(Problem::conflict("no rebuild of this projection is under way"))
}

pub async fn snapshot(service: Data<Service>, wanted: Query<SnapshotWanted>) -> Answer<SnapshotJson> {
    let written = match wanted.kept {
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

/// The name of a projection, as the path has it.
#[derive(Debug, Deserialize)]
pub struct Name(String);

impl Name {
    fn projection(&self) -> Result<Projection, Problem> {
        self.0.parse().map_err(|_| Problem::not_found("projection"))
    }
}

impl PathParameters for Name {
    fn schemas(_: &mut Operation) -> Vec<Value> {
        let names = Projection::ALL.map(Projection::name);
        vec![json!({ "type": "string", "enum": names, "description": "The name of a projection." })]
    }
}

#[cfg(test)]
mod tests;
