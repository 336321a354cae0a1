//! Random but well-formed histories, grown from small choices that shrink well. A choice that cannot
//! follow from what happened is passed over.

use grantbook_events::{
    AppDeleted, AppEvent, AppRegistered, AppResumed, AppSecretAdded, AppSecretRetired, AppSource,
    AppSuspended, AppUpdated, ClientKeys, CodeReplayed, InstallationEvent, OperatorKeyCreated,
    OperatorKeyEvent, OperatorKeyRetired, Position, RefreshPolicy, RevocationReason, Role, StreamKind,
    Timestamp, TokenPolicy,
};
use grantbook_projections::{AppStatus, CodeState, Grant, Installation, LiveToken};
use proptest::prelude::*;

use super::history::{
    History, account, client, digest, exchanged, grant_revoked, granted, key_id, ledger, loss_accepted,
    place, refresh_issued, refresh_replayed, refreshed, registered, registration, resources, revoked, scopes,
    secret_id, user,
};

/// What somebody does.
#[derive(Debug, Clone, Copy)]
enum Act {
    Register,
    Update,
    RotateSecret,
    Suspend,
    Resume,
    Delete,
    Grant,
    /// With the token's lifetime in seconds.
    Exchange(Option<i64>),
    /// With the access token's lifetime, and what holds for refresh tokens.
    ExchangeForRefresh(i64, Ends),
    /// The same.
    Refresh(i64, Ends),
    Replay,
    ReplayRefresh,
    Revoke,
    RevokeGrant,
    Uninstall,
    CreateKey,
    RetireKey,
    AcceptLoss,
}

/// When a refresh token ends, in seconds.
#[derive(Debug, Clone, Copy)]
struct Ends {
    /// If it is not used.
    idle: Option<i64>,
    /// However often it is used.
    whole: Option<i64>,
}

/// One choice: what, where, and how much later than the choice before.
#[derive(Debug, Clone)]
pub struct Step {
    act: Act,
    app: u64,
    account: u64,
    user: u64,
    pick: usize,
    later_seconds: i64,
    /// How far behind the clock of the node is that records this: recorded time may run backwards from
    /// stream to stream.
    behind_seconds: i64,
}

fn ends() -> impl Strategy<Value = Ends> {
    let seconds = || prop_oneof![1 => Just(None), 2 => (1_i64..4000).prop_map(Some)];
    (seconds(), seconds()).prop_map(|(idle, whole)| Ends { idle, whole })
}

fn with_refresh(lifetime: i64) -> impl Strategy<Value = Act> {
    let lifetime = || prop_oneof![1..60_i64, 1..lifetime];
    prop_oneof![
        2 => (lifetime(), ends()).prop_map(|(lifetime, ends)| Act::ExchangeForRefresh(lifetime, ends)),
        4 => (lifetime(), ends()).prop_map(|(lifetime, ends)| Act::Refresh(lifetime, ends)),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Register),
        2 => Just(Act::Update),
        2 => Just(Act::RotateSecret),
        1 => Just(Act::Suspend),
        3 => Just(Act::Resume),
        1 => (0..3).prop_map(|one_in| if one_in == 0 { Act::Delete } else { Act::Update }),
        14 => Just(Act::Grant),
        12 => prop_oneof![Just(None), (1_i64..7200).prop_map(Some)].prop_map(Act::Exchange),
        24 => with_refresh(3600),
        3 => Just(Act::Replay),
        2 => Just(Act::ReplayRefresh),
        5 => Just(Act::Revoke),
        3 => Just(Act::RevokeGrant),
        3 => Just(Act::Uninstall),
        2 => Just(Act::CreateKey),
        1 => Just(Act::RetireKey),
        1 => Just(Act::AcceptLoss),
    ]
}

/// What happens at an installation that many use.
fn crowded_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        60 => Just(Act::Grant),
        20 => prop_oneof![Just(None), (1_i64..1800).prop_map(Some)].prop_map(Act::Exchange),
        30 => with_refresh(900),
        4 => Just(Act::Replay),
        1 => Just(Act::ReplayRefresh),
        4 => Just(Act::Revoke),
        1 => Just(Act::RevokeGrant),
        2 => prop_oneof![Just(Act::Uninstall), Just(Act::Suspend), Just(Act::Resume)],
    ]
}

/// Steps of an act, on so many apps and accounts, by so many users.
fn step(
    act: impl Strategy<Value = Act>,
    places: u64,
    users: u64,
    later: impl Strategy<Value = i64>,
) -> impl Strategy<Value = Step> {
    let behind = prop_oneof![3 => Just(0), 1 => 0_i64..30];
    (act, 0..places, 0..places, 0..users, any::<usize>(), later, behind).prop_map(
        |(act, app, account, user, pick, later_seconds, behind_seconds)| Step {
            act,
            app,
            account,
            user,
            pick,
            later_seconds,
            behind_seconds,
        },
    )
}

