//! States stay bounded however long their streams grow, and an uninstall is an end.

use grantbook_events::{
    AppEvent, AppSecretAdded, AppSecretRetired, InstallationEvent, InstallationId, RefreshIssued,
    RevocationReason, StreamKind,
};
use grantbook_projections::live::State as _;
use grantbook_projections::{CodeState, GRANT_MEMORY, Installation, MAX_PENDING_PER_USER};

use super::history::{
    History, account, client, digest, exchanged, family_digest, grant_id, place, refresh_digest,
    refresh_issued, revoked, seconds, secret_id, token_id, user,
};
use super::images::bytes_of;

/// Grants that matter no more are dropped together, once there are twice as many grants as mattered the last time.
const SLACK: usize = 2;

fn look<T>(history: &History, look: impl FnOnce(&Installation) -> T) -> T {
    let kind = place(client(0), &account(0));
    Installation::look(&history.live, &kind, |state| look(state.expect("it was granted")))
}

#[test]
fn ten_thousand_authorizations_by_one_user_leave_a_small_state() {
    const EVERY_SECONDS: i64 = 180;
    const HELD: u64 = 10;
    let (client, account, user) = (client(0), account(0), user(0));
    let id = InstallationId::of(&client, &account);
    // Those within the memory, and those with a token.
    let most = SLACK * (GRANT_MEMORY.as_secs() as usize / EVERY_SECONDS as usize + HELD as usize);
    let mut history = History::default();
    history.register(client);
    for n in 1..=10_000_u64 {
        let at = seconds(n as i64 * EVERY_SECONDS);
        history.grant(n, client, &account, &user, at);
        // Every other approval is never used.
        if n.is_multiple_of(2) {
            history.exchange(n, client, &account, &user, at);
            if n > 2 * HELD {
                let old = token_id(n - 2 * HELD);
                let superseded = revoked(old, client, &account, &user, RevocationReason::Superseded);
                history.record(place(client, &account), at, superseded);
            }
        }
        let (grants, tokens) = look(&history, |state| (state.grants().count(), state.held().len()));
        assert!(grants <= most, "{grants} grants after {n}");
        assert!(tokens <= HELD as usize, "{tokens} tokens after {n}");
    }
    let live = history.replayed();
    assert_eq!(live.counts().tokens, HELD as usize);
    assert_eq!(live.installation(id, history.latest()).unwrap().tokens.len(), HELD as usize);
}

/// One person approves as often as `limits` of the server let them, 30 times a minute.
#[test]
fn thousands_of_approvals_in_a_row_leave_what_twenty_minutes_hold() {
    const EVERY_SECONDS: usize = 2;
    const HELD: u64 = 10;
    let (client, account, user) = (client(0), account(0), user(0));
    let within_memory = GRANT_MEMORY.as_secs() as usize / EVERY_SECONDS;
    for exchanges in [false, true] {
        let mut history = History::default();
        history.register(client);
        let mut most = 0;
        for n in 1..=3_000_u64 {
            let at = seconds(n as i64 * EVERY_SECONDS as i64);
            history.grant(n, client, &account, &user, at);
            if exchanges {
                history.exchange(n, client, &account, &user, at);
                if n > HELD {
                    let reason = RevocationReason::Superseded;
                    let superseded = revoked(token_id(n - HELD), client, &account, &user, reason);
                    history.record(place(client, &account), at, superseded);
                }
            }
            most = most.max(look(&history, |state| state.grants().count()));
        }
        let (grants, tokens) = look(&history, |state| (state.grants().count(), state.held().len()));
        assert!(
            (within_memory..=SLACK * within_memory).contains(&grants),
            "exchanged: {exchanges}: {grants}"
        );
        assert!(most <= SLACK * within_memory, "exchanged: {exchanges}: {most}");
        assert_eq!(tokens, if exchanges { HELD as usize } else { 0 });
        let pending =
            look(&history, |state| state.grants().filter(|grant| grant.code == CodeState::Pending).count());
        assert_eq!(pending, if exchanges { 0 } else { MAX_PENDING_PER_USER });
    }
}

