//! A row of history as people and programs outside are shown it. Knows: its fields. Must not know: who asks.

use grantbook_events::{
    AccountId, Actor, ClientId, EventId, InstallationId, Position, RequestId, Revision, StreamName,
    Timestamp, TokenId, UserId,
};
use grantbook_projections::history::HistoryRow;
use serde::Serialize;
use utoipa::ToSchema;

use super::super::schema::actor_or_none;

/// One row of history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct ShownRow<'a> {
    #[schema(value_type = u64)]
    position: Position,
    #[schema(value_type = String, format = DateTime)]
    recorded_at: Timestamp,
    #[serde(rename = "type")]
    event_type: &'a str,
    #[schema(value_type = String, format = "uuid")]
    event_id: EventId,
    #[schema(value_type = String)]
    stream: &'a StreamName,
    #[schema(value_type = u64)]
    revision: Revision,
    #[schema(value_type = Option<String>)]
    client_id: Option<ClientId>,
    #[schema(value_type = Option<String>)]
    account_id: Option<&'a AccountId>,
    #[schema(value_type = Option<String>)]
    user_id: Option<&'a UserId>,
    #[schema(value_type = Option<String>, format = "uuid")]
    installation_id: Option<InstallationId>,
    #[schema(value_type = Vec<String>)]
    token_ids: &'a [TokenId],
    #[schema(schema_with = actor_or_none)]
    actor: Option<&'a Actor>,
    reason: Option<&'a str>,
    #[schema(value_type = Option<String>)]
    request_id: Option<&'a RequestId>,
    /// Whose tokens it ended, if it may have ended those of several users.
    #[schema(value_type = Vec<String>)]
    token_users: &'a [UserId],
}

impl<'a> From<&'a HistoryRow> for ShownRow<'a> {
    fn from(row: &'a HistoryRow) -> Self {
        Self {
            position: row.position,
            recorded_at: row.recorded_at,
            event_type: &row.event_type,
            event_id: row.event_id,
            stream: &row.stream,
            revision: row.revision,
            client_id: row.client_id,
            account_id: row.account_id.as_ref(),
            user_id: row.user_id.as_ref(),
            installation_id: row.installation_id,
            token_ids: &row.token_ids,
            actor: row.actor.as_ref(),
            reason: row.reason.as_deref(),
            request_id: row.request_id.as_ref(),
            token_users: &row.token_users,
        }
    }
}
