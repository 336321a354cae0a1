//! However many grants an installation has, each is found where a walk over all of them finds it.

use std::collections::BTreeSet;

use grantbook_events::{
    Event, GrantId, InstallationEvent, InstallationId, Recorded, SecretDigest, StreamKind, TokenId, UserId,
};
use grantbook_projections::live::{Live, State as _};
use grantbook_projections::{Grant, Installation, LiveToken};
use proptest::prelude::*;
use proptest::sample::Index;

use super::history::{
    History, account, client, digest, grant_id, place, replay, revoked, seconds, token_id, user,
};
use super::images::bytes_of;
use super::steps::{config, crowded_steps, grow};

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn look_ups_find_what_a_walk_finds(steps in crowded_steps(), cut in any::<Index>()) {
        let log = grow(&steps, found_as_by_walking).log;
        if log.is_empty() {
            return Ok(());
        }
        // What was read back has other slots.
        let cut = cut.index(log.len()) + 1;
        let (live, names) = (Live::from_image(&bytes_of(&replay(&log[..cut]))[..]).unwrap(), Names::of(&log));
        each_found(&live, &names);
        for recorded in &log[cut..] {
            live.apply(recorded).unwrap();
            each_found(&live, &names);
        }
    }
}

/// Everything that a grant of any installation was ever looked for by, and as much that none has.
#[derive(Debug, Default)]
struct Names {
    installations: BTreeSet<InstallationId>,
    grants: BTreeSet<GrantId>,
    digests: BTreeSet<SecretDigest>,
    users: BTreeSet<UserId>,
    tokens: BTreeSet<TokenId>,
}

impl Names {
    fn of(log: &[Recorded]) -> Self {
        let mut names = Self::default();
        names.grants.insert(grant_id(1_000_000));
        names.digests.insert(digest(1_000_000));
        names.users.insert(user(1_000_000));
        names.tokens.insert(token_id(1_000_000));
        for recorded in log {
            let Event::Installation(event) = &recorded.event else { continue };
            let (client, account) = event.installation();
            names.installations.insert(InstallationId::of(&client, account));
            match event {
                InstallationEvent::AccessGranted(event) => {
                    names.grants.insert(event.grant_id);
                    names.digests.insert(event.code_digest);
                    names.users.insert(event.user_id.clone());
                }
                InstallationEvent::CodeExchanged(event) => {
                    names.digests.extend(event.refresh.as_ref().map(|refresh| refresh.family_digest));
                }
                InstallationEvent::TokenRefreshed(event) => {
                    names.digests.insert(event.refresh.family_digest);
                }
                InstallationEvent::CodeReplayed(_)
                | InstallationEvent::RefreshReplayed(_)
                | InstallationEvent::TokenRevoked(_)
                | InstallationEvent::GrantRevoked(_)
                | InstallationEvent::Uninstalled(_) => {}
            }
            for (token_id, digest) in event.issued_tokens() {
                names.tokens.insert(token_id);
                names.digests.insert(digest);
            }
        }
        names
    }
}

fn found_as_by_walking(history: &History) {
    each_found(&history.live, &Names::of(&history.log));
}

fn each_found(live: &Live, names: &Names) {
    for &id in &names.installations {
        Installation::look(live, &StreamKind::Installation(id), |state| {
            if let Some(state) = state {
                found(state, names);
            }
        });
    }
}

fn found(state: &Installation, names: &Names) {
    let walk = |is_it: &dyn Fn(&Grant) -> bool| {
        let mut found = state.grants().filter(|grant| is_it(grant));
        let first = found.next();
        assert!(found.next().is_none(), "two grants have the same name");
        first
    };
    let has =
        |grant: &Grant, is_it: &dyn Fn(&LiveToken) -> bool| grant.tokens().any(|held| is_it(held.token));
    for &id in &names.grants {
        assert_eq!(state.grant(id), walk(&|grant| grant.grant_id == id), "grant {id}");
    }
    for &id in &names.tokens {
        let walked = walk(&|grant| has(grant, &|token| token.token_id == id));
        assert_eq!(state.grant_of_token(id), walked, "token {id}");
    }
    for digest in &names.digests {
        assert_eq!(state.grant_of_code(digest), walk(&|grant| grant.code_digest == *digest));
        let walked = walk(&|grant| has(grant, &|token| token.digest == *digest));
        assert_eq!(state.grant_of_token_digest(digest), walked);
        let walked = walk(&|grant| grant.family().is_some_and(|family| family.digest == *digest));
        assert_eq!(state.grant_of_family(digest), walked);
    }
    for user in &names.users {
        let sorted = |mut grants: Vec<&Grant>| {
            grants.sort_by_key(|grant| grant.grant_id);
            grants.into_iter().cloned().collect::<Vec<_>>()
        };
        let walked = state.grants().filter(|grant| grant.user_id == *user).collect();
        assert_eq!(sorted(state.grants_of_user(user).collect()), sorted(walked), "{user}");
    }
}

/// Hundreds of users, whose grants come and go: slots are emptied and filled again.
#[test]
fn many_users_come_and_go() {
    let (client, account) = (client(0), account(0));
    let mut history = History::default();
    history.register(client);
    for n in 0..600_u64 {
        // Every 200 approvals half an hour passes, and nearly all before it are dropped.
        let at = seconds((n + n / 200 * 1800) as i64);
        history.grant(n, client, &account, &user(n % 150), at);
        if n.is_multiple_of(3) {
            history.exchange_until(n, client, &account, &user(n % 150), at, Some(seconds(n as i64 + 1000)));
        }
        if n.is_multiple_of(7) && n.is_multiple_of(3) {
            let kind = place(client, &account);
            let reason = grantbook_events::RevocationReason::App;
            history.record(kind, at, revoked(token_id(n), client, &account, &user(n % 150), reason));
        }
        if n == 350 {
            history.uninstall(client, &account, at);
        }
        if n.is_multiple_of(10) || n.is_multiple_of(200) {
            found_as_by_walking(&history);
        }
    }
    found_as_by_walking(&history);
    let dropped = history.effects.iter().filter(|effects| effects.ended.len() > 10).count();
    assert!(dropped >= 2, "nothing was dropped at once");
}
