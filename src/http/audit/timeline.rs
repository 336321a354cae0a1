//! `/audit/…/timeline`: what happened, in plain sentences.

use actix_web::web::{Data, Path};
use grantbook_events::{InstallationId, TokenId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::audit::{self, Moment, Past};
use crate::http::problem::Problem;
use crate::http::reply::{Answer, Reply};
use crate::http::service::Service;

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineJson {
    /// Events in sentences, oldest first, each with its event id, position, time, actor and request id.
    items: Vec<Moment>,
}

pub async fn of_installation(service: Data<Service>, id: Path<InstallationId>) -> Answer<TimelineJson> {
    let items = audit::timeline(&service.ledger, *id).await?;
    let items = items.ok_or_else(|| Problem::not_found("installation"))?;
    Ok(Reply(TimelineJson { items }))
}

pub async fn of_token(service: Data<Service>, id: Path<TokenId>) -> Answer<TimelineJson> {
    let installation = Past::new(&service.ledger, &service.history).installation_of(*id).await?;
    let installation = installation.ok_or_else(|| Problem::not_found("token"))?;
    let items = audit::token_timeline(&service.ledger, installation, *id).await?;
    Ok(Reply(TimelineJson { items }))
}
