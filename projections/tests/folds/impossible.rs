//! Events that cannot follow from those before them, each reason once: refused with the position, and
//! as if they had not been there.

use grantbook_events::{
    AccessGranted, AppDeleted, AppEvent, AppResumed, AppSecretAdded, AppSecretRetired, AppSuspended,
    AppUninstalled, AppUpdated, CodeExchanged, CodeReplayed, EndedToken, Event, GrantRevoked,
    InstallationEvent, InstallationId, OperatorKeyEvent, OperatorKeyRetired, Recorded, RefreshReplayed,
    RevocationReason, StreamKind, Timestamp, TokenId, TokenRefreshed, UninstallReason,
};
use grantbook_projections::live::{Live, State as _};
use grantbook_projections::{FoldError, Installation};

use super::history::{
    History, account, client, created, digest, exchanged, family_digest, grant_id, grant_revoked, granted,
    key_id, ledger, loss_accepted, place, refresh_id, refresh_issued, registered, resources, revoked, scopes,
    seconds, secret_id, token_id, user,
};

/// App 0 is registered, app 1 deleted; app 0 is installed on accounts 0 and 1, with tokens 1 and 2; grant
/// 3 is pending on account 0, and account 3 was uninstalled with grant 4 pending. The tokens of grants 8 and 9 on
/// account 0, for one resource and two, can be refreshed; those of grant 8 were. Key 0 is accepted, key 1 retired.
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
    history.grant(4, client(0), &account(3), &user(0), seconds(4));
    history.uninstall(client(0), &account(3), seconds(4));
    for n in [8, 9] {
        history.grant(n, client(0), &account(0), &user(0), seconds(4));
        history.exchange_with_refresh(n, client(0), &account(0), &user(0), (5, 100));
    }
    history.refresh((8, 18), client(0), &account(0), (6, 100));
    history.record(StreamKind::OperatorKey(key_id(0)), seconds(1), created(0));
    history.record(StreamKind::OperatorKey(key_id(1)), seconds(1), created(1));
    history.record(StreamKind::OperatorKey(key_id(1)), seconds(2), retired());
    history
}

fn deleted() -> AppEvent {
    AppEvent::Deleted(AppDeleted { reason: "gone".to_owned() })
}

fn retired() -> OperatorKeyEvent {
    OperatorKeyEvent::Retired(OperatorKeyRetired { reason: "over".to_owned() })
}

fn exchange_on(n: u64, account_n: u64, granted_at: Timestamp) -> InstallationEvent {
    let exchanged = exchanged(n, client(0), &account(account_n), &user(0), granted_at, None);
    InstallationEvent::CodeExchanged(exchanged)
}

fn grant(n: u64, client_n: u64, account_n: u64) -> InstallationEvent {
    let granted = granted(n, client(client_n), &account(account_n), &user(0), seconds(9));
    InstallationEvent::AccessGranted(granted)
}

fn revoke_on(n: u64, account_n: u64) -> InstallationEvent {
    revoked(token_id(n), client(0), &account(account_n), &user(0), RevocationReason::User)
}

fn replay_on(n: u64, account_n: u64) -> InstallationEvent {
    InstallationEvent::CodeReplayed(CodeReplayed {
        grant_id: grant_id(n),
        client_id: client(0),
        account_id: account(account_n),
        user_id: user(0),
        tokens: ended(token_id(n)),
    })
}

/// Refresh token 18, of grant 8, becomes tokens 19.
fn refresh(change: impl FnOnce(&mut TokenRefreshed)) -> InstallationEvent {
    let mut event = TokenRefreshed {
        grant_id: grant_id(8),
        client_id: client(0),
        account_id: account(0),
        user_id: user(0),
        spent_token_id: refresh_id(18),
        token_id: token_id(19),
        token_digest: digest(19),
        scopes: scopes(8),
        expires_at: Some(seconds(20)),
        secret_id: None,
        resources: resources(8),
        refresh: refresh_issued(19, 8),
    };
    change(&mut event);
    InstallationEvent::TokenRefreshed(event)
}

fn ended(token_id: TokenId) -> Vec<EndedToken> {
    vec![EndedToken { token_id, user_id: user(0) }]
}

fn replay_refresh_on(n: u64, account_n: u64) -> InstallationEvent {
    InstallationEvent::RefreshReplayed(RefreshReplayed {
        grant_id: grant_id(n),
        client_id: client(0),
        account_id: account(account_n),
        user_id: user(0),
        tokens: ended(token_id(n)),
    })
}

