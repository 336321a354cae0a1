//! Random commands by several callers over stores that lie. Afterwards: what was acknowledged is in the
//! ledger once, what was refused is not, and a replay of the ledger is the live projection.

use std::collections::{BTreeMap, BTreeSet};

use grantbook_events::{Event, UninstallReason};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::*;
use crate::decisions::{ResumeApp, RotateSecret, SuspendApp, UninstallApp};
use crate::store::lying::{LyingStore, Script};
use crate::store::{MemoryStore, SqliteOptions, SqliteStore};

/// Callers at once, on as few streams as make them meet.
const CALLERS: u64 = 6;
const STEPS: u64 = 40;
const APPS: usize = 2;
const ACCOUNTS: [&str; 2] = ["acme", "globex"];

/// What a caller got as the answer to one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answered {
    /// It happened.
    Granted,
    /// No; what a refusal entails may be recorded.
    Refused,
    /// It happened, and this node has not folded it in time: a subscription that breaks again and again is taken
    /// up after longer and longer pauses.
    Late,
    /// It may have happened or not.
    Unknown,
    /// It did not happen.
    Failed,
}

/// One command, by its request, with the type of the event that it is about.
#[derive(Debug)]
struct Asked {
    request_id: RequestId,
    event: &'static str,
    told: Answered,
}

/// A caller: what it asked for, and what it has to ask for more.
struct Caller {
    given: Arc<TestLedger>,
    random: StdRng,
    apps: Vec<ClientId>,
    asked: Vec<Asked>,
    grants: Vec<GrantAccess>,
    exchanges: Vec<ExchangeCode>,
    /// Refresh tokens that may be good, and some that are spent.
    refreshes: Vec<(ExchangeCode, NewRefresh)>,
}

fn told(error: &LedgerError) -> Answered {
    match error {
        LedgerError::NotVisible(_) => Answered::Late,
        LedgerError::OutcomeUnknown(_) => Answered::Unknown,
        LedgerError::Store(_) | LedgerError::Contended(_) => Answered::Failed,
        LedgerError::Shared(error) => told(error),
        error => panic!("{error:?}"),
    }
}

impl Caller {
    async fn ask<C: Command>(&mut self, event: &'static str, command: &C) -> Answered {
        let request_id = secrets::new_request_id();
        let told = match self.given.ledger.settle(&origin(&request_id), command).await {
            Ok(Ok(_)) => Answered::Granted,
            Ok(Err(_)) => Answered::Refused,
            Err(error) => told(&error),
        };
        self.asked.push(Asked { request_id, event, told });
        told
    }

    async fn step(&mut self) {
        let app = self.apps[self.random.random_range(0..self.apps.len())];
        let account: AccountId = ACCOUNTS[self.random.random_range(0..ACCOUNTS.len())].parse().unwrap();
        let reason = "simulated".to_owned();
        match self.random.random_range(0..24) {
            0..=5 => {
                let not_before = self.given.ledger.live().app(&app).map(|app| app.first_grant_at());
                let grant = GrantAccess { not_before: not_before.unwrap_or(START), ..grant(app, &account) };
                self.ask("access-granted", &grant).await;
                self.grants.push(grant);
            }
            6..=12 => {
                let Some(grant) = self.grants.last() else { return };
                let has_refresh = self.random.random_bool(0.5);
                let exchange = if has_refresh { exchange_for_refresh(grant) } else { exchange(grant) };
                self.ask("code-exchanged", &exchange).await;
                if has_refresh {
                    self.refreshes.push((exchange.clone(), exchange.refresh));
                }
                self.exchanges.push(exchange);
            }
            13..=15 => {
                let Some(exchange) = self.exchanges.pop() else { return };
                let revoke = revoke(exchange.installation_id, exchange.token_id);
                if self.ask("token-revoked", &revoke).await == Answered::Granted {
                    assert!(!self.given.is_valid(exchange.token_digest), "revoked, and still valid here");
                }
            }
            16 => {
                let installation_id = installation(app, &account);
                let command = UninstallApp { installation_id, reason: UninstallReason::Operator, note: None };
                self.ask("app-uninstalled", &command).await;
            }
            17 => {
                self.ask("app-suspended", &SuspendApp { client_id: app, reason }).await;
            }
            18 => {
                self.ask("app-resumed", &ResumeApp { client_id: app, reason }).await;
            }
            19..=21 => {
                let Some((exchange, spent)) = self.refreshes.pop() else { return };
                let command = refresh(&exchange, spent);
                self.ask("token-refreshed", &command).await;
                self.refreshes.push((exchange.clone(), command.refresh));
                if self.random.random_bool(0.2) {
                    // The spent one comes back next.
                    self.refreshes.push((exchange, spent));
                }
            }
            22 => {
                let Some((exchange, token)) = self.refreshes.pop() else { return };
                self.ask("grant-revoked", &revoke(exchange.installation_id, token.token_id)).await;
            }
            _ => {
                let digest = secrets::mint_client_secret().digest();
                let secret = NewSecret { secret_id: secrets::new_secret_id(START), digest };
                let rotate = RotateSecret { client_id: app, secret, overlap: Duration::ZERO };
                self.ask("app-secret-added", &rotate).await;
            }
        }
    }
}

