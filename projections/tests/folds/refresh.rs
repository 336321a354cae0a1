//! Refresh tokens, one case at a time: what is true just before something ends and just after.

use grantbook_events::{
    AppEvent, AppResumed, AppSuspended, InstallationEvent, InstallationId, RefreshIssued, RevocationReason,
    StreamKind, Timestamp,
};
use grantbook_projections::live::InstallationFacts;
use grantbook_projections::{Effects, TokenKind};

use super::history::{
    History, account, client, digest, exchanged, grant_revoked, place, refresh_digest, refresh_id,
    refresh_issued, refresh_replayed, refreshed, seconds, token_id, user,
};

/// Grant 1, with an access token until second 101 and a refresh token until second 1001.
fn given() -> History {
    let mut history = History::default();
    history.register(client(0));
    history.grant(1, client(0), &account(0), &user(0), seconds(1));
    let mut event = exchanged(1, client(0), &account(0), &user(0), seconds(1), Some(seconds(101)));
    event.refresh = Some(RefreshIssued { expires_at: Some(seconds(1001)), ..refresh_issued(1, 1) });
    history.record(place(client(0), &account(0)), seconds(1), InstallationEvent::CodeExchanged(event));
    history
}

/// The refresh token of grant 1 becomes tokens `n`, which end at these seconds.
fn refresh(history: &mut History, n: u64, at: i64, (access, refresh): (i64, i64)) {
    let event = history.look_at(1, client(0), &account(0), |grant| {
        refreshed(n, client(0), &account(0), grant, Some(seconds(access)))
    });
    let mut event = event.unwrap();
    event.refresh.expires_at = Some(seconds(refresh));
    history.record(place(client(0), &account(0)), seconds(at), InstallationEvent::TokenRefreshed(event));
}

fn facts(history: &History, now: Timestamp) -> InstallationFacts {
    history.live.installation(InstallationId::of(&client(0), &account(0)), now).unwrap()
}

fn micro_before(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000 - 1)
}

/// A node that does not know a suspension yet refreshes what came of a code that had died. That is no reason to give up the
/// installation, and none of it ever counts.
#[test]
fn c5_a_refresh_of_a_code_that_had_died_changes_nothing() {
    let (mut history, refreshing) = (History::default(), given());
    history.register(client(0));
    for n in [1, 9] {
        history.grant(n, client(0), &account(0), &user(0), seconds(1));
    }
    history.exchange(9, client(0), &account(0), &user(0), seconds(1));
    let suspended = AppEvent::Suspended(AppSuspended { reason: "a look".to_owned() });
    history.record(StreamKind::App(client(0)), seconds(2), suspended);
    let place = place(client(0), &account(0));
    let mut event = exchanged(1, client(0), &account(0), &user(0), seconds(1), Some(seconds(101)));
    event.refresh = Some(refresh_issued(1, 1));
    history.record(place, seconds(3), InstallationEvent::CodeExchanged(event));
    for n in [2, 3] {
        let event = refreshing.look_at(1, client(0), &account(0), |grant| {
            refreshed(n, client(0), &account(0), grant, Some(seconds(200)))
        });
        let mut event = event.unwrap();
        event.spent_token_id = refresh_id(n - 1);
        history.record(place, seconds(3), InstallationEvent::TokenRefreshed(event));
        assert_eq!(history.effects.last(), Some(&Effects::default()));
    }
    history.record(
        StreamKind::App(client(0)),
        seconds(4),
        AppEvent::Resumed(AppResumed { reason: "fine".to_owned() }),
    );
    let left: Vec<_> = facts(&history, seconds(5)).tokens.iter().map(|token| token.token_id).collect();
    assert_eq!(left, [token_id(9)], "the other approval is not touched");
    assert_eq!(history.live.digest(), history.replayed().digest());
}

#[test]
fn r2_a_refresh_spends_the_one_token_and_no_other() {
    let mut history = given();
    refresh(&mut history, 2, 50, (150, 1050));
    let live = &history.live;
    assert_eq!(live.token_by_id(&refresh_id(1), seconds(50)), None);
    for token in [token_id(1), token_id(2), refresh_id(2)] {
        assert!(live.token_by_id(&token, seconds(50)).is_some(), "{token}");
    }
    // A refresh token is never a bearer token.
    assert!(live.is_valid(&digest(2), seconds(50)) && !live.is_valid(&refresh_digest(2), seconds(50)));
    assert_eq!(
        (live.token(&refresh_digest(2), seconds(50)), live.has_token(&refresh_digest(2))),
        (None, false)
    );
    let kinds: Vec<_> = facts(&history, seconds(50)).tokens.iter().map(|token| token.kind).collect();
    assert_eq!(kinds, [TokenKind::Access, TokenKind::Access, TokenKind::Refresh]);
}

