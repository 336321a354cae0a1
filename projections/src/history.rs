//! What a row of history says of one event. Knows: events, and what earlier events of a stream said. Must not
//! know: where rows rest, or who asks for them.
//!
//! There is one row an event, whatever else becomes of the event: one that cannot be read has a row that says
//! so. What an event does not carry, such as the account of a revocation, is taken from the events before it
//! in its stream.

use std::collections::{BTreeSet, HashMap};

use grantbook_events::{
    AccountId, Actor, AppEvent, ClientId, Event, EventId, InstallationEvent, InstallationId,
    OperatorKeyEvent, Position, Recorded, RequestId, Revision, RevocationReason, StreamKind, StreamName,
    Timestamp, TokenId, UninstallReason, UserId, codec,
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

/// What earlier events said.
pub trait Earlier {
    /// Why it cannot be told.
    type Error;

    /// Which app on which account an installation is.
    ///
    /// # Errors
    /// If it cannot be told.
    fn installation(&mut self, id: InstallationId) -> Result<Option<(ClientId, AccountId)>, Self::Error>;

    /// Whose token this is, if it was issued in the installation and had not expired at a time.
    ///
    /// # Errors
    /// If it cannot be told.
    fn user_of(
        &mut self,
        id: InstallationId,
        token: TokenId,
        at: Timestamp,
    ) -> Result<Option<UserId>, Self::Error>;
}

impl HistoryRow {
    /// The row of an event.
    ///
    /// # Errors
    /// If it cannot be told what earlier events said.
    pub fn of<E: Earlier>(recorded: &Recorded, earlier: &mut E) -> Result<Self, E::Error> {
        let envelope = &recorded.envelope;
        let mut row = Self {
            actor: Some(envelope.actor.clone()),
            request_id: Some(envelope.request_id.clone()),
            ..Self::begun(Bare {
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
            Event::Installation(event) => row.see(event, earlier)?,
        }
        Ok(row)
    }

    /// The row of an event that cannot be read.
    ///
    /// # Errors
    /// If it cannot be told what earlier events said.
    pub fn unreadable<E: Earlier>(known: Bare<'_>, why: String, earlier: &mut E) -> Result<Self, E::Error> {
        let mut row = Self { reason: Some(why), ..Self::begun(known) };
        if let Some(id) = row.installation_id {
            row.find_account(id, earlier)?;
        }
        Ok(row)
    }

    /// What is known of every event, and what the name of its stream says.
    fn begun(known: Bare<'_>) -> Self {
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

    fn find_account<E: Earlier>(&mut self, id: InstallationId, earlier: &mut E) -> Result<(), E::Error> {
        if let Some((client_id, account_id)) = earlier.installation(id)? {
            (self.client_id, self.account_id) = (Some(client_id), Some(account_id));
        }
        Ok(())
    }

    fn see<E: Earlier>(&mut self, event: &InstallationEvent, earlier: &mut E) -> Result<(), E::Error> {
        let Some(id) = self.installation_id else { return Ok(()) };
        match event {
            InstallationEvent::AccessGranted(event) => {
                self.client_id = Some(event.client_id);
                self.account_id = Some(event.account_id.clone());
                self.user_id = Some(event.user_id.clone());
                return Ok(());
            }
            InstallationEvent::CodeExchanged(event) => {
                self.user_id = Some(event.user_id.clone());
                self.token_ids = vec![event.token_id];
            }
            InstallationEvent::CodeReplayed(event) => {
                self.token_ids.clone_from(&event.token_ids);
                // They are all of one grant.
                self.user_id = self.users_of_tokens(id, earlier)?.into_iter().next();
            }
            InstallationEvent::TokenRevoked(event) => {
                self.token_ids = vec![event.token_id];
                self.user_id = earlier.user_of(id, event.token_id, self.recorded_at)?;
                self.reason = Some(reason_of_revocation(event.reason).to_owned());
            }
            InstallationEvent::Uninstalled(event) => {
                self.token_ids.clone_from(&event.token_ids);
                self.token_users = self.users_of_tokens(id, earlier)?.into_iter().collect();
                self.reason = Some(reason_of_uninstall(event.reason).to_owned());
            }
        }
        self.find_account(id, earlier)
    }

    fn users_of_tokens<E: Earlier>(
        &self,
        id: InstallationId,
        earlier: &mut E,
    ) -> Result<BTreeSet<UserId>, E::Error> {
        let mut users = BTreeSet::new();
        for token in &self.token_ids {
            users.extend(earlier.user_of(id, *token, self.recorded_at)?);
        }
        Ok(users)
    }

    /// Everybody whose grant or tokens it is about.
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

/// Every reason of an end of tokens; the others are words of operators.
pub const REASONS: &[&str] = &["user", "app", "operator", "superseded", "leaked"];

const fn reason_of_revocation(reason: RevocationReason) -> &'static str {
    match reason {
        RevocationReason::User => "user",
        RevocationReason::App => "app",
        RevocationReason::Operator => "operator",
        RevocationReason::Superseded => "superseded",
        RevocationReason::Leaked => "leaked",
    }
}

const fn reason_of_uninstall(reason: UninstallReason) -> &'static str {
    match reason {
        UninstallReason::User => "user",
        UninstallReason::Operator => "operator",
    }
}

/// What earlier events said, remembered as long as it can matter: one entry an installation, and its tokens
/// that neither ended nor expired.
#[derive(Debug, Default)]
pub struct Remembered(HashMap<InstallationId, Place>);

#[derive(Debug, Default)]
struct Place {
    known: Option<(ClientId, AccountId)>,
    tokens: Vec<(TokenId, UserId, Option<Timestamp>)>,
}

impl Remembered {
    /// Takes an event in, after its row was made.
    pub fn see(&mut self, recorded: &Recorded) {
        let Ok(StreamKind::Installation(id)) = recorded.envelope.stream.kind() else { return };
        let Event::Installation(event) = &recorded.event else { return };
        let place = self.0.entry(id).or_default();
        let at = recorded.envelope.recorded_at;
        place.tokens.retain(|(_, _, expires_at)| expires_at.is_none_or(|end| at < end));
        match event {
            InstallationEvent::AccessGranted(event) => {
                place.known.get_or_insert_with(|| (event.client_id, event.account_id.clone()));
            }
            InstallationEvent::CodeExchanged(event) => {
                place.tokens.push((event.token_id, event.user_id.clone(), event.expires_at));
            }
            InstallationEvent::CodeReplayed(event) => place.end(&event.token_ids),
            InstallationEvent::TokenRevoked(event) => place.end(&[event.token_id]),
            InstallationEvent::Uninstalled(event) => place.end(&event.token_ids),
        }
    }
}

impl Place {
    fn end(&mut self, ended: &[TokenId]) {
        self.tokens.retain(|(token, _, _)| !ended.contains(token));
    }
}

impl Earlier for Remembered {
    type Error = std::convert::Infallible;

    fn installation(&mut self, id: InstallationId) -> Result<Option<(ClientId, AccountId)>, Self::Error> {
        Ok(self.0.get(&id).and_then(|place| place.known.clone()))
    }

    fn user_of(
        &mut self,
        id: InstallationId,
        token: TokenId,
        at: Timestamp,
    ) -> Result<Option<UserId>, Self::Error> {
        let place = self.0.get(&id);
        let found = place.and_then(|place| place.tokens.iter().find(|(known, _, _)| *known == token));
        let unexpired = found.filter(|(_, _, expires_at)| expires_at.is_none_or(|end| at < end));
        Ok(unexpired.map(|(_, user, _)| user.clone()))
    }
}