/// Choices for one history: of many places, or of one place that many use.
pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    let later = prop_oneof![3 => Just(0), 6 => 0_i64..120, 1 => 0_i64..10_000];
    prop_oneof![
        2 => prop::collection::vec(step(act(), 3, 2, later), 1..160),
        1 => crowded_steps(),
    ]
}

/// Choices for a history of one installation that many use, or some use a lot.
pub fn crowded_steps() -> impl Strategy<Value = Vec<Step>> {
    let later = || prop_oneof![6 => Just(0), 20 => 0_i64..30, 1 => 0_i64..3000];
    prop_oneof![
        prop::collection::vec(step(crowded_act(), 1, 2, later()), 1..200),
        prop::collection::vec(step(crowded_act(), 1, 30, later()), 1..200),
    ]
}

/// So many cases, none of which is kept in a file.
pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Grows a history step by step; `seen` looks at it after every event.
pub fn grow(steps: &[Step], mut seen: impl FnMut(&History)) -> History {
    let mut history = History::default();
    let mut clock = 0;
    for (n, step) in steps.iter().enumerate() {
        clock += step.later_seconds;
        let at = Timestamp::from_micros((clock - step.behind_seconds) * 1_000_000 + n as i64 % 3);
        let before = history.log.len();
        step.take(&mut history, n as u64 + 1, at);
        if history.log.len() > before {
            seen(&history);
        }
    }
    history
}

fn later(at: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_micros(at.as_micros() + seconds * 1_000_000)
}

impl Ends {
    /// When a refresh token ends that is issued now.
    fn next(self, at: Timestamp, ends_at: Option<Timestamp>) -> Option<Timestamp> {
        self.idle.map(|seconds| later(at, seconds)).into_iter().chain(ends_at).min()
    }
}

fn picked<T>(of: impl Iterator<Item = T>, pick: usize) -> Option<T> {
    let mut of: Vec<T> = of.collect();
    if of.is_empty() { None } else { Some(of.swap_remove(pick % of.len())) }
}

impl Step {
    /// Does it, if it can follow. `n` is new in every step and names what is made.
    fn take(&self, history: &mut History, n: u64, at: Timestamp) {
        match self.act {
            Act::Register | Act::Update | Act::RotateSecret | Act::Suspend | Act::Resume | Act::Delete => {
                self.on_app(history, n, at);
            }
            Act::Grant
            | Act::Exchange(_)
            | Act::ExchangeForRefresh(..)
            | Act::Refresh(..)
            | Act::Replay
            | Act::ReplayRefresh
            | Act::Revoke
            | Act::RevokeGrant
            | Act::Uninstall => self.on_installation(history, n, at),
            Act::CreateKey | Act::RetireKey => self.on_key(history, n, at),
            Act::AcceptLoss => {
                history.record(ledger(0), at, loss_accepted(n));
            }
        }
    }

    fn on_app(&self, history: &mut History, n: u64, at: Timestamp) {
        let client = client(self.app);
        let kind = StreamKind::App(client);
        let Some(app) = history.live.app(&client) else {
            // Without an app nothing else can follow, so every choice of one starts with this.
            history.record(kind, at, AppEvent::Registered(self.registration(n)));
            return;
        };
        let reason = format!("reason {n}");
        let event = match (self.act, &app.status) {
            (_, AppStatus::Deleted { .. }) => return,
            (Act::Update, _) => AppEvent::Updated(self.changes(n)),
            (Act::RotateSecret, _) => return self.rotate(history, n, at),
            (Act::Suspend, AppStatus::Active) => AppEvent::Suspended(AppSuspended { reason }),
            (Act::Resume, AppStatus::Suspended { .. }) => AppEvent::Resumed(AppResumed { reason }),
            (Act::Delete, _) => AppEvent::Deleted(AppDeleted { reason }),
            _ => return,
        };
        history.record(kind, at, event);
    }

    fn changes(&self, n: u64) -> AppUpdated {
        let mut changes = AppUpdated::default();
        match self.pick % 7 {
            0 => changes.name = Some(format!("Widgets {n}")),
            1 => changes.homepage = Some(if n.is_multiple_of(2) { String::new() } else { format!("h{n}") }),
            2 => changes.scopes = Some(scopes(n)),
            3 => changes.default_scopes = Some(self.default_scopes()),
            4 => changes.keys = Some(self.keys(n)),
            5 => changes.requires_pushed_requests = Some(n.is_multiple_of(2)),
            _ => changes.token_policy = Some(self.policy(n)),
        }
        changes
    }

