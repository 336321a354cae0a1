//! The row of history of one event, a pure function of that event. Knows: events. Must not know: where rows are
//! stored, or who asks for them.
//!
//! Every event has one row. The row of an event that cannot be read says so.

use std::collections::BTreeSet;

use grantbook_events::{
    AccountId, Actor, AppEvent, ClientId, Event, EventId, InstallationEvent, InstallationId,
    OperatorKeyEvent, Position, Recorded, RequestId, Revision, StreamKind, StreamName, Timestamp, TokenId,
    UserId, codec,
};

use crate::live::StateDigest;

/// One event as auditors look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryRow {
    /// Its place among all events.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Names the event.
    pub event_id: EventId,
    /// The stream it is in.
    pub stream: StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its stored type name.
    pub event_type: String,
    /// The app it is about.
    pub client_id: Option<ClientId>,
    /// The account it is about.
    pub account_id: Option<AccountId>,
    /// The user who approved: whose grant or token it is about.
    pub user_id: Option<UserId>,
    /// The installation it is about.
    pub installation_id: Option<InstallationId>,
    /// The tokens it issued or ended.
    pub token_ids: Vec<TokenId>,
    /// Whose tokens it ended, if it may have ended those of several users.
    pub token_users: Vec<UserId>,
    /// Who did it; unknown if the event cannot be read.
    pub actor: Option<Actor>,
    /// Why, if it says so.
    pub reason: Option<String>,
    /// Through which request; unknown if the event cannot be read.
    pub request_id: Option<RequestId>,
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
            Event::Installation(event) => row.add_installation(event),
        }
        row
    }

    /// The row of an event that cannot be read.
    pub fn unreadable(known: Bare<'_>, why: String) -> Self {
        Self { reason: Some(why), ..Self::of_bare(known) }
    }

    /// What is known of every event, and what the name of its stream says.
    fn of_bare(known: Bare<'_>) -> Self {
        let (client_id, installation_id) = match known.stream.kind() {
            Ok(StreamKind::App(id)) => (Some(id), None),
            Ok(StreamKind::Installation(id)) => (None, Some(id)),
            Ok(StreamKind::OperatorKey(_)) | Err(_) => (None, None),
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
        self.token_ids = event.ended_tokens().into_iter().map(|(token_id, _)| token_id).collect();
        match event {
            InstallationEvent::AccessGranted(event) => self.user_id = Some(event.user_id.clone()),
            InstallationEvent::CodeExchanged(event) => {
                self.user_id = Some(event.user_id.clone());
                self.token_ids = vec![event.token_id];
            }
            InstallationEvent::CodeReplayed(event) => self.user_id = Some(event.user_id.clone()),
            InstallationEvent::TokenRevoked(event) => {
                self.user_id = Some(event.user_id.clone());
                self.reason = Some(event.reason.as_str().to_owned());
            }
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

    /// Adds the row to a digest of rows.
    pub fn digest(&self, digest: &mut StateDigest) {
        let uuids = [self.client_id.map(|id| *id.as_uuid()), self.installation_id.map(|id| *id.as_uuid())];
        let [client, installation] =
            uuids.each_ref().map(|id| id.as_ref().map_or(&[][..], |id| id.as_bytes()));
        fn text(text: Option<&str>) -> &[u8] {
            text.unwrap_or_default().as_bytes()
        }
        let actor = self.actor.as_ref().map(|actor| format!("{:?} {}", actor.kind, actor.id));
        let tokens: Vec<u8> = self.token_ids.iter().flat_map(|token| *token.as_uuid().as_bytes()).collect();
        let users: Vec<u8> =
            self.token_users.iter().flat_map(|user| [user.as_str(), "\0"].concat().into_bytes()).collect();
        digest.add(
            "history",
            &[
                &self.position.as_u64().to_le_bytes(),
                &self.recorded_at.as_micros().to_le_bytes(),
                self.event_id.as_uuid().as_bytes(),
                self.stream.as_str().as_bytes(),
                &self.revision.as_u64().to_le_bytes(),
                self.event_type.as_bytes(),
                client,
                text(self.account_id.as_ref().map(AccountId::as_str)),
                text(self.user_id.as_ref().map(UserId::as_str)),
                installation,
                &tokens,
                &users,
                text(actor.as_deref()),
                text(self.reason.as_deref()),
                text(self.request_id.as_ref().map(RequestId::as_str)),
            ],
        );
    }

    /// The first field that this row and another have differently: its name, and both values.
    pub fn difference(&self, other: &Self) -> Option<(&'static str, String, String)> {
        self.fields()
            .into_iter()
            .zip(other.fields())
            .find_map(|((name, ours), (_, theirs))| (ours != theirs).then_some((name, ours, theirs)))
    }

    fn fields(&self) -> [(&'static str, String); 15] {
        [
            ("position", self.position.to_string()),
            ("event id", self.event_id.to_string()),
            ("type", self.event_type.clone()),
            ("stream", self.stream.to_string()),
            ("revision", self.revision.to_string()),
            ("time", self.recorded_at.to_string()),
            ("app", format!("{:?}", self.client_id)),
            ("account", format!("{:?}", self.account_id)),
            ("user", format!("{:?}", self.user_id)),
            ("installation", format!("{:?}", self.installation_id)),
            ("tokens", format!("{:?}", self.token_ids)),
            ("users of the tokens", format!("{:?}", self.token_users)),
            ("actor", format!("{:?}", self.actor)),
            ("reason", format!("{:?}", self.reason)),
            ("request", format!("{:?}", self.request_id)),
        ]
    }
}

/// What is known of an event whether it can be read or not.
#[derive(Debug, Clone, Copy)]
pub struct Bare<'a> {
    /// Its place among all events.
    pub position: Position,
    /// When it was recorded.
    pub recorded_at: Timestamp,
    /// Names the event.
    pub event_id: EventId,
    /// The stream it is in.
    pub stream: &'a StreamName,
    /// Its place in the stream.
    pub revision: Revision,
    /// Its stored type name.
    pub event_type: &'a str,
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
