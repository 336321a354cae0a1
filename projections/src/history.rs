//! The row of history of one event, a pure function of that event. Knows: events. Must not know: where rows are
//! stored, or who asks for them.
//!
//! Every event has one row. That of an event that cannot be read says so.

use std::collections::BTreeSet;
use std::str::FromStr;

use grantbook_events::{
    AccountId, Actor, AppEvent, ClientId, Event, EventId, InstallationEvent, InstallationId, LedgerEvent,
    LossAccepted, OperatorKeyEvent, Position, Recorded, RequestId, Revision, StreamKind, StreamName,
    Timestamp, TokenId, UserId, codec,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One event as auditors look for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schema", schema(as = AuditEvent))]
pub struct HistoryRow {
    pub position: Position,
    pub recorded_at: Timestamp,
    /// Its stored type name.
    #[serde(rename = "type")]
    pub event_type: String,
    pub event_id: EventId,
    pub stream: StreamName,
    pub revision: Revision,
    pub client_id: Option<ClientId>,
    pub account_id: Option<AccountId>,
    /// The user who approved: whose grant or token it is about.
    pub user_id: Option<UserId>,
    pub installation_id: Option<InstallationId>,
    /// The tokens it issued or ended.
    pub token_ids: Vec<TokenId>,
    /// Unknown if the event cannot be read.
    pub actor: Option<Actor>,
    pub reason: Option<String>,
    /// Unknown if the event cannot be read.
    pub request_id: Option<RequestId>,
    /// Whose tokens it ended, if it may have ended those of several users.
    pub token_users: Vec<UserId>,
}

impl HistoryRow {
    /// The row of an event.
    pub fn of(recorded: &Recorded) -> Self {
        let envelope = &recorded.envelope;
        let mut row = Self {
            actor: Some(envelope.actor.clone()),
            request_id: Some(envelope.request_id.clone()),
            ..Self::of_bare(Bare {
                position: envelope.position,
                recorded_at: envelope.recorded_at,
                event_id: envelope.event_id,
                stream: &envelope.stream,
                revision: envelope.revision,
                event_type: codec::type_name(&recorded.event),
            })
        };
        match &recorded.event {
            Event::App(event) => row.reason = reason_of_app(event),
            Event::OperatorKey(OperatorKeyEvent::Retired(event)) => row.reason = Some(event.reason.clone()),
            Event::OperatorKey(OperatorKeyEvent::Created(_)) => {}
            Event::Ledger(LedgerEvent::LossAccepted(event)) => row.reason = Some(what_was_lost(event)),
            Event::Installation(event) => row.add_installation(event),
        }
        row
    }

    /// The row of an event that cannot be read: what its payload says under the names that all events use, and else the
    /// name of its stream.
    pub fn unreadable(known: Bare<'_>, payload: &str, why: String) -> Self {
        let payload: Value = serde_json::from_str(payload).unwrap_or_default();
        fn id<T: FromStr>(payload: &Value, name: &str) -> Option<T> {
            payload.get(name)?.as_str()?.parse().ok()
        }
        let of_stream = Self::of_bare(known);
        Self {
            client_id: id(&payload, "client_id").or(of_stream.client_id),
            account_id: id(&payload, "account_id"),
            user_id: id(&payload, "user_id"),
            reason: Some(why),
            ..of_stream
        }
    }

    /// What is known of every event, and what the name of its stream says.
    fn of_bare(known: Bare<'_>) -> Self {
        let (client_id, installation_id) = match known.stream.kind() {
            Ok(StreamKind::App(id)) => (Some(id), None),
            Ok(StreamKind::Installation(id)) => (None, Some(id)),
            Ok(StreamKind::OperatorKey(_) | StreamKind::Ledger(_)) | Err(_) => (None, None),
        };
        Self {
            position: known.position,
            recorded_at: known.recorded_at,
            event_id: known.event_id,
            stream: known.stream.clone(),
            revision: known.revision,
            event_type: known.event_type.to_owned(),
            client_id,
            account_id: None,
            user_id: None,
            installation_id,
            token_ids: Vec::new(),
            token_users: Vec::new(),
            actor: None,
            reason: None,
            request_id: None,
        }
    }

    fn add_installation(&mut self, event: &InstallationEvent) {
        let (client_id, account_id) = event.installation();
        (self.client_id, self.account_id) = (Some(client_id), Some(account_id.clone()));
        self.user_id = event.user().cloned();
        let ended = event.ended_tokens().into_iter().map(|(token_id, _)| token_id);
        let issued = event.issued_tokens().into_iter().map(|(token_id, _)| token_id);
        self.token_ids = ended.chain(issued).collect();
        match event {
            InstallationEvent::AccessGranted(_)
            | InstallationEvent::CodeExchanged(_)
            | InstallationEvent::CodeReplayed(_)
            | InstallationEvent::TokenRefreshed(_)
            | InstallationEvent::RefreshReplayed(_) => {}
            InstallationEvent::TokenRevoked(event) => self.reason = Some(event.reason.as_str().to_owned()),
            InstallationEvent::GrantRevoked(event) => self.reason = Some(event.reason.as_str().to_owned()),
            InstallationEvent::Uninstalled(event) => {
                let users: BTreeSet<_> = event.tokens.iter().map(|token| &token.user_id).collect();
                self.token_users = users.into_iter().cloned().collect();
                self.reason = Some(event.reason.as_str().to_owned());
            }
        }
    }

    /// Every user whose grant or tokens it is about.
    pub fn users(&self) -> impl Iterator<Item = &UserId> {
        self.user_id.iter().chain(&self.token_users)
    }

    /// The first field that this row and another have differently: its name, and both values.
    pub fn difference(&self, other: &Self) -> Option<(String, Value, Value)> {
        let fields = |row: &Self| match serde_json::to_value(row) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        let mut others = fields(other);
        fields(self).into_iter().find_map(|(name, ours)| {
            let theirs = others.remove(&name)?;
            (ours != theirs).then_some((name, ours, theirs))
        })
    }
}

/// What is known of an event whether it can be read or not.
#[derive(Debug, Clone, Copy)]
pub struct Bare<'a> {
    pub position: Position,
    pub recorded_at: Timestamp,
    pub event_id: EventId,
    pub stream: &'a StreamName,
    pub revision: Revision,
    /// Its stored type name.
    pub event_type: &'a str,
}

fn what_was_lost(event: &LossAccepted) -> String {
    let LossAccepted { last_position, seen_position, seen_by } = event;
    format!(
        "events were missing: the ledger ended at position {last_position}, and {seen_by} had seen position {seen_position}"
    )
}

fn reason_of_app(event: &AppEvent) -> Option<String> {
    match event {
        AppEvent::Suspended(event) => Some(event.reason.clone()),
        AppEvent::Resumed(event) => Some(event.reason.clone()),
        AppEvent::Deleted(event) => Some(event.reason.clone()),
        AppEvent::Registered(_)
        | AppEvent::Updated(_)
        | AppEvent::SecretAdded(_)
        | AppEvent::SecretRetired(_) => None,
    }
}
