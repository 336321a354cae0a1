//! The digest of the live projection: the same however it was built, another for another history.

use std::sync::Arc;

use grantbook_events::{
    AppEvent, Event, InstallationEvent, OperatorKeyEvent, Recorded, Role, SecretDigest, Timestamp,
};
use grantbook_projections::live::{InstallationFacts, Live};
use grantbook_projections::{App, OperatorKey};
use proptest::prelude::*;
use proptest::sample::Index;

use super::history::{History, account, client, replay, scopes, seconds, user};
use super::steps::{config, grow, steps};

proptest! {
    #![proptest_config(config(48))]

    #[test]
    fn a_second_replay_has_the_same_digest(steps in steps()) {
        let log = grow(&steps, |_| {}).log;
        prop_assert_eq!(replay(&log).digest(), replay(&log).digest());
    }

    #[test]
    fn batches_that_overlap_change_nothing(
        steps in steps(),
        cuts in prop::collection::vec((any::<Index>(), 0_usize..40), 0..12),
    ) {
        let log = grow(&steps, |_| {}).log;
        let mut cuts: Vec<_> = cuts.iter().map(|(cut, again)| (cut.index(log.len() + 1), *again)).collect();
        cuts.push((log.len(), 3));
        cuts.sort_unstable();
        let live = Live::new();
        let mut done = 0;
        for (cut, again) in cuts {
            // What was applied before arrives again, as it does when a subscription is taken up again.
            for recorded in &log[done.min(cut).saturating_sub(again)..cut] {
                live.apply(recorded).unwrap();
            }
            done = done.max(cut);
        }
        prop_assert_eq!(live.position(), replay(&log).position());
        prop_assert_eq!(live.digest(), replay(&log).digest());
    }

    #[test]
    fn what_was_applied_changes_nothing(steps in steps(), again in any::<Index>()) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let live = replay(&log);
        let before = (live.digest(), live.position(), live.counts());
        live.apply(&log[again.index(log.len())]).unwrap();
        prop_assert_eq!(before, (live.digest(), live.position(), live.counts()));
    }

    #[test]
    fn what_reads_differently_has_another_digest(
        steps in steps(),
        which in any::<Index>(),
        how in any::<usize>(),
    ) {
        let log = grow(&steps, |_| {}).log;
        if log.is_empty() {
            return Ok(());
        }
        let mut other = log.clone();
        alter(&mut other[which.index(log.len())], how);
        let (live, altered) = (replay(&log), Live::new());
        // What is altered may make what follows impossible: then it was found out already.
        if other.iter().any(|recorded| altered.apply(recorded).is_err()) {
            return Ok(());
        }
        let now = seconds(100_000_000);
        let digests: Vec<_> = token_digests(&log).chain(token_digests(&other)).collect();
        let same = read(&live, &digests, now) == read(&altered, &digests, now);
        prop_assert!(same || live.digest() != altered.digest());
    }
}

/// Changes one thing about one event.
pub fn alter(recorded: &mut Recorded, how: usize) {
    let flip = |digest: &mut SecretDigest| {
        let mut bytes = *digest.as_bytes();
        bytes[how % 32] ^= 1 << (how / 32 % 8);
        *digest = SecretDigest::new(bytes);
    };
    match &mut recorded.event {
        Event::App(AppEvent::Registered(event)) => match &mut event.secret {
            Some(secret) if how.is_multiple_of(2) => flip(&mut secret.digest),
            Some(_) | None => event.owner.push('x'),
        },
        Event::App(AppEvent::SecretAdded(event)) => flip(&mut event.digest),
        Event::App(AppEvent::SecretRetired(event)) => event.retires_at = seconds(7),
        Event::App(AppEvent::Suspended(event)) => event.reason.push('x'),
        Event::OperatorKey(OperatorKeyEvent::Created(event)) => match how % 3 {
            0 => event.role = Role::Admin,
            1 => event.name.push('x'),
            _ => flip(&mut event.digest),
        },
        Event::Installation(InstallationEvent::AccessGranted(event)) => match how % 6 {
            0 => event.user_id = "eve".parse().unwrap(),
            1 => event.scopes = scopes(event.scopes.len() as u64),
            2 => event.redirect_uri.push('x'),
            3 => event.redirect_uri_sent = !event.redirect_uri_sent,
            4 => event.code_expires_at = seconds(7),
            _ => flip(&mut event.code_digest),
        },
        Event::Installation(InstallationEvent::CodeExchanged(event)) => match (how % 4, &mut event.refresh) {
            (0, _) => event.expires_at = Some(seconds(100_000_001)),
            (1, Some(refresh)) => flip(&mut refresh.digest),
            (2, Some(refresh)) => refresh.expires_at = Some(seconds(100_000_001)),
            (_, _) => flip(&mut event.token_digest),
        },
        Event::Installation(InstallationEvent::TokenRefreshed(event)) => match how % 5 {
            0 => event.expires_at = Some(seconds(100_000_001)),
            1 => flip(&mut event.refresh.digest),
            2 => event.scopes.truncate(1),
            3 => event.resources.truncate(1),
            _ => flip(&mut event.token_digest),
        },
        _ => {
            recorded.envelope.recorded_at =
                recorded.envelope.recorded_at.plus(std::time::Duration::from_micros(1));
        }
    }
}

pub fn token_digests(log: &[Recorded]) -> impl Iterator<Item = SecretDigest> {
    let issued = log.iter().flat_map(|recorded| match &recorded.event {
        Event::Installation(event) => event.issued_tokens(),
        Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => Vec::new(),
    });
    issued.map(|(_, digest)| digest)
}

/// The answers of a live projection.
pub type Read = (Vec<Arc<App>>, Vec<Arc<OperatorKey>>, Vec<InstallationFacts>, Vec<bool>);

/// Everything that can be asked.
pub fn read(live: &Live, digests: &[SecretDigest], now: Timestamp) -> Read {
    let installations =
        (0..3).flat_map(|n| live.installations_of_app(&client(n), 0, usize::MAX, now)).collect();
    let valid = digests.iter().map(|digest| live.is_valid(digest, now)).collect();
    (live.apps(0, usize::MAX), live.operator_keys(0, usize::MAX), installations, valid)
}

#[test]
fn one_more_event_is_another_digest() {
    let (client, account, user) = (client(0), account(0), user(0));
    let mut history = History::default();
    let mut digests = vec![history.replayed().digest()];
    history.register(client);
    digests.push(history.replayed().digest());
    history.grant(1, client, &account, &user, seconds(1));
    digests.push(history.replayed().digest());
    history.exchange(1, client, &account, &user, seconds(2));
    digests.push(history.replayed().digest());
    for epoch in 0..3 {
        history.uninstall(client, &account, seconds(3 + epoch));
        digests.push(history.replayed().digest());
    }
    let distinct: std::collections::BTreeSet<_> = digests.iter().map(ToString::to_string).collect();
    assert_eq!(distinct.len(), digests.len(), "{digests:?}");
}
