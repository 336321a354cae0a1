//! Events that cannot follow from those before them, each reason once: refused with the position, and
//! as if they had not been there.

use grantbook_events::{
    AppDeleted, AppEvent, AppResumed, AppSecretAdded, AppSecretRetired, AppSuspended, AppUninstalled,
    AppUpdated, CodeReplayed, EndedToken, Event, InstallationEvent, InstallationId, OperatorKeyCreated,
    OperatorKeyEvent, OperatorKeyRetired, Recorded, RevocationReason, Role, StreamKind, UninstallReason,
};
use grantbook_projections::{App, FoldError, Installation, OperatorKey, StreamState};

use super::history::{
    History, account, client, digest, exchanged, grant_id, granted, key_id, place, registered, revoked,
    seconds, secret_id, token_id, user,
};

/// App 0 is registered, app 1 deleted; app 0 is installed on accounts 0 and 1, with tokens 1 and 2; grant
/// 3 is pending on account 0. Key 0 is accepted, key 1 retired.
fn given() -> History {
    let mut history = History::default();
    history.register(client(0));
    history.register(client(1));
    history.record(StreamKind::App(client(1)), seconds(1), deleted());
    history.grant(1, client(0), &account(0), &user(0), seconds(2));
    history.exchange(1, client(0), &account(0), &user(0), seconds(3));
    history.grant(2, client(0), &account(1), &user(0), seconds(2));
    history.exchange(2, client(0), &account(1), &user(0), seconds(3));
    history.grant(3, client(0), &account(0), &user(0), seconds(4));
    history.record(StreamKind::OperatorKey(key_id(0)), seconds(1), created(0));
    history.record(StreamKind::OperatorKey(key_id(1)), seconds(1), created(1));
    history.record(StreamKind::OperatorKey(key_id(1)), seconds(2), retired());
    history
}

fn deleted() -> AppEvent {
    AppEvent::Deleted(AppDeleted { reason: "gone".to_owned() })
}

fn created(n: u64) -> OperatorKeyEvent {
    let (key_id, digest) = (key_id(n), digest(n));
    OperatorKeyEvent::Created(OperatorKeyCreated {
        key_id,
        name: "desk".to_owned(),
        role: Role::Admin,
        digest,
    })
}

fn retired() -> OperatorKeyEvent {
    OperatorKeyEvent::Retired(OperatorKeyRetired { reason: "over".to_owned() })
}

fn exchange(n: u64) -> InstallationEvent {
    InstallationEvent::CodeExchanged(exchanged(n, client(0), &account(0), &user(0), None))
}

fn grant(n: u64, client_n: u64, account_n: u64) -> InstallationEvent {
    let granted = granted(n, client(client_n), &account(account_n), &user(0), seconds(9));
    InstallationEvent::AccessGranted(granted)
}

fn revoke(n: u64) -> InstallationEvent {
    revoked(token_id(n), client(0), &account(0), &user(0), RevocationReason::User)
}

fn replay(n: u64) -> InstallationEvent {
    InstallationEvent::CodeReplayed(CodeReplayed {
        grant_id: grant_id(n),
        client_id: client(0),
        account_id: account(0),
        user_id: user(0),
        tokens: vec![EndedToken { token_id: token_id(n), user_id: user(0) }],
    })
}

fn uninstall(epoch: u32) -> InstallationEvent {
    let reason = UninstallReason::Operator;
    InstallationEvent::Uninstalled(AppUninstalled {
        client_id: client(0),
        account_id: account(0),
        reason,
        tokens: Vec::new(),
        epoch,
        note: None,
    })
}

fn on(app: u64, on: u64) -> StreamKind {
    place(client(app), &account(on))
}