fn revoke_grant_on(n: u64, account_n: u64) -> InstallationEvent {
    InstallationEvent::GrantRevoked(GrantRevoked {
        grant_id: grant_id(n),
        client_id: client(0),
        account_id: account(account_n),
        user_id: user(0),
        tokens: ended(token_id(n)),
        reason: RevocationReason::User,
        note: None,
    })
}

fn uninstall_on(epoch: u32, account_n: u64) -> InstallationEvent {
    let reason = UninstallReason::Operator;
    InstallationEvent::Uninstalled(AppUninstalled {
        client_id: client(0),
        account_id: account(account_n),
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

/// The event is refused, and another in its place can follow.
fn refuses(kind: StreamKind, event: impl Into<Event>, detail: &str) {
    let mut history = given();
    let live = history.replayed();
    let seen = |live: &Live| {
        let installed: Vec<_> =
            (0..4).map(|n| Installation::look(live, &on(0, n), |state| state.cloned())).collect();
        (live.digest(), live.position(), live.mark(), live.counts(), installed)
    };
    let before = seen(&live);
    let recorded = history.next(kind, seconds(10), event);
    check(&recorded, &live.apply(&recorded).expect_err(detail), detail);
    assert_eq!(before, seen(&live), "what is refused changes nothing: {detail}");
    assert_eq!(live.difference(&history.live), None);
    history.grant(99, client(0), &account(0), &user(0), seconds(11));
    live.apply(history.log.last().unwrap()).unwrap();
    history.exchange(99, client(0), &account(0), &user(0), seconds(12));
    live.apply(history.log.last().unwrap()).unwrap();
    assert_eq!(live.digest(), history.live.digest());
}

#[test]
fn of_an_app() {
    let app = |n| StreamKind::App(client(n));
    let secret = |n| AppSecretAdded { secret_id: secret_id(n), digest: digest(n) };
    let retire = |n| AppSecretRetired { secret_id: secret_id(n), retires_at: seconds(20), note: None };
    let reason = || "why".to_owned();
    refuses(app(0), registered(client(0)), "the app was registered before");
    refuses(app(0), AppEvent::SecretRetired(retire(9)), "the secret does not exist");
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
        refuses(app(1), event, "the app was deleted before");
    }
    refuses(app(1), registered(client(1)), "the app was deleted before");
    for event in followers() {
        refuses(app(2), event, "the app was not registered before");
    }
    refuses(app(2), registered(client(3)), "it names another app than its stream");
}

#[test]
fn of_an_installation() {
    let refresh = refresh(|event| {
        (event.account_id, event.spent_token_id) = (account(2), refresh_id(7));
    });
    let followers = [exchange_on(7, 2, seconds(9)), replay_on(7, 2), revoke_on(7, 2), uninstall_on(0, 2)];
    for event in followers.into_iter().chain([refresh, replay_refresh_on(7, 2), revoke_grant_on(7, 2)]) {
        refuses(on(0, 2), event, "access was not granted before");
    }
    refuses(on(2, 0), grant(9, 2, 0), "its app was never registered");
    refuses(on(0, 0), grant(3, 0, 0), "the grant was recorded before");
    refuses(on(0, 0), uninstall_on(1, 0), "it ends another epoch than the current one");
    refuses(on(0, 3), uninstall_on(0, 3), "it ends another epoch than the current one");
    let mut challenged = granted(7, client(0), &account(0), &user(0), seconds(9));
    for challenge in ["", "short", "=9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"] {
        challenged.code_challenge = Some(challenge.to_owned());
        let event = InstallationEvent::AccessGranted(challenged.clone());
        refuses(on(0, 0), event, "its code challenge is not 43 characters of base64url");
    }
}

/// Every event of an installation names the app and the account that its stream is of.
#[test]
fn of_another_app_or_account() {
    const DETAIL: &str = "it names another app or account than its stream";
    let strangers = || {
        [
            grant(7, 0, 1),
            exchange_on(3, 1, seconds(4)),
            replay_on(7, 1),
            revoke_on(7, 1),
            uninstall_on(0, 1),
            refresh(|event| event.account_id = account(1)),
            replay_refresh_on(7, 1),
            revoke_grant_on(7, 1),
        ]
    };
    for event in strangers() {
        // In a stream that has events, and as the first.
        refuses(on(0, 0), event.clone(), DETAIL);
        refuses(on(0, 2), event, DETAIL);
    }
    refuses(on(0, 0), grant(9, 1, 0), DETAIL);
    refuses(on(1, 2), grant(9, 0, 2), DETAIL);
}

#[test]
fn of_a_grant() {
    let exchange = |change: fn(&mut CodeExchanged)| {
        let mut event = exchanged(3, client(0), &account(0), &user(0), seconds(4), None);
        change(&mut event);
        InstallationEvent::CodeExchanged(event)
    };
    // As it is, it follows.
    let history = given();
    assert!(history.live.apply(&history.next(on(0, 0), seconds(10), exchange(|_| {}))).is_ok());
    let other = "it issues a token for another user, scopes or time than was granted";
    refuses(on(0, 0), exchange(|event| event.user_id = user(1)), other);
    refuses(on(0, 0), exchange(|event| event.granted_at = seconds(5)), other);
    refuses(on(0, 0), exchange(|event| event.granted_at = seconds(3)), other);
    refuses(on(0, 0), exchange(|event| event.scopes = Vec::new()), other);
    refuses(on(0, 0), exchange(|event| event.scopes = scopes(1)), other);
    refuses(on(0, 0), exchange(|event| event.scopes.push("brands".to_owned())), other);
    refuses(on(0, 0), exchange_on(7, 0, seconds(4)), "the grant does not exist");
    refuses(on(0, 0), exchange(|event| event.grant_id = grant_id(2)), "the grant does not exist");
    let spent = "the code was spent or ended before";
    let again = exchange(|event| (event.grant_id, event.granted_at) = (grant_id(1), seconds(2)));
    refuses(on(0, 0), again, spent);
    refuses(on(0, 3), exchange_on(4, 3, seconds(4)), spent);
}

/// Grant 3 is for one resource.
#[test]
fn of_a_resource() {
    let exchange = |resources: &[&str]| {
        let mut event = exchanged(3, client(0), &account(0), &user(0), seconds(4), None);
        event.resources = resources.iter().map(|&resource| resource.to_owned()).collect();
        InstallationEvent::CodeExchanged(event)
    };
    let wider = "it issues a token for another resource than was granted";
    refuses(on(0, 0), exchange(&["https://files.example/"]), wider);
    refuses(on(0, 0), exchange(&["https://api.example/", "https://files.example/"]), wider);
    // A token that names no resource is for all.
    refuses(on(0, 0), exchange(&[]), wider);
}

#[test]
fn r2_of_a_refresh() {
    // As it is, it follows; so it does if it asks for less.
    for change in [|_: &mut TokenRefreshed| {}, |event: &mut TokenRefreshed| event.scopes.truncate(1)] {
        let history = given();
        assert!(history.live.apply(&history.next(on(0, 0), seconds(10), refresh(change))).is_ok());
    }
    refuses(on(0, 0), refresh(|event| event.grant_id = grant_id(7)), "the grant does not exist");
    refuses(on(0, 0), refresh(|event| event.grant_id = grant_id(2)), "the grant does not exist");
    let spent = "the refresh token was spent or ended before";
    refuses(on(0, 0), refresh(|event| event.spent_token_id = refresh_id(8)), spent);
    refuses(on(0, 0), refresh(|event| event.spent_token_id = refresh_id(7)), spent);
    // An access token is not one, nor is that of another grant.
    refuses(on(0, 0), refresh(|event| event.spent_token_id = token_id(18)), spent);
    refuses(on(0, 0), refresh(|event| event.spent_token_id = refresh_id(9)), spent);
    refuses(on(0, 0), refresh(|event| event.refresh.family_digest = family_digest(9)), spent);
    // Grants whose code is pending, and whose token cannot be refreshed.
    refuses(on(0, 0), refresh(|event| event.grant_id = grant_id(3)), spent);
    refuses(on(0, 0), refresh(|event| event.grant_id = grant_id(1)), spent);
}

/// Nobody can do more by a refresh than was granted (R4).
#[test]
fn r4_of_a_wider_refresh() {
    let wider = "it issues a token for another user, scope or resource than was granted";
    refuses(on(0, 0), refresh(|event| event.user_id = user(1)), wider);
    refuses(on(0, 0), refresh(|event| event.scopes.push("secrets".to_owned())), wider);
    refuses(on(0, 0), refresh(|event| event.resources = vec!["https://files.example/".to_owned()]), wider);
    refuses(on(0, 0), refresh(|event| event.resources.push("https://files.example/".to_owned())), wider);
    refuses(on(0, 0), refresh(|event| event.resources = Vec::new()), wider);
}

/// After its tokens ended nothing can be refreshed.
#[test]
fn r7_of_a_refresh_after_the_end() {
    for end in [RevocationReason::User, RevocationReason::Leaked] {
        let mut history = given();
        let event = history
            .look_at(8, client(0), &account(0), |grant| grant_revoked(client(0), &account(0), grant, end));
        history.record(on(0, 0), seconds(9), event);
        let refreshed = history.next(on(0, 0), seconds(10), refresh(|_| {}));
        let error = history.live.apply(&refreshed).unwrap_err();
        check(&refreshed, &error, "the refresh token was spent or ended before");
        assert_eq!(history.live.token_by_id(&token_id(18), seconds(10)), None);
        assert_eq!(history.live.token_by_id(&refresh_id(18), seconds(10)), None);
        assert!(history.live.token_by_id(&refresh_id(9), seconds(10)).is_some(), "another grant goes on");
    }
}

/// A grant ends as a whole and alone.
#[test]
fn r3_r7_of_the_end_of_a_grant() {
    let ended = |n: u64, tokens: &[TokenId]| {
        let (grant_id, client_id, account_id, user_id) = (grant_id(n), client(0), account(0), user(0));
        let tokens: Vec<_> = tokens.iter().flat_map(|&token_id| ended(token_id)).collect();
        let replayed = RefreshReplayed { grant_id, client_id, account_id, user_id, tokens };
        let RefreshReplayed { account_id, user_id, tokens, .. } = replayed.clone();
        let reason = RevocationReason::App;
        let revoked = GrantRevoked { grant_id, client_id, account_id, user_id, tokens, reason, note: None };
        let RefreshReplayed { account_id, user_id, tokens, .. } = replayed.clone();
        let code_replayed = CodeReplayed { grant_id, client_id, account_id, user_id, tokens };
        [
            InstallationEvent::RefreshReplayed(replayed),
            InstallationEvent::GrantRevoked(revoked),
            InstallationEvent::CodeReplayed(code_replayed),
        ]
    };
    // As they are, they follow; a token that was dropped may be among them.
    let all = [token_id(8), token_id(18), refresh_id(18)];
    for event in ended(8, &all).into_iter().chain(ended(8, &[&all[..], &[token_id(7)]].concat())) {
        let history = given();
        assert!(history.live.apply(&history.next(on(0, 0), seconds(10), event)).is_ok());
    }
    for event in ended(8, &all[..2]).into_iter().chain(ended(8, &[])) {
        refuses(on(0, 0), event, "it does not end every token of its grant");
    }
    for event in ended(8, &[&all[..], &[refresh_id(9)]].concat()).into_iter().chain(ended(9, &all)) {
        refuses(on(0, 0), event, "it ends a token of another grant");
    }
}

/// A code is replayed after it was spent, whether its token is still there or not.
#[test]
fn of_a_replay() {
    let unspent = "the code was not spent before";
    refuses(on(0, 0), replay_on(3, 0), unspent);
    refuses(on(0, 3), replay_on(4, 3), unspent);
    let mut history = given();
    history.record(on(0, 0), seconds(10), replay_on(1, 0));
    assert!(history.live.token_by_id(&token_id(1), seconds(10)).is_none());
    history.record(on(0, 0), seconds(11), replay_on(1, 0));
    // A grant that was dropped cannot be asked.
    history.record(on(0, 0), seconds(12), replay_on(7, 0));
}

#[test]
fn of_a_token() {
    let with = |token_n: u64, digest_n: u64| {
        let mut event = exchanged(3, client(0), &account(0), &user(0), seconds(4), None);
        (event.token_id, event.token_digest) = (token_id(token_n), digest(digest_n));
        InstallationEvent::CodeExchanged(event)
    };
    refuses(on(0, 0), with(7, 1), "a token with the same digest exists");
    refuses(on(0, 0), with(7, 2), "a token with the same digest exists");
    refuses(on(0, 0), with(1, 7), "a token with the same id exists");
    refuses(on(0, 0), with(2, 7), "a token with the same id exists");
    let same_id = "a token with the same id exists";
    refuses(on(0, 0), refresh(|event| event.token_id = token_id(18)), same_id);
    refuses(on(0, 0), refresh(|event| event.token_id = refresh_id(9)), same_id);
    refuses(on(0, 0), refresh(|event| event.refresh.token_id = refresh_id(18)), same_id);
    refuses(on(0, 0), refresh(|event| event.refresh.token_id = token_id(2)), same_id);
    let same_digest = "a token with the same digest exists";
    refuses(on(0, 0), refresh(|event| event.token_digest = digest(18)), same_digest);
    refuses(on(0, 0), refresh(|event| event.refresh.digest = digest(2)), same_digest);
    let elsewhere = "it ends a token of another installation";
    refuses(on(0, 0), replay_refresh_on(2, 0), elsewhere);
    refuses(on(0, 0), revoke_grant_on(2, 0), elsewhere);
    refuses(on(0, 0), revoke_on(2, 0), "it ends a token of another installation");
    refuses(on(0, 0), replay_on(2, 0), "it ends a token of another installation");
    refuses(on(0, 2), revoke_on(2, 2), "it ends a token of another installation");
}

#[test]
fn of_an_operator_key() {
    let key = |n| StreamKind::OperatorKey(key_id(n));
    refuses(key(0), created(0), "the key was created before");
    refuses(key(1), created(1), "the key was created before");
    refuses(key(1), retired(), "the key was retired before");
    refuses(key(2), retired(), "the key was not created before");
    refuses(key(2), created(3), "it names another key than its stream");
}

#[test]
fn in_a_stream_of_another_kind() {
    let app: Event = registered(client(0)).into();
    let installed: Event = exchange_on(3, 0, seconds(4)).into();
    let key: Event = created(1).into();
    let loss: Event = loss_accepted(1).into();
    let streams = [StreamKind::App(client(2)), on(0, 0), StreamKind::OperatorKey(key_id(2)), ledger(0)];
    let strangers =
        [[&installed, &key, &loss], [&app, &key, &loss], [&app, &installed, &loss], [&app, &installed, &key]];
    for (kind, strangers) in streams.into_iter().zip(strangers) {
        for event in strangers {
            refuses(kind, event.clone(), "it does not belong in its stream");
        }
    }
}

/// A grant that is refused does not drop what one in its place would drop.
#[test]
fn what_is_refused_drops_nothing() {
    let mut history = History::default();
    history.register(client(0));
    for n in 1..=8 {
        history.grant(n, client(0), &account(0), &user(n), seconds(1));
        history.exchange_until(n, client(0), &account(0), &user(n), seconds(1), Some(seconds(5)));
    }
    let late = seconds(10_000);
    let before = (history.live.digest(), history.live.counts());
    for event in [
        InstallationEvent::AccessGranted(granted(8, client(0), &account(0), &user(0), late)),
        InstallationEvent::AccessGranted(AccessGranted {
            code_challenge: Some("short".to_owned()),
            ..granted(9, client(0), &account(0), &user(0), late)
        }),
    ] {
        history.live.apply(&history.next(on(0, 0), late, event)).unwrap_err();
        assert_eq!((history.live.digest(), history.live.counts()), before);
    }
    history.grant(9, client(0), &account(0), &user(0), late);
    assert_eq!(history.live.counts().tokens, 0);
    assert_eq!(history.effects.last().unwrap().ended.len(), 8);
    assert_eq!(history.installed(on(0, 0)).unwrap().grants().count(), 1);
}

#[test]
fn a_token_that_was_dropped_after_its_expiry_may_still_be_revoked() {
    let mut history = History::default();
    history.register(client(0));
    for n in 1..=9 {
        history.grant(n, client(0), &account(0), &user(0), seconds(n as i64));
        let expires_at = Some(seconds(5)).filter(|_| n == 1);
        history.exchange_until(n, client(0), &account(0), &user(0), seconds(n as i64), expires_at);
    }
    let id = InstallationId::of(&client(0), &account(0));
    assert_eq!(history.live.installation_of_token(&token_id(1)), None, "the token was dropped");
    history.record(on(0, 0), seconds(10), revoke_on(1, 0));
    assert!(history.effects.last().unwrap().ended.is_empty());
    let facts = history.live.installation(id, seconds(10)).unwrap();
    assert_eq!(facts.tokens.len(), 8);
}
