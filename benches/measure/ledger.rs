//! Ledgers to measure on: one app, and installations of it, written straight into a store.

#![allow(dead_code, reason = "each benchmark uses its part")]

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use grantbook::clock::{Clock as _, SystemClock};
use grantbook::decisions::GrantAccess;
use grantbook::ledger::{Ledger, Origin};
use grantbook::secrets::{self, CodeKey, PlainSecret};
use grantbook::store::{Append, Expected, NewRecord, Store};
use grantbook_events::codec::{self, Metadata};
use grantbook_events::{
    AccessGranted, AccountId, Actor, ActorKind, AppEvent, AppRegistered, AppSource, ClientId, ClientKeys,
    CodeExchanged, Event, InstallationEvent, InstallationId, NewSecret, RefreshPolicy, Revision,
    RevocationReason, StreamKind, StreamName, Timestamp, TokenId, TokenPolicy, TokenRevoked, UserId,
};
use tokio::task::JoinSet;

use super::Failure;

/// Appends that are on their way at once.
const WRITERS: usize = 64;
/// How long a token of the past was there.
const A_WHILE: Duration = Duration::from_secs(3600);

/// An app that is registered.
#[derive(Debug, Clone)]
pub struct App {
    pub client_id: ClientId,
    pub client_secret: Arc<PlainSecret>,
}

impl App {
    /// A request that exchanges a code.
    pub fn exchange(&self, code: &PlainSecret) -> Vec<u8> {
        self.post("/oauth/token", &format!("code={}", code.expose()))
    }

    /// A request that refreshes a token.
    pub fn refresh(&self, token: &str) -> Vec<u8> {
        self.post("/oauth/token", &format!("grant_type=refresh_token&refresh_token={token}"))
    }

    /// A request of the app.
    pub fn post(&self, path: &str, form: &str) -> Vec<u8> {
        let (id, secret) = (self.client_id, self.client_secret.expose());
        super::http::post(path, "", &format!("client_id={id}&client_secret={secret}&{form}"))
    }
}

/// Registers an app, whose tokens do not expire.
pub async fn app(store: &Arc<dyn Store>) -> Result<App, Failure> {
    app_with(store, TokenPolicy::default()).await
}

/// Registers an app that has refresh tokens, and access tokens that expire after so many seconds.
pub async fn app_with_refresh(store: &Arc<dyn Store>, access_seconds: u64) -> Result<App, Failure> {
    let refresh = RefreshPolicy { idle_seconds: Some(86_400), lifetime_seconds: None };
    app_with(store, TokenPolicy { lifetime_seconds: Some(access_seconds), refresh: Some(refresh) }).await
}

async fn app_with(store: &Arc<dyn Store>, token_policy: TokenPolicy) -> Result<App, Failure> {
    let now = start();
    let secret = secrets::mint_client_secret();
    let client_id = secrets::new_client_id();
    let registered = AppRegistered {
        client_id,
        name: "Bench".to_owned(),
        owner: "Bench".to_owned(),
        homepage: None,
        redirect_uris: vec!["https://bench.example/callback".to_owned()],
        scopes: vec!["widgets".to_owned(), "faqs".to_owned()],
        secret: Some(NewSecret { secret_id: secrets::new_secret_id(now), digest: secret.digest() }),
        token_policy,
        default_scopes: Vec::new(),
        keys: ClientKeys::None,
        requires_pushed_requests: false,
        source: AppSource::Operator,
        registration_digest: None,
    };
    let stream = StreamKind::App(client_id).into();
    append(store, &stream, Expected::NoStream, now, &[AppEvent::Registered(registered).into()]).await?;
    Ok(App { client_id, client_secret: Arc::new(secret) })
}

/// Grants the app access to as many accounts through a ledger, as consent does, and gives the codes.
pub async fn grants(
    ledger: &Arc<Ledger>,
    app: &App,
    accounts: std::ops::Range<usize>,
) -> Result<Vec<PlainSecret>, Failure> {
    grants_of(ledger, app, accounts.map(|n| (n, n)).collect()).await
}

/// The same, for accounts and users by their numbers.
pub async fn grants_of(
    ledger: &Arc<Ledger>,
    app: &App,
    people: Vec<(usize, usize)>,
) -> Result<Vec<PlainSecret>, Failure> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (ledger, client_id, people) = (Arc::clone(ledger), app.client_id, people.clone());
        writers.spawn(async move {
            let mut codes = Vec::new();
            for (account, user) in people.into_iter().skip(writer).step_by(WRITERS) {
                codes.push(grant(&ledger, client_id, account, user).await?);
            }
            Ok::<_, Failure>(codes)
        });
    }
    let mut all = Vec::new();
    while let Some(written) = writers.join_next().await {
        all.extend(written??);
    }
    Ok(all)
}

/// Grants the app access to one account.
pub async fn grant(
    ledger: &Arc<Ledger>,
    client_id: ClientId,
    account: usize,
    user: usize,
) -> Result<PlainSecret, Failure> {
    let account_id: AccountId = format!("account-{account:08}").parse()?;
    let user_id: UserId = format!("user-{user:08}").parse()?;
    let grant_id = secrets::new_grant_id(ledger.now());
    let code = CodeKey::random().code(InstallationId::of(&client_id, &account_id), grant_id, "session");
    let command = GrantAccess {
        grant_id,
        client_id,
        account_id,
        user_id,
        scopes: vec!["widgets".to_owned(), "faqs".to_owned()],
        redirect_uri: "https://bench.example/callback".to_owned(),
        redirect_uri_sent: false,
        resources: Vec::new(),
        code_challenge: None,
        code_digest: code.digest(),
        code_lifetime: Duration::from_secs(60),
        codes_dead_until: None,
        approved_at: ledger.now(),
        not_before: Timestamp::EPOCH,
    };
    let actor = Actor { kind: ActorKind::User, id: "user-00000000".to_owned() };
    let origin = Origin { actor, request_id: secrets::new_request_id() };
    ledger.settle(&origin, &command).await??;
    Ok(code)
}

