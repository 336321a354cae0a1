//! Random but well-formed histories, grown from small choices that shrink well. A choice that cannot
//! follow from what happened is passed over.

use grantbook_events::{
    AppDeleted, AppEvent, AppResumed, AppSecretAdded, AppSecretRetired, AppSuspended, AppUpdated,
    CodeReplayed, InstallationEvent, OperatorKeyCreated, OperatorKeyEvent, OperatorKeyRetired, Position,
    RevocationReason, Role, StreamKind, Timestamp, TokenPolicy,
};
use grantbook_projections::{AppStatus, CodeState, Grant, Installation};
use proptest::prelude::*;

use super::history::{
    History, account, client, digest, exchanged, granted, key_id, ledger, loss_accepted, place, registered,
    revoked, secret_id, user,
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
    Replay,
    Revoke,
    Uninstall,
    CreateKey,
    RetireKey,
    AcceptLoss,
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

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => Just(Act::Register),
        2 => Just(Act::Update),
        2 => Just(Act::RotateSecret),
        1 => Just(Act::Suspend),
        3 => Just(Act::Resume),
        1 => (0..3).prop_map(|one_in| if one_in == 0 { Act::Delete } else { Act::Update }),
        14 => Just(Act::Grant),
        20 => prop_oneof![Just(None), (1_i64..7200).prop_map(Some)].prop_map(Act::Exchange),
        3 => Just(Act::Replay),
        5 => Just(Act::Revoke),
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
        30 => prop_oneof![Just(None), (1_i64..1800).prop_map(Some)].prop_map(Act::Exchange),
        4 => Just(Act::Replay),
        4 => Just(Act::Revoke),
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
            Act::Grant | Act::Exchange(_) | Act::Replay | Act::Revoke | Act::Uninstall => {
                self.on_installation(history, n, at);
            }
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
            history.record(kind, at, registered(client));
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
        match self.pick % 4 {
            0 => changes.name = Some(format!("Widgets {n}")),
            1 => changes.homepage = Some(if n.is_multiple_of(2) { String::new() } else { format!("h{n}") }),
            2 => changes.scopes = Some(super::history::scopes(n)),
            _ => changes.token_policy = Some(TokenPolicy { lifetime_seconds: Some(n) }),
        }
        changes
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
            (Act::Exchange(lifetime), Some(installed)) => self.exchange(installed, n, lifetime, at),
            (Act::Replay, Some(installed)) => self.replay(installed),
            (Act::Revoke, Some(installed)) => self.revoke(installed),
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
        lifetime: Option<i64>,
        at: Timestamp,
    ) -> Option<InstallationEvent> {
        let pending = installed.grants().filter(|grant| grant.code == CodeState::Pending);
        let grant = picked(pending, self.pick)?;
        let at = at.max(installed.changed_at).as_micros();
        let expires_at = lifetime.map(|seconds| Timestamp::from_micros(at + seconds * 1_000_000));
        let (client, account, user) = (installed.client_id, &installed.account_id, &grant.user_id);
        let mut event = exchanged(n, client, account, user, grant.granted_at, expires_at);
        (event.grant_id, event.scopes) = (grant.grant_id, grant.scopes.to_vec());
        Some(InstallationEvent::CodeExchanged(event))
    }

    fn replay(&self, installed: &Installation) -> Option<InstallationEvent> {
        let spent = installed.grants().filter(|grant| matches!(grant.code, CodeState::Spent(_)));
        let grant = picked(spent, self.pick)?;
        Some(InstallationEvent::CodeReplayed(CodeReplayed {
            grant_id: grant.grant_id,
            client_id: installed.client_id,
            account_id: installed.account_id.clone(),
            user_id: grant.user_id.clone(),
            tokens: grant.ended_token().into_iter().collect(),
        }))
    }

    fn revoke(&self, installed: &Installation) -> Option<InstallationEvent> {
        let token = picked(installed.grants().filter_map(Grant::ended_token), self.pick)?;
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
