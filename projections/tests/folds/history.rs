//! A ledger in a vector: events get their envelopes, and the live projection follows each.

use std::collections::BTreeMap;

use grantbook_events::{
    AccessGranted, AccountId, Actor, ActorKind, AppEvent, AppRegistered, AppSource, AppUninstalled, ClientId,
    ClientKeys, CodeExchanged, Envelope, Event, EventId, GrantId, GrantRevoked, InstallationEvent,
    InstallationId, LedgerEvent, LedgerId, LossAccepted, NewSecret, OperatorKeyCreated, OperatorKeyEvent,
    OperatorKeyId, Position, Recorded, RefreshIssued, RefreshReplayed, Revision, RevocationReason, Role,
    SecretDigest, SecretId, StreamKind, StreamName, Timestamp, TokenId, TokenPolicy, TokenRefreshed,
    TokenRevoked, UninstallReason, UserId,
};
use grantbook_projections::live::{Live, State as _};
use grantbook_projections::{Effects, Grant, Installation};
use uuid::Uuid;

/// What happened, what each event changed, and the state after all of it.
#[derive(Debug, Default)]
pub struct History {
    pub log: Vec<Recorded>,
    pub effects: Vec<Effects>,
    pub live: Live,
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

    /// Records an event and applies it.
    pub fn record(&mut self, kind: StreamKind, at: Timestamp, event: impl Into<Event>) -> &Recorded {
        let recorded = self.next(kind, at, event);
        self.effects.push(self.live.apply(&recorded).expect("the event can follow"));
        let envelope = &recorded.envelope;
        self.ends.insert(kind, (envelope.revision.as_u64() + 1, envelope.recorded_at));
        self.log.push(recorded);
        self.log.last().unwrap()
    }

    /// The state of an installation, once access was granted.
    pub fn installed(&self, kind: StreamKind) -> Option<Installation> {
        Installation::look(&self.live, &kind, |state| state.cloned())
    }

    /// The latest recorded time of all streams.
    pub fn latest(&self) -> Timestamp {
        self.ends.values().map(|&(_, at)| at).max().unwrap_or(Timestamp::EPOCH)
    }

    /// Another live projection of all that happened.
    pub fn replayed(&self) -> Live {
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
        self.exchange_until(n, client, account, user, at, None);
    }

    /// The same, for a token that expires.
    pub fn exchange_until(
        &mut self,
        n: u64,
        client: ClientId,
        account: &AccountId,
        user: &UserId,
        at: Timestamp,
        expires_at: Option<Timestamp>,
    ) {
        let granted_at = self.look_at(n, client, account, |grant| grant.granted_at);
        let exchanged = exchanged(n, client, account, user, granted_at, expires_at);
        self.record(place(client, account), at, InstallationEvent::CodeExchanged(exchanged));
    }

    /// The code becomes an access token that lives for so many seconds and a refresh token that never expires.
    pub fn exchange_with_refresh(
        &mut self,
        n: u64,
        client: ClientId,
        account: &AccountId,
        user: &UserId,
        (at, lifetime): (i64, i64),
    ) {
        let granted_at = self.look_at(n, client, account, |grant| grant.granted_at);
        let mut event = exchanged(n, client, account, user, granted_at, Some(seconds(at + lifetime)));
        event.refresh = Some(refresh_issued(n, n));
        self.record(place(client, account), seconds(at), InstallationEvent::CodeExchanged(event));
    }

    /// The refresh token of a grant becomes tokens with the name `n`, the access token for so many seconds.
    pub fn refresh(
        &mut self,
        (grant, n): (u64, u64),
        client: ClientId,
        account: &AccountId,
        (at, lifetime): (i64, i64),
    ) {
        let event = self.look_at(grant, client, account, |grant| {
            let expires_at = Some(seconds(at + lifetime));
            refreshed(n, client, account, grant, expires_at)
        });
        let event = event.expect("there is a refresh token");
        self.record(place(client, account), seconds(at), InstallationEvent::TokenRefreshed(event));
    }

    pub fn look_at<T>(
        &self,
        n: u64,
        client: ClientId,
        account: &AccountId,
        look: impl FnOnce(&Grant) -> T,
    ) -> T {
        Installation::look(&self.live, &place(client, account), |state| {
            look(state.and_then(|state| state.grant(grant_id(n))).expect("it was granted"))
        })
    }

    /// The current epoch of an installation ends.
    pub fn uninstall(&mut self, client: ClientId, account: &AccountId, at: Timestamp) {
        let kind = place(client, account);
        let installed = self.installed(kind).expect("access was granted");
        let event = AppUninstalled {
            reason: UninstallReason::User,
            client_id: client,
            account_id: account.clone(),
            tokens: installed.grants().flat_map(Grant::ended_tokens).collect(),
            epoch: installed.epoch,
            note: None,
        };
        self.record(kind, at, InstallationEvent::Uninstalled(event));
    }
}

/// That of RFC 7636, appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A live projection of these records.
pub fn replay(log: &[Recorded]) -> Live {
    let live = Live::new();
    apply_all(&live, log);
    live
}

