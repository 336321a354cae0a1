//! `/audit`: questions about history, for auditors. Every answer is itself logged: who asked, through which
//! request, and for what.

use actix_web::{HttpRequest, HttpResponse, web};
use grantbook_events::{Actor, InstallationId};
use serde::Serialize;
use utoipa::ToSchema;

use super::context::Context;
use super::manage::reply;
use super::operator::{Operator, Reader};
use super::problem::Problem;
use super::service::Service;
use crate::audit::{self, Moment};

/// What happened to one installation.
#[derive(Debug, Serialize, ToSchema)]
struct TimelineJson {
    /// Events in sentences, oldest first, each with its event id, position, time, actor and request id.
    #[schema(value_type = Vec<serde_json::Value>)]
    items: Vec<Moment>,
}

/// Read in plain sentences what happened to one installation, from the registration of its app on.
#[utoipa::path(get, path = "/audit/installations/{installation_id}/timeline", operation_id = "explain_installation", tag = "audit", security(("operator_key" = [])),
    params(("installation_id" = String, Path)),
    responses(
        (status = 200, description = "The timeline", body = TimelineJson),
        (status = "default", description = "A problem", body = Problem, content_type = "application/problem+json"),
    ))]
pub async fn timeline(
    Reader(reader): Reader,
    request: HttpRequest,
    context: Context,
    service: web::Data<Service>,
    id: web::Path<InstallationId>,
) -> Result<HttpResponse, Problem> {
    log(&reader, &request, &context);
    let items = audit::timeline(&service.ledger, *id).await?;
    let items = items.ok_or_else(|| Problem::not_found("installation"))?;
    Ok(reply::ok(&TimelineJson { items }))
}

/// The path is made of ids, which are no secrets.
fn log(reader: &Operator, request: &HttpRequest, context: &Context) {
    let Actor { id, .. } = reader.origin(context).actor;
    tracing::info!(
        target: "grantbook::audit",
        operator = id,
        path = request.path(),
        request_id = context.request_id.as_str(),
        "history was read"
    );
}
