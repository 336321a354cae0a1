//! The management API for operators: apps, installations, tokens and operator keys, as JSON. Knows: its
//! wire forms, and which command each request is. Must not know: the rules, or stores.

mod app_json;
pub mod apps;
pub mod installations;
pub mod keys;
pub mod paging;
pub mod tokens;

use grantbook_events::{Actor, Event, Recorded, StreamKind, Timestamp};
use serde::Deserialize;

use crate::http::{Answer, Problem, Reply, Service};

/// What had been done before it was asked for: when, and by whom.
#[derive(Debug, serde::Serialize, utoipa::ToSchema)]
pub struct DoneBefore {
    recorded_at: Timestamp,
    actor: Actor,
}

/// The answer to what was done before: the last event of a stream that did it.
async fn done_before(
    service: &Service,
    stream: StreamKind,
    is_it: impl Fn(&Event) -> bool,
) -> Answer<DoneBefore> {
    let events = service.ledger.events_of(&stream.into()).await?;
    let done = events.into_iter().rfind(|recorded| is_it(&recorded.event));
    Ok(done.map_or_else(Reply::no_content, |Recorded { envelope, .. }| {
        Reply::ok(DoneBefore { recorded_at: envelope.recorded_at, actor: envelope.actor })
    }))
}

/// Why, in the operator's words: a query because a body on DELETE is not passed on by every proxy.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Why {
    /// Why, in the operator's words: 1 to 500 characters.
    #[param(
        required = true,
        min_length = 1,
        max_length = 500,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]*[^\\s\\x00-\\x1f\\x7f-\\x9f][^\\x00-\\x1f\\x7f-\\x9f]*$"
    )]
    reason: Option<String>,
}

/// Why, in the operator's words, where it need not be said.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Note {
    /// Why, in the operator's words: 1 to 500 characters.
    #[param(min_length = 1, max_length = 500)]
    note: Option<String>,
}

impl Why {
    fn required(self) -> Result<String, Problem> {
        self.reason
            .ok_or_else(|| Problem::bad_request("reason is required: say why, as in ?reason=abandoned"))
    }
}

#[cfg(test)]
mod tests;