/// Applies records that can follow.
pub fn apply_all<'a>(live: &Live, records: impl IntoIterator<Item = &'a Recorded>) {
    for recorded in records {
        live.apply(recorded).expect("the event can follow");
    }
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

/// That of a refresh token.
pub fn refresh_id(n: u64) -> TokenId {
    TokenId::new(uuid(7, n))
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

/// That of a refresh token.
pub fn refresh_digest(n: u64) -> SecretDigest {
    digest(n | 1 << 40)
}

/// That of what the refresh tokens of a grant have alike.
pub fn family_digest(n: u64) -> SecretDigest {
    digest(n | 1 << 41)
}

pub fn registered(client_id: ClientId) -> AppEvent {
    AppEvent::Registered(registration(client_id))
}

pub fn registration(client_id: ClientId) -> AppRegistered {
    AppRegistered {
        client_id,
        name: "Widgets".to_owned(),
        owner: "Widgets Inc.".to_owned(),
        homepage: None,
        redirect_uris: vec!["https://app.example/callback".to_owned()],
        scopes: vec!["widgets".to_owned(), "faqs".to_owned()],
        default_scopes: Vec::new(),
        secret: Some(NewSecret { secret_id: secret_id(0), digest: digest(0) }),
        keys: ClientKeys::None,
        token_policy: TokenPolicy::default(),
        requires_pushed_requests: false,
        source: AppSource::Operator,
        registration_digest: None,
    }
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
        code_challenge: n.is_multiple_of(4).then(|| CHALLENGE.to_owned()),
        resources: resources(n),
    }
}

pub fn exchanged(
    n: u64,
    client_id: ClientId,
    account_id: &AccountId,
    user_id: &UserId,
    granted_at: Timestamp,
    expires_at: Option<Timestamp>,
) -> CodeExchanged {
    CodeExchanged {
        grant_id: grant_id(n),
        client_id,
        account_id: account_id.clone(),
        granted_at,
        token_id: token_id(n),
        token_digest: digest(n),
        user_id: user_id.clone(),
        scopes: scopes(n),
        expires_at,
        secret_id: Some(secret_id(0)),
        resources: resources(n),
        refresh: None,
    }
}

/// A refresh token without an end.
pub fn refresh_issued(n: u64, family: u64) -> RefreshIssued {
    RefreshIssued {
        token_id: refresh_id(n),
        digest: refresh_digest(n),
        family_digest: family_digest(family),
        expires_at: None,
        ends_at: None,
    }
}

/// The refresh token of a grant becomes tokens with the name `n`, which may do all that was granted.
pub fn refreshed(
    n: u64,
    client_id: ClientId,
    account_id: &AccountId,
    grant: &Grant,
    expires_at: Option<Timestamp>,
) -> Option<TokenRefreshed> {
    let family = grant.any_family()?;
    Some(TokenRefreshed {
        grant_id: grant.grant_id,
        client_id,
        account_id: account_id.clone(),
        user_id: grant.user_id.clone(),
        spent_token_id: family.refresh()?.token_id,
        token_id: token_id(n),
        token_digest: digest(n),
        scopes: grant.scopes.to_vec(),
        expires_at,
        secret_id: None,
        resources: grant.resources.to_vec(),
        refresh: RefreshIssued {
            family_digest: family.digest,
            ends_at: family.ends_at(),
            ..refresh_issued(n, 0)
        },
    })
}

/// A spent refresh token of a grant comes back.
pub fn refresh_replayed(client_id: ClientId, account_id: &AccountId, grant: &Grant) -> InstallationEvent {
    InstallationEvent::RefreshReplayed(RefreshReplayed {
        grant_id: grant.grant_id,
        client_id,
        account_id: account_id.clone(),
        user_id: grant.user_id.clone(),
        tokens: grant.ended_tokens(),
    })
}

/// A grant ends.
pub fn grant_revoked(
    client_id: ClientId,
    account_id: &AccountId,
    grant: &Grant,
    reason: RevocationReason,
) -> InstallationEvent {
    InstallationEvent::GrantRevoked(GrantRevoked {
        grant_id: grant.grant_id,
        client_id,
        account_id: account_id.clone(),
        user_id: grant.user_id.clone(),
        tokens: grant.ended_tokens(),
        reason,
        note: None,
    })
}

/// A key for administrators.
pub fn created(n: u64) -> OperatorKeyEvent {
    let (key_id, digest) = (key_id(n), digest(n));
    OperatorKeyEvent::Created(OperatorKeyCreated {
        key_id,
        name: "desk".to_owned(),
        role: Role::Admin,
        digest,
    })
}

pub fn ledger(n: u64) -> StreamKind {
    StreamKind::Ledger(LedgerId::new(uuid(6, n)))
}

pub fn loss_accepted(n: u64) -> LedgerEvent {
    LedgerEvent::LossAccepted(LossAccepted {
        last_position: Position::new(n),
        seen_position: Position::new(n + 1),
        seen_by: "history-1.db".to_owned(),
    })
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

/// None for most grants.
pub fn resources(n: u64) -> Vec<String> {
    let all = ["https://api.example/", "https://files.example/"];
    let few = (n % 5).saturating_sub(2) as usize;
    all[..few].iter().map(|&resource| resource.to_owned()).collect()
}

pub fn scopes(n: u64) -> Vec<String> {
    let all = ["widgets", "faqs", "brands"];
    all[..1 + (n % 3) as usize].iter().map(|&scope| scope.to_owned()).collect()
}
