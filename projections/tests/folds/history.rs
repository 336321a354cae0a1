//! A ledger in a vector: events get their envelopes, and every stream its state.

use std::collections::BTreeMap;

use grantbook_events::{
    AccessGranted, AccountId, Actor, ActorKind, AppEvent, AppRegistered, AppUninstalled, ClientId,
    CodeExchanged, Envelope, Event, EventId, GrantId, InstallationEvent, InstallationId, NewSecret,
    OperatorKeyId, Position, Recorded, Revision, RevocationReason, SecretDigest, SecretId, StreamKind,
    StreamName, Timestamp, TokenId, TokenPolicy, TokenRevoked, UninstallReason, UserId,
};
use grantbook_projections::live::Live;
use grantbook_projections::{App, FoldError, Installation, LiveToken, OperatorKey, StreamState};
use uuid::Uuid;

/// What happened, and the state of every stream.
#[derive(Debug, Default)]
pub struct History {
    pub log: Vec<Recorded>,
    pub apps: BTreeMap<ClientId, App>,
    pub installations: BTreeMap<InstallationId, Installation>,
    pub keys: BTreeMap<OperatorKeyId, OperatorKey>,
    /// Next revision and last recorded time of every stream.
    ends: BTreeMap<StreamKind, (u64, Timestamp)>,
}

impl History {
    /// The event as it would be recorded next, at a time or as late as its stream already is.
    pub fn next(&self, kind: StreamKind, at: Timestamp, event: impl Into<Event>) -> Recorded {
        let (revision, latest) =
            self.ends.get(&kind).copied().unwrap_or((0, Timestamp::from_micros(i64::MIN)));
        let position = self.log.len() as u64 + 1;
        let envelope = Envelope {
            event_id: EventId::new(Uuid::from_u128(u128::from(position))),
            stream: StreamName::from(kind),
            revision: Revision::new(revision),
            position: Position::new(position),
            recorded_at: at.max(latest),
            actor: Actor { kind: ActorKind::System, id: "test".to_owned() },
            request_id: "test".parse().unwrap(),
            caused_by: None,
        };
        Recorded { envelope, event: event.into() }
    }

    /// Records an event and applies it to the state of its stream.
    pub fn record(&mut self, kind: StreamKind, at: Timestamp, event: impl Into<Event>) -> &Recorded {
        let recorded = self.next(kind, at, event);
        self.apply(kind, &recorded).expect("the event can follow");
        let envelope = &recorded.envelope;
        self.ends.insert(kind, (envelope.revision.as_u64() + 1, envelope.recorded_at));
        self.log.push(recorded);
        self.log.last().unwrap()
    }

    fn apply(&mut self, kind: StreamKind, recorded: &Recorded) -> Result<(), FoldError> {
        match kind {
            StreamKind::App(id) => self.apps.entry(id).or_default().apply(recorded),
            StreamKind::Installation(id) => self.installations.entry(id).or_default().apply(recorded),
            StreamKind::OperatorKey(id) => self.keys.entry(id).or_default().apply(recorded),
        }
    }

    /// The latest recorded time of all streams.
    pub fn latest(&self) -> Timestamp {
        self.ends.values().map(|&(_, at)| at).max().unwrap_or(Timestamp::EPOCH)
    }

    /// A live projection of all that happened.
    pub fn live(&self) -> Live {
        replay(&self.log)
    }

    /// Registers an app at time 0.
    pub fn register(&mut self, client: ClientId) {
        self.record(StreamKind::App(client), seconds(0), registered(client));
    }

    /// A user grants an app access to an account.
    pub fn grant(&mut self, n: u64, client: ClientId, account: &AccountId, user: &UserId, at: Timestamp) {
        let granted = granted(n, client, account, user, at);
        self.record(place(client, account), at, InstallationEvent::AccessGranted(granted));
    }

    /// The code of that grant becomes a token.
    pub fn exchange(&mut self, n: u64, client: ClientId, account: &AccountId, user: &UserId, at: Timestamp) {
        let exchanged = exchanged(n, client, account, user, None);
        self.record(place(client, account), at, InstallationEvent::CodeExchanged(exchanged));
    }

    /// The current epoch of an installation ends.
    pub fn uninstall(&mut self, client: ClientId, account: &AccountId, at: Timestamp) {
        let kind = place(client, account);
        let id = InstallationId::of(&client, account);
        let installed = self.installations[&id].present().expect("it was granted");
        let event = AppUninstalled {
            reason: UninstallReason::User,
            client_id: client,
            account_id: account.clone(),
            tokens: installed.tokens.iter().map(LiveToken::as_ended).collect(),
            epoch: installed.epoch,
            note: None,
        };
        self.record(kind, at, InstallationEvent::Uninstalled(event));
    }
}