/// A token without an end, and 3 000 approvals after it that were never exchanged.
#[test]
fn a_spent_code_is_remembered_while_its_token_lives() {
    let (client, account, user) = (client(0), account(0), user(0));
    let mut history = History::default();
    history.register(client);
    history.grant(1, client, &account, &user, seconds(1));
    history.exchange(1, client, &account, &user, seconds(1));
    (2..=3_000).for_each(|n| history.grant(n, client, &account, &user, seconds(n as i64 * 2)));
    look(&history, |state| {
        let first = state.grant_of_code(&digest(1)).unwrap();
        let held: Vec<_> = first.tokens().map(|held| held.token.token_id).collect();
        assert_eq!(held, [token_id(1)]);
        assert!((601..=SLACK * 601).contains(&state.grants().count()));
    });
}

#[test]
fn expired_tokens_do_not_pile_up() {
    const EVERY_SECONDS: i64 = 100;
    let (client, account, user) = (client(0), account(0), user(0));
    let mut history = History::default();
    history.register(client);
    let within_memory = (GRANT_MEMORY.as_secs() as i64 / EVERY_SECONDS) as usize;
    for n in 1..=1_000 {
        let at = n as i64 * EVERY_SECONDS;
        history.grant(n, client, &account, &user, seconds(at));
        history.exchange_until(n, client, &account, &user, seconds(at), Some(seconds(at + 250)));
        // An expired token goes no later than its grant.
        let tokens = look(&history, |state| state.held().len());
        assert!(tokens <= SLACK * within_memory, "{tokens} tokens after {n}");
        assert_eq!(history.live.counts().tokens, tokens);
    }
    let facts = history.live.installation(InstallationId::of(&client, &account), history.latest()).unwrap();
    assert_eq!(facts.tokens.len(), 3, "those issued in the last 250 seconds");
}

/// The codes of one user that wait are ended by later ones of the same user, the oldest first.
#[test]
fn so_many_codes_of_one_user_wait_and_no_more() {
    let (client, account) = (client(0), account(0));
    let mut history = History::default();
    history.register(client);
    history.grant(100, client, &account, &user(1), seconds(0));
    for n in 1..=MAX_PENDING_PER_USER as u64 + 3 {
        history.grant(n, client, &account, &user(0), seconds(n as i64));
    }
    look(&history, |state| {
        let is_pending = |n| state.grant(grant_id(n)).unwrap().code == CodeState::Pending;
        assert!(is_pending(100), "another user's code waits on");
        for n in 1..=MAX_PENDING_PER_USER as u64 + 3 {
            assert_eq!(is_pending(n), n > 3, "code {n}");
        }
    });
}

#[test]
fn ended_secrets_do_not_pile_up() {
    let mut history = History::default();
    history.register(client(0));
    let kind = StreamKind::App(client(0));
    for n in 1..=1_000 {
        let at = seconds(n as i64 * 100);
        let added = AppSecretAdded { secret_id: secret_id(n), digest: digest(n) };
        history.record(kind, at, AppEvent::SecretAdded(added));
        let retired = AppSecretRetired {
            secret_id: secret_id(n - 1),
            retires_at: seconds(n as i64 * 100 + 50),
            note: None,
        };
        history.record(kind, at, AppEvent::SecretRetired(retired));
    }
    assert!(history.live.app(&client(0)).unwrap().secrets.len() <= 2);
}

