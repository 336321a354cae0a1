//! `/audit/…/timeline`: what happened, in plain sentences.

use actix_web::{HttpResponse, web};
use grantbook_events::{InstallationId, TokenId};
use serde::Serialize;
use utoipa::ToSchema;

use super::asked::Asked;
use crate::audit::{self, Moment, Past};
use crate::http::manage::reply;
use crate::http::problem::Problem;
use crate::http::service::Service;

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimelineJson {
    /// Events in sentences, oldest first, each with its event id, position, time, actor and request id.
    items: Vec<Moment>,
}

/// Read in plain sentences what happened to one installation, from the registration of its app on.
#[utoipa::path(get, path = "/audit/installations/{installation_id}/timeline", operation_id = "explain_installation", tag = "audit", security(("operator_key" = [])),
    params(("installation_id" = String, Path)),
    responses(
        (status = 200, description = "The timeline", body = TimelineJson),
    ))]
pub async fn of_installation(
    _asked: Asked,
    service: web::Data<Service>,
    id: web::Path<InstallationId>,
) -> Result<HttpResponse, Problem> {
    let items = audit::timeline(&service.ledger, *id).await?;
    let items = items.ok_or_else(|| Problem::not_found("installation"))?;
    Ok(reply::ok(&TimelineJson { items }))
}

/// Read in plain sentences what happened to one token: its approval, its issue, its end, and its app.
#[utoipa::path(get, path = "/audit/token/{token_id}/timeline", operation_id = "explain_token", tag = "audit", security(("operator_key" = [])),
    params(("token_id" = String, Path)),
    responses(
        (status = 200, description = "The timeline", body = TimelineJson),
    ))]
pub async fn of_token(
    _asked: Asked,
    service: web::Data<Service>,
    id: web::Path<TokenId>,
) -> Result<HttpResponse, Problem> {
    let installation = Past::new(&service.ledger, &service.history).installation_of(*id).await?;
    let installation = installation.ok_or_else(|| Problem::not_found("token"))?;
    let items = audit::token_timeline(&service.ledger, installation, *id).await?;
    Ok(reply::ok(&TimelineJson { items }))
}