    fn registration(&self, n: u64) -> AppRegistered {
        let source = match self.pick % 4 {
            0 => AppSource::Operator,
            1 => AppSource::Open,
            2 => AppSource::InitialAccessToken(key_id(n)),
            _ => AppSource::Document(format!("https://app{n}.example/app.json")),
        };
        AppRegistered {
            default_scopes: self.default_scopes(),
            keys: self.keys(n),
            token_policy: self.policy(n),
            requires_pushed_requests: n.is_multiple_of(2),
            registration_digest: (!source.is_operator()).then(|| digest(n)),
            source,
            ..registration(client(self.app))
        }
    }

    fn default_scopes(&self) -> Vec<String> {
        if self.pick.is_multiple_of(2) { Vec::new() } else { scopes(0) }
    }

    fn keys(&self, n: u64) -> ClientKeys {
        match self.pick / 7 % 3 {
            0 => ClientKeys::None,
            1 => ClientKeys::Jwks(format!(r#"{{"keys":[{{"kid":"{n}"}}]}}"#)),
            _ => ClientKeys::JwksUri(format!("https://app{n}.example/keys")),
        }
    }

    fn policy(&self, n: u64) -> TokenPolicy {
        let refresh = RefreshPolicy { idle_seconds: Some(n + 1), lifetime_seconds: None };
        TokenPolicy {
            lifetime_seconds: Some(n),
            refresh: Some(refresh).filter(|_| self.pick.is_multiple_of(2)),
        }
    }

    fn rotate(&self, history: &mut History, n: u64, at: Timestamp) {
        let kind = StreamKind::App(client(self.app));
        let added = AppSecretAdded { secret_id: secret_id(n), digest: digest(n) };
        let recorded = history.record(kind, at, AppEvent::SecretAdded(added));
        let retires_at = Timestamp::from_micros(recorded.envelope.recorded_at.as_micros() + 60_000_000);
        let app = history.live.app(&client(self.app)).unwrap();
        let old = picked(app.secrets.iter().filter(|old| old.secret_id != secret_id(n)), self.pick);
        if let Some(secret_id) = old.map(|old| old.secret_id) {
            history.record(
                kind,
                at,
                AppEvent::SecretRetired(AppSecretRetired { secret_id, retires_at, note: None }),
            );
        }
    }

    fn on_installation(&self, history: &mut History, n: u64, at: Timestamp) {
        let (client, account) = (client(self.app), account(self.account));
        if history.live.app(&client).is_none() {
            // Without an app nothing else can follow.
            history.record(StreamKind::App(client), at, registered(client));
            return;
        }
        let kind = place(client, &account);
        let installed = history.installed(kind);
        let event = match (self.act, &installed) {
            (Act::Grant, _) => {
                let granted = granted(n, client, &account, &user(self.user), at);
                Some(InstallationEvent::AccessGranted(granted))
            }
            (Act::Uninstall, Some(_)) => return history.uninstall(client, &account, at),
            (Act::Exchange(lifetime), Some(installed)) => self.exchange(installed, n, (lifetime, None), at),
            (Act::ExchangeForRefresh(lifetime, ends), Some(installed)) => {
                self.exchange(installed, n, (Some(lifetime), Some(ends)), at)
            }
            (Act::Refresh(lifetime, ends), Some(installed)) => {
                self.refresh(installed, n, (lifetime, ends), at)
            }
            (Act::Replay, Some(installed)) => self.replay(installed),
            (Act::ReplayRefresh, Some(installed)) => self.replay_refresh(installed),
            (Act::Revoke, Some(installed)) => self.revoke(installed),
            (Act::RevokeGrant, Some(installed)) => self.revoke_grant(installed),
            _ => None,
        };
        if let Some(event) = event {
            history.record(kind, at, event);
        }
    }

    fn exchange(
        &self,
        installed: &Installation,
        n: u64,
        (lifetime, ends): (Option<i64>, Option<Ends>),
        at: Timestamp,
    ) -> Option<InstallationEvent> {
        let pending = installed.grants().filter(|grant| grant.code == CodeState::Pending);
        let grant = picked(pending, self.pick)?;
        let at = at.max(installed.changed_at);
        let expires_at = lifetime.map(|seconds| later(at, seconds));
        let (client, account, user) = (installed.client_id, &installed.account_id, &grant.user_id);
        let mut event = exchanged(n, client, account, user, grant.granted_at, expires_at);
        (event.grant_id, event.scopes) = (grant.grant_id, grant.scopes.to_vec());
        event.resources = self.resources(grant);
        event.refresh = ends.map(|ends| {
            let ends_at = ends.whole.map(|seconds| later(at, seconds));
            let mut refresh = refresh_issued(n, n);
            (refresh.ends_at, refresh.expires_at) = (ends_at, ends.next(at, ends_at));
            refresh
        });
        Some(InstallationEvent::CodeExchanged(event))
    }

    fn refresh(
        &self,
        installed: &Installation,
        n: u64,
        (lifetime, ends): (i64, Ends),
        at: Timestamp,
    ) -> Option<InstallationEvent> {
        let at = at.max(installed.changed_at);
        let is_good = |token: &&LiveToken| token.is_unexpired(at);
        let refresh = |grant: &&Grant| grant.any_family()?.refresh().filter(is_good).copied();
        let can = |grant: &&Grant| refresh(grant).is_some();
        let grant = picked(installed.grants().filter(can), self.pick)?;
        let (client, account, expires_at) = (installed.client_id, &installed.account_id, later(at, lifetime));
        let mut event = refreshed(n, client, account, grant, Some(expires_at))?;
        event.refresh.expires_at = ends.next(at, event.refresh.ends_at);
        event.resources = self.resources(grant);
        if self.pick.is_multiple_of(3) {
            event.scopes.truncate(1);
        }
        Some(InstallationEvent::TokenRefreshed(event))
    }

    /// What was granted, or less.
    fn resources(&self, grant: &Grant) -> Vec<String> {
        let mut wanted = grant.resources.to_vec();
        if wanted.is_empty() {
            return if self.pick.is_multiple_of(4) { resources(3) } else { wanted };
        }
        let first = self.pick % wanted.len();
        wanted.rotate_left(first);
        wanted.truncate(1 + self.pick % 2);
        wanted
    }

    fn replay(&self, installed: &Installation) -> Option<InstallationEvent> {
        let spent = installed.grants().filter(|grant| matches!(grant.code, CodeState::Spent(_)));
        let grant = picked(spent, self.pick)?;
        Some(InstallationEvent::CodeReplayed(CodeReplayed {
            grant_id: grant.grant_id,
            client_id: installed.client_id,
            account_id: installed.account_id.clone(),
            user_id: grant.user_id.clone(),
            tokens: grant.ended_tokens(),
        }))
    }

    fn replay_refresh(&self, installed: &Installation) -> Option<InstallationEvent> {
        let spent = |grant: &&Grant| grant.family().is_some_and(|family| family.spent.is_some());
        let grant = picked(installed.grants().filter(spent), self.pick)?;
        Some(refresh_replayed(installed.client_id, &installed.account_id, grant))
    }

    fn revoke_grant(&self, installed: &Installation) -> Option<InstallationEvent> {
        let grant = picked(installed.grants().filter(|grant| grant.family().is_some()), self.pick)?;
        let reason = RevocationReason::ALL[self.pick % RevocationReason::ALL.len()];
        Some(grant_revoked(installed.client_id, &installed.account_id, grant, reason))
    }

    fn revoke(&self, installed: &Installation) -> Option<InstallationEvent> {
        let access = |grant| Grant::access_tokens(grant).map(|held| grant.ended(held.token));
        let token = picked(installed.grants().flat_map(access), self.pick)?;
        let (client, account) = (installed.client_id, &installed.account_id);
        Some(revoked(token.token_id, client, account, &token.user_id, RevocationReason::Operator))
    }

    fn on_key(&self, history: &mut History, n: u64, at: Timestamp) {
        if let Act::CreateKey = self.act {
            let role = [Role::Admin, Role::Auditor, Role::Resource][self.pick % 3];
            let key_id = key_id(n);
            let created = OperatorKeyCreated { key_id, name: format!("key {n}"), role, digest: digest(n) };
            history.record(StreamKind::OperatorKey(key_id), at, OperatorKeyEvent::Created(created));
            return;
        }
        let keys = history.live.operator_keys(0, usize::MAX);
        let unretired = keys.iter().filter(|key| key.retired_at.is_none());
        if let Some(id) = picked(unretired.map(|key| key.key_id), self.pick) {
            let retired = OperatorKeyRetired { reason: format!("reason {n}") };
            history.record(StreamKind::OperatorKey(id), at, OperatorKeyEvent::Retired(retired));
        }
    }
}

/// The last position of a history.
pub fn head(history: &History) -> Position {
    history.log.last().map_or(Position::START, |last| last.envelope.position)
}