#[test]
fn an_uninstall_ends_codes_and_tokens_and_a_new_approval_starts_an_epoch() {
    let (client, account, user) = (client(0), account(0), user(0));
    let id = InstallationId::of(&client, &account);
    let mut history = History::default();
    history.register(client);
    for epoch in 0..3 {
        let (spent, pending) = (u64::from(epoch) * 2 + 1, u64::from(epoch) * 2 + 2);
        let at = seconds(i64::from(epoch) * 10 + 1);
        history.grant(spent, client, &account, &user, at);
        history.grant(pending, client, &account, &user, at);
        history.exchange(spent, client, &account, &user, at);
        let live = history.replayed();
        let facts = live.installation(id, at).unwrap();
        assert_eq!((facts.epoch, facts.tokens.len(), facts.installed_since), (epoch, 1, Some(at)));
        assert!(live.is_valid(&digest(spent), at));

        history.uninstall(client, &account, seconds(i64::from(epoch) * 10 + 2));
        let live = history.replayed();
        let facts = live.installation(id, history.latest()).unwrap();
        assert_eq!((facts.epoch, facts.is_installed()), (epoch + 1, false));
        assert_eq!(facts.ended_at, Some(history.latest()));
        assert!((1..=spent).all(|n| !live.is_valid(&digest(n), history.latest())));
        look(&history, |state| {
            assert_eq!(state.epoch, epoch + 1);
            assert!(state.held().is_empty());
            assert!(state.grants().all(|grant| grant.code != CodeState::Pending));
        });
    }
}

/// What is known of a grant does not depend on how often its tokens were refreshed.
#[test]
fn r2_ten_thousand_refreshes_leave_a_small_state() {
    const EVERY_SECONDS: i64 = 10;
    const LIFETIME: i64 = 25;
    let (client, account, user) = (client(0), account(0), user(0));
    let mut history = History::default();
    history.register(client);
    history.grant(1, client, &account, &user, seconds(0));
    history.exchange_with_refresh(1, client, &account, &user, (0, LIFETIME));
    let size = |history: &History| bytes_of(&history.live).len();
    let mut largest = 0;
    for n in 2..=10_000 {
        history.refresh((1, n), client, &account, (n as i64 * EVERY_SECONDS, LIFETIME));
        let tokens = look(&history, |state| state.held().len());
        assert!(tokens <= 4, "{tokens} tokens after {n}");
        assert_eq!(history.live.counts().tokens, tokens - 1);
        if n < 10 {
            largest = largest.max(size(&history));
        }
    }
    // Later times and revisions are larger numbers.
    assert!(size(&history) <= largest + 64, "{} bytes, and {largest} at first", size(&history));
    let id = InstallationId::of(&client, &account);
    let facts = history.live.installation(id, history.latest()).unwrap();
    assert_eq!(facts.tokens.len(), 4, "those of the last 25 seconds, and the last refresh token");
    assert_eq!(facts.installed_since, Some(seconds(0)));
    look(&history, |state| {
        let spent = state.grant(grant_id(1)).unwrap().family().unwrap().spent.unwrap();
        assert_eq!((spent.digest, spent.at), (refresh_digest(9_999), history.latest()));
    });
    assert_eq!(history.replayed().digest(), history.live.digest());
}

/// Grants whose refresh tokens were never used go once these expired, together with them.
#[test]
fn r2_expired_families_go() {
    let (client, account, user) = (client(0), account(0), user(0));
    let mut history = History::default();
    history.register(client);
    let kind = place(client, &account);
    for n in 1..=1_000 {
        let at = n as i64 * 100;
        history.grant(n, client, &account, &user, seconds(at));
        let mut event = exchanged(n, client, &account, &user, seconds(at), Some(seconds(at + 50)));
        event.refresh = Some(RefreshIssued { expires_at: Some(seconds(at + 300)), ..refresh_issued(n, n) });
        history.record(kind, seconds(at), InstallationEvent::CodeExchanged(event));
        let (grants, tokens) = look(&history, |state| (state.grants().count(), state.held().len()));
        assert!(grants <= SLACK * 12 && tokens <= 2 * grants, "{grants} grants, {tokens} tokens after {n}");
    }
    look(&history, |state| assert!(state.grant_of_family(&family_digest(1)).is_none()));
}