/// A decision is taken a little before it is recorded, and the app has the tokens.
#[test]
fn r2_a_refresh_that_is_recorded_after_the_end_of_its_token_counts() {
    let mut history = given();
    refresh(&mut history, 2, 1001, (1100, 2000));
    assert_eq!(history.effects.last().unwrap().issued.len(), 2);
    let facts = facts(&history, seconds(1001));
    assert_eq!(facts.tokens.len(), 2);
    // No token was there in that moment, so it is a new beginning.
    assert_eq!(facts.installed_since, Some(seconds(1001)));
    history.look_at(1, client(0), &account(0), |grant| {
        let spent = grant.family().unwrap().spent.unwrap();
        assert_eq!(
            (spent.digest, spent.at, spent.expires_at),
            (refresh_digest(1), seconds(1001), seconds(1001))
        );
    });
}

/// What was dropped because it expired must not look like what was spent: that would end the grant.
#[test]
fn r3_a_refresh_token_that_expired_is_known_while_an_access_token_is_there() {
    for access_ends in [900, 5000] {
        let mut history = given();
        refresh(&mut history, 2, 100, (access_ends, 1000));
        // So many grants that what is not needed is dropped.
        (10..60).for_each(|n| history.grant(n, client(0), &account(0), &user(n), seconds(2000)));
        assert_eq!(history.live.token_by_id(&refresh_id(2), seconds(2000)), None, "it is expired");
        let is_known = history.live.installation_of_token(&refresh_id(2)).is_some();
        assert_eq!(is_known, access_ends > 2000);
        let grant = history.installed(place(client(0), &account(0))).unwrap();
        let grant = grant.grant_of_token(token_id(2)).cloned();
        let refresh = grant.as_ref().and_then(|grant| grant.family()?.refresh());
        assert_eq!(refresh.map(|token| token.digest), is_known.then(|| refresh_digest(2)));
    }
}

#[test]
fn r6_an_app_is_installed_while_a_refresh_token_lives() {
    let mut history = given();
    for now in [seconds(1), micro_before(101), seconds(101), micro_before(1001)] {
        let facts = facts(&history, now);
        assert!(facts.is_installed(), "{now}");
        assert_eq!((facts.installed_since, facts.ended_at), (Some(seconds(1)), None), "{now}");
    }
    let over = facts(&history, seconds(1001));
    assert_eq!(
        (over.is_installed(), over.installed_since, over.ended_at),
        (false, None, Some(seconds(1001)))
    );
    // The access token had ended long before: there was no break.
    refresh(&mut history, 2, 500, (600, 1500));
    let now = facts(&history, seconds(1200));
    assert_eq!((now.installed_since, now.tokens.len()), (Some(seconds(1)), 1));
    assert_eq!(facts(&history, seconds(1500)).ended_at, Some(seconds(1500)));
    // One that would have lived longer is spent, so the end comes earlier.
    refresh(&mut history, 3, 700, (710, 720));
    assert_eq!(facts(&history, micro_before(720)).installed_since, Some(seconds(1)));
    assert_eq!(facts(&history, seconds(720)).ended_at, Some(seconds(720)));
}

#[test]
fn r3_r7_a_replay_and_a_revocation_end_every_token_of_the_grant() {
    for is_replay in [true, false] {
        let mut history = given();
        history.grant(9, client(0), &account(0), &user(0), seconds(1));
        history.exchange_with_refresh(9, client(0), &account(0), &user(0), (1, 900));
        refresh(&mut history, 2, 50, (150, 1050));
        let event = history.look_at(1, client(0), &account(0), |grant| match is_replay {
            true => refresh_replayed(client(0), &account(0), grant),
            false => grant_revoked(client(0), &account(0), grant, RevocationReason::User),
        });
        history.record(place(client(0), &account(0)), seconds(60), event);
        assert_eq!(history.effects.last().unwrap().ended.len(), 3);
        for token in [token_id(1), token_id(2), refresh_id(2)] {
            assert_eq!(history.live.token_by_id(&token, seconds(60)), None);
        }
        let left: Vec<_> = facts(&history, seconds(60)).tokens.iter().map(|token| token.token_id).collect();
        assert_eq!(left, [token_id(9), refresh_id(9)]);
        assert_eq!(history.live.digest(), history.replayed().digest());
    }
}