/// Runs callers over a store, and gives all they were told.
async fn run(store: Arc<dyn Store>, apps: &[ClientId], seed: u64) -> (Arc<TestLedger>, Vec<Asked>) {
    let given = Arc::new(TestLedger::over(store).await);
    let mut callers = JoinSet::new();
    for number in 0..CALLERS {
        let mut caller = Caller {
            given: Arc::clone(&given),
            random: StdRng::seed_from_u64(seed * CALLERS + number),
            apps: apps.to_vec(),
            asked: Vec::new(),
            grants: Vec::new(),
            exchanges: Vec::new(),
            refreshes: Vec::new(),
        };
        callers.spawn(async move {
            for _ in 0..STEPS {
                caller.step().await;
            }
            caller.asked
        });
    }
    (given, callers.join_all().await.into_iter().flatten().collect())
}

/// A ledger in memory with a random history, and its store.
pub(crate) async fn history(seed: u64) -> (Arc<Ledger>, Arc<MemoryStore>) {
    let store = MemoryStore::new(Uuid::from_u128(seed.into()));
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let apps = [given.app().await, given.app().await];
    let (given, _) = run(Arc::clone(&store) as _, &apps, seed).await;
    (Arc::clone(&given.ledger), store)
}

/// Holds what is in a store against what callers were told.
async fn hold(store: &dyn Store, asked: &[Asked], before: usize) {
    let recorded = all(store).await;
    let mut by_request: BTreeMap<&RequestId, Vec<&Recorded>> = BTreeMap::new();
    let (mut ids, mut next_revision) = (BTreeSet::new(), BTreeMap::new());
    for event in &recorded {
        assert!(ids.insert(event.envelope.event_id), "recorded twice: {event:?}");
        let next = next_revision.entry(&event.envelope.stream).or_insert(0);
        assert_eq!(event.envelope.revision.as_u64(), *next, "{event:?}");
        *next += 1;
        by_request.entry(&event.envelope.request_id).or_default().push(event);
    }
    for asked in asked {
        let events = by_request.remove(&asked.request_id).unwrap_or_default();
        let count = events.iter().filter(|event| type_of(event) == asked.event).count();
        match asked.told {
            // A command whose wish is fulfilled already records nothing.
            Answered::Granted if matches!(asked.event, "app-uninstalled" | "token-revoked") => {
                assert!(count <= 1, "{asked:?}");
            }
            // What a refusal records may be late as well.
            Answered::Late => assert!(!events.is_empty(), "{asked:?}"),
            Answered::Granted => assert_eq!(count, 1, "{asked:?}: {events:?}"),
            // The only refusals that are recorded are those of a code and of a refresh token that were spent.
            Answered::Refused => {
                let is_replay = |event| matches!(type_of(event), "code-replayed" | "refresh-replayed");
                assert!(events.iter().all(|event| is_replay(event)), "{asked:?}: {events:?}");
            }
            Answered::Unknown => assert!(count <= 1, "{asked:?}: {events:?}"),
            Answered::Failed => assert!(events.is_empty(), "{asked:?}: {events:?}"),
        }
    }
    let unasked: usize = by_request.values().map(Vec::len).sum();
    assert_eq!(unasked, before, "nothing is recorded that nobody asked for");
}

fn type_of(recorded: &Recorded) -> &'static str {
    grantbook_events::codec::type_name(&recorded.event)
}

/// One whole simulation over a store that is empty.
async fn simulate(inner: Arc<dyn Store>, script: Script, seed: u64) {
    let apps = {
        let given = TestLedger::over(Arc::clone(&inner)).await;
        let mut apps = Vec::new();
        for _ in 0..APPS {
            apps.push(given.app().await);
        }
        apps
    };
    let lying = LyingStore::new(Arc::clone(&inner), Script::default(), seed);
    lying.change(script);
    let (given, asked) = run_lying(&lying, &apps, seed).await;
    assert!(script == Script::default() || lying.told().len() > 20, "few lies: {:?}", lying.told());

    lying.repent();
    hold(&*inner, &asked, APPS).await;
    let granted = asked.iter().filter(|asked| asked.told == Answered::Granted).count();
    assert!(granted > 40, "too little went well to prove anything: {granted}");
    // Everything after the last lie is folded when a command settled now is visible.
    given.app().await;
    let replayed = TestLedger::over(Arc::clone(&inner)).await;
    assert_eq!(replayed.ledger.progress().position, given.ledger.progress().position);
    assert_eq!(replayed.ledger.live().digest(), given.ledger.live().digest(), "seed {seed}");
    for event in all(&*inner).await {
        let Event::Installation(event) = event.event else { continue };
        for (_, digest) in event.issued_tokens() {
            assert_eq!(given.is_valid(digest), replayed.is_valid(digest));
        }
    }
}

async fn run_lying(lying: &Arc<LyingStore>, apps: &[ClientId], seed: u64) -> (Arc<TestLedger>, Vec<Asked>) {
    run(Arc::clone(lying) as _, apps, seed).await
}

#[tokio::test(start_paused = true)]
async fn what_is_acknowledged_is_recorded_once_whatever_the_store_says() {
    for seed in 0..60 {
        simulate(MemoryStore::new(secrets::new_ledger_identity()), Script::EVERYTHING, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_embedded_store_keeps_it_on_real_threads() {
    for seed in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: START };
        let store = SqliteStore::open(dir.path(), options).unwrap();
        simulate(Arc::clone(&store) as _, Script::EVERYTHING, seed).await;
        store.close().await.unwrap();
    }
}