/// A live projection of these records.
pub fn replay(log: &[Recorded]) -> Live {
    let live = Live::new();
    log.iter().try_for_each(|recorded| live.apply(recorded)).expect("the history is well-formed");
    live
}

pub fn seconds(n: i64) -> Timestamp {
    Timestamp::from_micros(n * 1_000_000)
}

pub fn client(n: u64) -> ClientId {
    ClientId::new(uuid(1, n))
}

pub fn account(n: u64) -> AccountId {
    format!("account{n}").parse().unwrap()
}

pub fn user(n: u64) -> UserId {
    format!("user{n}").parse().unwrap()
}

pub fn place(client: ClientId, account: &AccountId) -> StreamKind {
    StreamKind::Installation(InstallationId::of(&client, account))
}

/// Ids of which many share their last eight bytes, which is what tables hash.
fn uuid(kind: u64, n: u64) -> Uuid {
    Uuid::from_u64_pair((kind << 56) | n, 0x8000_0000_0000_0000 | (n % 3))
}

pub fn token_id(n: u64) -> TokenId {
    TokenId::new(uuid(2, n))
}

pub fn grant_id(n: u64) -> GrantId {
    GrantId::new(uuid(3, n))
}

pub fn secret_id(n: u64) -> SecretId {
    SecretId::new(uuid(4, n))
}

pub fn key_id(n: u64) -> OperatorKeyId {
    OperatorKeyId::new(uuid(5, n))
}

/// Digests of which many share a shard and what tables hash.
pub fn digest(n: u64) -> SecretDigest {
    let mut bytes = [0; 32];
    bytes[0] = (n % 5) as u8;
    bytes[8..16].copy_from_slice(&n.to_le_bytes());
    bytes[31] = (n % 3) as u8;
    SecretDigest::new(bytes)
}

pub fn registered(client_id: ClientId) -> AppEvent {
    AppEvent::Registered(AppRegistered {
        client_id,
        name: "Widgets".to_owned(),
        owner: "Widgets Inc.".to_owned(),
        homepage: None,
        redirect_uris: vec!["https://app.example/callback".to_owned()],
        scopes: vec!["widgets".to_owned(), "faqs".to_owned()],
        secret: Some(NewSecret { secret_id: secret_id(0), digest: digest(0) }),
        token_policy: TokenPolicy::default(),
    })
}

pub fn granted(
    n: u64,
    client_id: ClientId,
    account_id: &AccountId,
    user_id: &UserId,
    at: Timestamp,
) -> AccessGranted {
    AccessGranted {
        grant_id: grant_id(n),
        client_id,
        account_id: account_id.clone(),
        user_id: user_id.clone(),
        scopes: scopes(n),
        redirect_uri: "https://app.example/callback".to_owned(),
        redirect_uri_sent: false,
        code_digest: digest(n),
        code_expires_at: Timestamp::from_micros(at.as_micros() + 60_000_000),
        code_challenge: None,
    }
}

pub fn exchanged(
    n: u64,
    client_id: ClientId,
    account_id: &AccountId,
    user_id: &UserId,
    expires_at: Option<Timestamp>,
) -> CodeExchanged {
    CodeExchanged {
        grant_id: grant_id(n),
        client_id,
        account_id: account_id.clone(),
        granted_at: Timestamp::from_micros(i64::MAX),
        token_id: token_id(n),
        token_digest: digest(n),
        user_id: user_id.clone(),
        scopes: scopes(n),
        expires_at,
        secret_id: Some(secret_id(0)),
    }
}

pub fn revoked(
    token_id: TokenId,
    client_id: ClientId,
    account_id: &AccountId,
    user_id: &UserId,
    reason: RevocationReason,
) -> InstallationEvent {
    let account_id = account_id.clone();
    let user_id = user_id.clone();
    InstallationEvent::TokenRevoked(TokenRevoked {
        token_id,
        client_id,
        account_id,
        user_id,
        reason,
        note: None,
    })
}

pub fn scopes(n: u64) -> Vec<String> {
    let all = ["widgets", "faqs", "brands"];
    all[..1 + (n % 3) as usize].iter().map(|&scope| scope.to_owned()).collect()
}
