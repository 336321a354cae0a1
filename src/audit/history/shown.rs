//! A row of history as people and programs outside are shown it. Knows: its fields. Must not know: who asks.

use grantbook_events::{
    AccountId, Actor, ClientId, EventId, InstallationId, Position, RequestId, Revision, StreamName,
    Timestamp, TokenId, UserId,
};
use grantbook_projections::history::HistoryRow;
use serde::Serialize;
use utoipa::ToSchema;

/// One row of history.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEvent)]
pub struct ShownRow {
    position: Position,
    recorded_at: Timestamp,
    #[serde(rename = "type")]
    event_type: String,
    event_id: EventId,
    stream: StreamName,
    revision: Revision,
    client_id: Option<ClientId>,
    account_id: Option<AccountId>,
    user_id: Option<UserId>,
    installation_id: Option<InstallationId>,
    token_ids: Vec<TokenId>,
    actor: Option<Actor>,
    reason: Option<String>,
    request_id: Option<RequestId>,
    /// Whose tokens it ended, if it may have ended those of several users.
    token_users: Vec<UserId>,
}

impl From<&HistoryRow> for ShownRow {
    fn from(row: &HistoryRow) -> Self {
        Self {
            position: row.position,
            recorded_at: row.recorded_at,
            event_type: row.event_type.clone(),
            event_id: row.event_id,
            stream: row.stream.clone(),
            revision: row.revision,
            client_id: row.client_id,
            account_id: row.account_id.clone(),
            user_id: row.user_id.clone(),
            installation_id: row.installation_id,
            token_ids: row.token_ids.clone(),
            actor: row.actor.clone(),
            reason: row.reason.clone(),
            request_id: row.request_id.clone(),
            token_users: row.token_users.clone(),
        }
    }
}