fn check(recorded: &Recorded, error: &FoldError, detail: &str) {
    assert_eq!(error.position, recorded.envelope.position);
    assert_eq!(error.stream, recorded.envelope.stream);
    assert_eq!(error.detail, detail, "{recorded:?}");
    let said = error.to_string();
    for part in
        [&recorded.envelope.position.to_string(), recorded.envelope.stream.as_str(), error.event, detail]
    {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
}

fn refused_by_state<S: StreamState + PartialEq + std::fmt::Debug>(
    state: &S,
    recorded: &Recorded,
    detail: &str,
) {
    let mut after = state.clone();
    check(recorded, &after.apply(recorded).expect_err(detail), detail);
    assert_eq!(after, *state, "what is refused changes nothing: {detail}");
}

/// The state of the stream refuses the event.
fn state_refuses(kind: StreamKind, event: impl Into<Event>, detail: &str) {
    let history = given();
    let recorded = history.next(kind, seconds(10), event);
    match kind {
        StreamKind::App(id) => {
            refused_by_state(history.apps.get(&id).unwrap_or(&App::default()), &recorded, detail);
        }
        StreamKind::Installation(id) => {
            let state = history.installations.get(&id).cloned().unwrap_or_default();
            refused_by_state::<Installation>(&state, &recorded, detail);
        }
        StreamKind::OperatorKey(id) => {
            refused_by_state(history.keys.get(&id).unwrap_or(&OperatorKey::default()), &recorded, detail);
        }
    }
}

/// The live projection refuses the event, and goes on with another in its place.
fn live_refuses(kind: StreamKind, event: impl Into<Event>, detail: &str) {
    let mut history = given();
    let live = history.live();
    let before = (live.digest(), live.position(), live.counts());
    let recorded = history.next(kind, seconds(10), event);
    check(&recorded, &live.apply(&recorded).expect_err(detail), detail);
    assert_eq!(
        before,
        (live.digest(), live.position(), live.counts()),
        "what is refused changes nothing: {detail}"
    );
    history.grant(99, client(0), &account(0), &user(0), seconds(11));
    live.apply(history.log.last().unwrap()).unwrap();
    history.exchange(99, client(0), &account(0), &user(0), seconds(12));
    live.apply(history.log.last().unwrap()).unwrap();
    assert_eq!(live.digest(), history.live().digest());
}

fn both_refuse(kind: StreamKind, event: impl Into<Event>, detail: &str) {
    let event = event.into();
    state_refuses(kind, event.clone(), detail);
    live_refuses(kind, event, detail);
}

#[test]
fn of_an_app() {
    let app = |n| StreamKind::App(client(n));
    let secret = |n| AppSecretAdded { secret_id: secret_id(n), digest: digest(n) };
    let retire = |n| AppSecretRetired { secret_id: secret_id(n), retires_at: seconds(20), note: None };
    let reason = || "why".to_owned();
    both_refuse(app(0), registered(client(0)), "the app was registered before");
    both_refuse(app(0), AppEvent::SecretRetired(retire(9)), "the secret does not exist");
    let followers = || {
        [
            AppEvent::Updated(AppUpdated::default()),
            AppEvent::SecretAdded(secret(9)),
            AppEvent::SecretRetired(retire(0)),
            AppEvent::Suspended(AppSuspended { reason: reason() }),
            AppEvent::Resumed(AppResumed { reason: reason() }),
            deleted(),
        ]
    };
    for event in followers() {
        both_refuse(app(1), event, "the app was deleted before");
    }
    both_refuse(app(1), registered(client(1)), "the app was deleted before");
    for event in followers() {
        both_refuse(app(2), event, "the app was not registered before");
    }
    live_refuses(app(2), registered(client(3)), "it names another app than its stream");
}

#[test]
fn of_an_installation() {
    for event in [exchange(9), replay(1), revoke(1), uninstall(0)] {
        both_refuse(on(0, 2), event, "access was not granted before");
    }
    state_refuses(on(0, 0), grant(9, 0, 1), "it names another app or account than the stream");
    state_refuses(on(0, 0), grant(9, 1, 0), "it names another app or account than the stream");
    live_refuses(on(0, 0), grant(9, 0, 1), "it names another app or account than its stream");
    live_refuses(on(0, 2), grant(9, 0, 0), "it names another app or account than its stream");
    live_refuses(on(2, 0), grant(9, 2, 0), "its app was never registered");
    state_refuses(on(0, 0), grant(3, 0, 0), "the grant was recorded before");
    state_refuses(on(0, 0), exchange(9), "the grant does not exist");
    state_refuses(on(0, 0), exchange(1), "the code was spent or ended before");
    both_refuse(on(0, 0), uninstall(1), "it ends another epoch than the current one");
}

#[test]
fn of_a_token() {
    let with = |token_n: u64, digest_n: u64| {
        let mut event = exchanged(3, client(0), &account(0), &user(0), None);
        (event.token_id, event.token_digest) = (token_id(token_n), digest(digest_n));
        InstallationEvent::CodeExchanged(event)
    };
    live_refuses(on(0, 0), with(9, 2), "a token with the same digest exists");
    live_refuses(on(0, 0), with(2, 9), "a token with the same id exists");
    live_refuses(on(0, 0), revoke(2), "it ends a token of another installation");
    live_refuses(on(0, 0), replay(2), "it ends a token of another installation");
}

#[test]
fn of_an_operator_key() {
    let key = |n| StreamKind::OperatorKey(key_id(n));
    both_refuse(key(0), created(0), "the key was created before");
    both_refuse(key(1), created(1), "the key was created before");
    both_refuse(key(1), retired(), "the key was retired before");
    both_refuse(key(2), retired(), "the key was not created before");
    live_refuses(key(2), created(3), "it names another key than its stream");
}

#[test]
fn in_a_stream_of_another_kind() {
    let app: Event = registered(client(0)).into();
    let installed: Event = exchange(1).into();
    let key: Event = created(1).into();
    let streams = [StreamKind::App(client(2)), on(0, 0), StreamKind::OperatorKey(key_id(2))];
    let details = [
        "it does not belong in an app's stream",
        "it does not belong in an installation's stream",
        "it does not belong in a key's stream",
    ];
    let strangers = [[&installed, &key], [&app, &key], [&app, &installed]];
    for ((kind, detail), strangers) in streams.into_iter().zip(details).zip(strangers) {
        for event in strangers {
            state_refuses(kind, event.clone(), detail);
            live_refuses(kind, event.clone(), "it does not belong in its stream");
        }
    }
}

#[test]
fn a_token_that_was_dropped_after_its_expiry_may_still_be_revoked() {
    let mut history = History::default();
    history.register(client(0));
    history.grant(1, client(0), &account(0), &user(0), seconds(1));
    let short = exchanged(1, client(0), &account(0), &user(0), Some(seconds(5)));
    history.record(on(0, 0), seconds(2), InstallationEvent::CodeExchanged(short));
    history.grant(2, client(0), &account(0), &user(0), seconds(6));
    history.exchange(2, client(0), &account(0), &user(0), seconds(6));
    history.record(on(0, 0), seconds(7), revoke(1));
    let id = InstallationId::of(&client(0), &account(0));
    let facts = history.live().installation(id, seconds(8)).unwrap();
    assert_eq!(facts.tokens.len(), 1);
}
