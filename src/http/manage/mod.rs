//! The management API for operators: apps, installations, tokens and operator keys, as JSON. Knows: its
//! wire forms, and which command each request is. Must not know: the rules, or stores.
//!
//! Every handler takes [`Admin`](super::operator::Admin) or [`Reader`](super::operator::Reader) first:
//! extractors are asked in order, so nobody without the right key learns anything, not even what was
//! wrong with the request.

mod app_json;
pub mod apps;
pub mod body;
pub mod installations;
pub mod keys;
pub mod paging;
pub(super) mod reply;
pub mod tokens;

pub use app_json::AppJson;
pub use body::{MAX_BODY_BYTES, path_config, query_config};

use actix_web::HttpResponse;
use grantbook_events::{Actor, Event, Recorded, StreamKind, Timestamp};
use serde::Deserialize;

use super::context::Context;
use super::operator::Operator;
use super::problem::Problem;
use super::service::Service;
use crate::audit::actor_schema;
use crate::decisions::Command;

/// Settles an operator's command; a refusal and a fault are problems alike.
async fn settle<C: Command>(
    service: &Service,
    operator: &Operator,
    context: &Context,
    command: &C,
) -> Result<C::Answer, Problem> {
    Ok(service.settle(&operator.origin(context), command).await??)
}

/// What had been done before it was asked for: when, and by whom.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub(crate) struct DoneBefore {
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    #[schema(schema_with = actor_schema)]
    actor: Actor,
}

/// The answer to what was done before: the last event of a stream that did it.
async fn done_before(
    service: &Service,
    stream: StreamKind,
    is_it: impl Fn(&Event) -> bool,
) -> Result<HttpResponse, Problem> {
    let events = service.ledger.events_of(&stream.into()).await?;
    let done = events.into_iter().rfind(|recorded| is_it(&recorded.event));
    Ok(done.map_or_else(reply::done, |Recorded { envelope, .. }| {
        reply::ok(&DoneBefore { recorded_at: envelope.recorded_at, actor: envelope.actor })
    }))
}

/// Why, in the operator's words: a query because a body on DELETE is not passed on by every proxy.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Why {
    /// Why, in the operator's words: 1 to 500 characters.
    #[param(
        required = true,
        nullable = false,
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reason: Option<String>,
}

/// Why, in the operator's words, where it need not be said.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Note {
    /// Why, in the operator's words: 1 to 500 characters.
    #[param(value_type = Option<String>, nullable = false, min_length = 1, max_length = 500)]
    note: Option<String>,
}

impl Why {
    fn required(self) -> Result<String, Problem> {
        self.reason
            .ok_or_else(|| Problem::bad_request("reason is required: say why, as in ?reason=abandoned"))
    }
}

#[cfg(test)]
pub(crate) mod given;
#[cfg(test)]
mod tests;
