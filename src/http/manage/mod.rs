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

use serde::Deserialize;

use super::context::Context;
use super::operator::Operator;
use super::problem::Problem;
use super::service::Service;
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
