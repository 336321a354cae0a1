//! States stay bounded however long their streams grow, and an uninstall is an end.

use grantbook_events::{AppEvent, AppSecretAdded, AppSecretRetired};
use grantbook_events::{InstallationEvent, InstallationId, RevocationReason, StreamKind};
use grantbook_projections::{CodeState, GRANT_MEMORY};

use super::history::{History, account, client, digest, place, revoked, seconds, secret_id, token_id, user};
use super::steps::registered_app;

#[test]
fn ten_thousand_authorizations_by_one_user_leave_a_small_state() {
    const EVERY_SECONDS: i64 = 180;
    const HELD: u64 = 10;
    let (client, account, user) = (client(0), account(0), user(0));
    let id = InstallationId::of(&client, &account);
    // Those within the memory, and those with a token.
    let most = GRANT_MEMORY.as_secs() as usize / EVERY_SECONDS as usize + HELD as usize;
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
        let installed = history.installations[&id].present().unwrap();
        assert!(installed.grants.len() <= most, "{} grants after {n}", installed.grants.len());
        assert!(installed.tokens.len() <= HELD as usize, "{} tokens after {n}", installed.tokens.len());
    }
    let live = history.live();
    assert_eq!(live.counts().tokens, HELD as usize);
    assert_eq!(live.installation(id, history.latest()).unwrap().tokens.len(), HELD as usize);
}

/// One person approves as often as `limits` of the server let them, 30 times a minute.
#[test]
fn a_thousand_approvals_in_a_row_leave_what_twenty_minutes_hold() {
    const EVERY_SECONDS: i64 = 2;
    const HELD: u64 = 10;
    let (client, account, user) = (client(0), account(0), user(0));
    let id = InstallationId::of(&client, &account);
    for exchanges in [false, true] {
        let mut history = History::default();
        history.register(client);
        for n in 1..=1_000_u64 {
            let at = seconds(n as i64 * EVERY_SECONDS);
            history.grant(n, client, &account, &user, at);
            if exchanges {
                history.exchange(n, client, &account, &user, at);
                if n > HELD {
                    let reason = RevocationReason::Superseded;
                    let superseded = revoked(token_id(n - HELD), client, &account, &user, reason);
                    history.record(place(client, &account), at, superseded);
                }
            }
        }
        let installed = history.installations[&id].present().unwrap();
        assert_eq!(installed.grants.len(), 600, "exchanged: {exchanges}");
        assert_eq!(installed.tokens.len(), if exchanges { HELD as usize } else { 0 });
    }
}

/// A token without an end, and 1 000 approvals after it that were never exchanged.
#[test]
fn a_spent_code_is_remembered_while_its_token_lives() {
    let (client, account, user) = (client(0), account(0), user(0));
    let id = InstallationId::of(&client, &account);
    let mut history = History::default();
    history.register(client);
    history.grant(1, client, &account, &user, seconds(1));
    history.exchange(1, client, &account, &user, seconds(1));
    (2..=1_000).for_each(|n| history.grant(n, client, &account, &user, seconds(n as i64 * 2)));
    let installed = history.installations[&id].present().unwrap();
    let first = &installed.grants[0];
    assert_eq!((first.code, installed.tokens_of(first.grant_id).count()), (CodeState::Spent, 1));
    assert_eq!(installed.grants.len(), 601);
}

#[test]
fn expired_tokens_do_not_pile_up() {
    let (client, account, user) = (client(0), account(0), user(0));
    let mut history = History::default();
    history.register(client);
    for n in 1..=1_000 {
        let at = seconds(n as i64 * 100);
        history.grant(n, client, &account, &user, at);
        let exchanged =
            super::history::exchanged(n, client, &account, &user, Some(seconds(n as i64 * 100 + 250)));
        history.record(place(client, &account), at, InstallationEvent::CodeExchanged(exchanged));
    }
    assert_eq!(history.live().counts().tokens, 3);
    let installed = history.installations.values().next().unwrap().present().unwrap();
    assert!(installed.tokens.len() <= 4, "{}", installed.tokens.len());
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
    assert!(registered_app(&history.apps[&client(0)]).secrets.len() <= 2);
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
        let live = history.live();
        let facts = live.installation(id, at).unwrap();
        assert_eq!((facts.epoch, facts.tokens.len(), facts.installed_since), (epoch, 1, Some(at)));
        assert!(live.is_valid(&digest(spent), at));

        history.uninstall(client, &account, seconds(i64::from(epoch) * 10 + 2));
        let live = history.live();
        let facts = live.installation(id, history.latest()).unwrap();
        assert_eq!((facts.epoch, facts.is_installed()), (epoch + 1, false));
        assert_eq!(facts.ended_at, Some(history.latest()));
        assert!((1..=spent).all(|n| !live.is_valid(&digest(n), history.latest())));
        let installed = history.installations[&id].present().unwrap();
        assert_eq!(installed.epoch, epoch + 1);
        assert!(installed.tokens.is_empty());
        assert!(installed.grants.iter().all(|grant| grant.code != CodeState::Pending));
    }
}
