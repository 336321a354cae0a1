//! A row of history as people and programs outside are shown it. Knows: its fields. Must not know: who asks.

use grantbook_events::{
    AccountId, Actor, ClientId, EventId, InstallationId, Position, RequestId, Revision, StreamName,
    Timestamp, TokenId, UserId,
};
use grantbook_projections::history::HistoryRow;
use serde::Serialize;

/// One row of history.
#[derive(Debug, Serialize)]
pub struct ShownRow<'a> {
    position: Position,
    recorded_at: Timestamp,
    #[serde(rename = "type")]
    event_type: &'a str,
    event_id: EventId,
    stream: &'a StreamName,
    revision: Revision,
    client_id: Option<ClientId>,
    account_id: Option<&'a AccountId>,
    user_id: Option<&'a UserId>,
    installation_id: Option<InstallationId>,
    token_ids: &'a [TokenId],
    actor: Option<&'a Actor>,
    reason: Option<&'a str>,
    request_id: Option<&'a RequestId>,
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
        }
    }
}