/// Installs the app on as many accounts, with a token each, and gives the tokens.
pub async fn installations(
    store: &Arc<dyn Store>,
    app: &App,
    count: usize,
) -> Result<Vec<PlainSecret>, Failure> {
    installations_with_past(store, app, count, 0).await
}

/// The same, after as many earlier tokens on each account, which were revoked.
pub async fn installations_with_past(
    store: &Arc<dyn Store>,
    app: &App,
    count: usize,
    past: usize,
) -> Result<Vec<PlainSecret>, Failure> {
    installations_of(store, app, 0..count, past).await
}

/// The same, on the accounts of these numbers.
pub async fn installations_of(
    store: &Arc<dyn Store>,
    app: &App,
    accounts: std::ops::Range<usize>,
    past: usize,
) -> Result<Vec<PlainSecret>, Failure> {
    let mut last = Vec::new();
    for round in 0..=past {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (store, client_id, accounts) = (Arc::clone(store), app.client_id, accounts.clone());
            writers.spawn(async move {
                let mut secrets = Vec::new();
                for n in accounts.skip(writer).step_by(WRITERS) {
                    secrets.push(install(&store, client_id, n, round, past).await?);
                }
                Ok::<_, Failure>(secrets)
            });
        }
        last.clear();
        while let Some(written) = writers.join_next().await {
            last.extend(written??);
        }
    }
    Ok(last)
}

/// A token, which is revoked if it is not the last.
async fn install(
    store: &Arc<dyn Store>,
    client_id: ClientId,
    n: usize,
    round: usize,
    past: usize,
) -> Result<PlainSecret, Failure> {
    let account_id: AccountId = format!("account-{n:08}").parse()?;
    let stream = StreamKind::Installation(InstallationId::of(&client_id, &account_id)).into();
    let at = start().plus(A_WHILE * round.try_into()?);
    let (token, issued, token_id) = issue(client_id, &account_id, n, at)?;
    let mut events = Vec::from(issued);
    if round < past {
        let revoked = TokenRevoked {
            token_id,
            client_id,
            account_id,
            user_id: format!("user-{n:08}").parse()?,
            reason: RevocationReason::User,
            note: None,
        };
        events.push(InstallationEvent::TokenRevoked(revoked).into());
    }
    let expected = match (3 * round as u64).checked_sub(1) {
        Some(last) => Expected::Exactly(Revision::new(last)),
        None => Expected::NoStream,
    };
    append(store, &stream, expected, at, &events).await?;
    Ok(token)
}

/// A grant and the exchange of its code.
fn issue(
    client_id: ClientId,
    account_id: &AccountId,
    n: usize,
    now: Timestamp,
) -> Result<(PlainSecret, [Event; 2], TokenId), Failure> {
    let user_id: UserId = format!("user-{n:08}").parse()?;
    let installation_id = InstallationId::of(&client_id, account_id);
    let grant_id = secrets::new_grant_id(now);
    let code = CodeKey::random().code(installation_id, grant_id, "session");
    let token = secrets::mint_token(installation_id);
    let granted = AccessGranted {
        grant_id,
        client_id,
        account_id: account_id.clone(),
        user_id: user_id.clone(),
        scopes: vec!["widgets".to_owned(), "faqs".to_owned()],
        redirect_uri: "https://bench.example/callback".to_owned(),
        redirect_uri_sent: false,
        code_digest: code.digest(),
        code_expires_at: now.plus(Duration::from_secs(24 * 3600)),
        resources: Vec::new(),
        code_challenge: None,
    };
    let exchanged = CodeExchanged {
        grant_id: granted.grant_id,
        client_id,
        account_id: account_id.clone(),
        granted_at: now,
        token_id: secrets::new_token_id(now),
        token_digest: token.digest(),
        user_id,
        scopes: granted.scopes.clone(),
        expires_at: None,
        secret_id: None,
        resources: Vec::new(),
        refresh: None,
    };
    let token_id = exchanged.token_id;
    let events = [
        InstallationEvent::AccessGranted(granted).into(),
        InstallationEvent::CodeExchanged(exchanged).into(),
    ];
    Ok((token, events, token_id))
}

/// The time of everything that is appended beside the ledger, but for what has a past. One for all, because a store with
/// one writer records nothing before its last record, and an exchange says when its approval was recorded.
fn start() -> Timestamp {
    static START: OnceLock<Timestamp> = OnceLock::new();
    *START.get_or_init(|| SystemClock.now())
}

async fn append(
    store: &Arc<dyn Store>,
    stream: &StreamName,
    expected: Expected,
    at: Timestamp,
    events: &[Event],
) -> Result<(), Failure> {
    let records = events.iter().map(|event| record(event, at));
    match store.append(stream, expected, records.collect::<Result<_, _>>()?).await? {
        Append::Appended { .. } => Ok(()),
        other => Err(format!("the store answered {other:?}").into()),
    }
}

fn record(event: &Event, recorded_at: Timestamp) -> Result<NewRecord, Failure> {
    let encoded = codec::encode(event)?;
    let actor = Actor { kind: ActorKind::User, id: "user-00000000".to_owned() };
    let metadata = Metadata { actor, request_id: secrets::new_request_id(), caused_by: None };
    Ok(NewRecord {
        event_id: secrets::new_event_id(),
        type_name: encoded.type_name.to_owned(),
        version: encoded.version,
        recorded_at,
        metadata: metadata.to_json()?,
        payload: encoded.payload,
        moved: false,
    })
}
