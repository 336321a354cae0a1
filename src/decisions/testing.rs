//! Given–when–then for commands: a state built by running commands, and a few commands with fixed ids.

use std::marker::PhantomData;
use std::time::Duration;

use grantbook_events::{
    Actor, ActorKind, ClientId, Envelope, Event, EventId, GrantId, InstallationId, NewSecret, Position,
    Recorded, Revision, SecretDigest, SecretId, StreamKind, StreamName, Timestamp, TokenId, UninstallReason,
};
use grantbook_projections::live::{Live, State};
use grantbook_projections::{App, Installation};
use uuid::Uuid;

use super::issue::{NewRefresh, TokenRules};
use super::register_app::Registration;
use super::scopes::ScopeCatalogue;
use super::{Command, Decision, ExchangeCode, GrantAccess, RegisterApp, UninstallApp};

/// What the clock shows when the grants below are made and their codes are exchanged.
pub(super) const NOW: Timestamp = Timestamp::from_micros(10_000_000);

/// A small ledger: an app, and the streams that commands have changed.
pub(super) struct TestStreams<S> {
    live: Live,
    events: u64,
    of: PhantomData<S>,
}

impl<S: State> TestStreams<S> {
    pub fn empty() -> Self {
        Self { live: Live::new(), events: 0, of: PhantomData }
    }

    /// What a command would decide.
    pub fn decide<C: Command<State = S>>(&self, command: &C, now: i64) -> Decision<C::Answer, C::Refusal> {
        let now = Timestamp::from_micros(now);
        let decide = |state: Option<&S>| command.decide(state, now).unwrap_or_else(Decision::refused);
        S::look(&self.live, &command.stream(), decide)
    }

    /// Decides and applies what happens.
    pub fn run<C: Command<State = S>>(&mut self, command: &C, now: i64) -> Result<C::Answer, C::Refusal> {
        let decision = self.decide(command, now);
        decision.events.into_iter().for_each(|event| self.record(command.stream(), now, event));
        decision.answer
    }

    fn record(&mut self, stream: StreamKind, now: i64, event: Event) {
        let recorded = recorded(stream.into(), self.events, now, event);
        self.live.apply(&recorded).expect("what a decision says can be folded");
        self.events += 1;
    }
}

impl TestStreams<Installation> {
    pub fn installation(grants: impl IntoIterator<Item = GrantAccess>) -> Self {
        let mut streams = Self::empty();
        let registered = register(1).decide(None, Timestamp::EPOCH).expect("right").events;
        registered.into_iter().for_each(|event| streams.record(StreamKind::App(client_id(1)), 0, event));
        grants.into_iter().for_each(|grant| streams.run(&grant, 0).expect("granted"));
        streams
    }

    pub fn installed(&self) -> Installation {
        let stream = StreamKind::Installation(exchange(1).installation_id);
        Installation::look(&self.live, &stream, |state| state.cloned()).expect("granted")
    }

    /// The tokens, oldest first.
    pub fn token_ids(&self) -> Vec<TokenId> {
        self.installed().held().iter().map(|(_, held)| held.token.token_id).collect()
    }
}

impl TestStreams<App> {
    pub fn app(registrations: impl IntoIterator<Item = RegisterApp>) -> Self {
        let mut streams = Self::empty();
        registrations.into_iter().for_each(|register| streams.run(&register, 0).expect("registered"));
        streams
    }

    pub fn registered(&self) -> App {
        (*self.live.app(&client_id(1)).expect("registered")).clone()
    }
}

fn recorded(stream: StreamName, revision: u64, now: i64, event: Event) -> Recorded {
    let envelope = Envelope {
        event_id: EventId::new(Uuid::from_u128(u128::from(revision))),
        stream,
        revision: Revision::new(revision),
        position: Position::new(revision + 1),
        recorded_at: Timestamp::from_micros(now),
        actor: Actor { kind: ActorKind::System, id: "test".to_owned() },
        request_id: "test".parse().expect("visible"),
        caused_by: None,
    };
    Recorded { envelope, event }
}

fn uuid(n: u8) -> Uuid {
    Uuid::from_bytes([n; 16])
}

pub(super) fn client_id(n: u8) -> ClientId {
    ClientId::new(uuid(n))
}

pub(super) fn secret_id(n: u8) -> SecretId {
    SecretId::new(uuid(n))
}

pub(super) fn token_id(n: u8) -> TokenId {
    TokenId::new(uuid(n))
}

pub(super) fn grant_id(n: u8) -> GrantId {
    GrantId::new(uuid(n))
}

pub(super) fn digest(n: u8) -> SecretDigest {
    SecretDigest::new([n; 32])
}

pub(super) fn grant(n: u8) -> GrantAccess {
    GrantAccess {
        grant_id: grant_id(n),
        client_id: client_id(1),
        account_id: "acme".parse().expect("visible"),
        user_id: "ada".parse().expect("visible"),
        scopes: vec!["widgets".to_owned(), "faqs".to_owned()],
        redirect_uri: "https://app.example/callback".to_owned(),
        redirect_uri_sent: false,
        resources: Vec::new(),
        code_challenge: None,
        code_digest: digest(n),
        code_lifetime: Duration::from_secs(60),
        codes_dead_until: None,
        approved_at: NOW,
        not_before: Timestamp::EPOCH,
    }
}

pub(super) fn exchange(n: u8) -> ExchangeCode {
    ExchangeCode {
        installation_id: InstallationId::of(&client_id(1), &grant(n).account_id),
        client_id: client_id(1),
        secret_id: Some(secret_id(1)),
        codes_dead_until: None,
        code_digest: digest(n),
        redirect_uri: None,
        verifier_challenge: None,
        presented_at: NOW,
        code_lifetime: Duration::from_secs(60),
        token_id: token_id(n),
        token_digest: digest(n.wrapping_add(128)),
        refresh: new_refresh(n),
        resources: Vec::new(),
        rules: TokenRules { lifetime: None, refresh: None, max_live_per_user: 10 },
    }
}

/// The refresh token that comes with token `n`, of a family of its own.
pub(super) fn new_refresh(n: u8) -> NewRefresh {
    let token_id = token_id(n.wrapping_add(64));
    NewRefresh { token_id, digest: digest(n.wrapping_add(64)), family_digest: digest(n.wrapping_add(192)) }
}

pub(super) fn uninstall() -> UninstallApp {
    UninstallApp { installation_id: exchange(1).installation_id, reason: UninstallReason::User, note: None }
}

pub(super) fn registration() -> Registration {
    Registration {
        name: "Widgets".to_owned(),
        owner: "Widgets Inc.".to_owned(),
        homepage: None,
        redirect_uris: vec!["https://app.example/callback".to_owned()],
        scopes: vec!["faqs".to_owned(), "brands".to_owned()],
        ..Registration::default()
    }
}

pub(super) fn register(n: u8) -> RegisterApp {
    let secret = NewSecret { secret_id: secret_id(n), digest: digest(n) };
    RegisterApp::new(client_id(n), Some(secret), &registration(), &ScopeCatalogue::default()).expect("right")
}

pub(super) fn registered_app() -> App {
    TestStreams::app([register(1)]).registered()
}
