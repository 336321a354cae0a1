//! The states that decisions look at, the live projection and the plainest telling say the same.

use std::collections::BTreeMap;

use grantbook_events::{InstallationId, Timestamp, codec};
use grantbook_projections::Installation;
use grantbook_projections::live::{InstallationFacts, Live};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::expected::{Expected, Issued};
use super::history::{History, account, client};
use super::steps::{config, grow, head, issued, registered_app, steps};

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn after_every_event_all_tellings_agree(steps in steps()) {
        let live = Live::new();
        let history = grow(&steps, |history| {
            let missing = history.log.iter().filter(|recorded| recorded.envelope.position > live.position());
            missing.for_each(|recorded| live.apply(recorded).unwrap());
            agree(history, &Expected::of(&history.log), &live, history.latest());
        });
        let expected = Expected::of(&history.log);
        for now in expected.moments(history.latest()) {
            agree(&history, &expected, &live, now);
        }
    }
}

fn agree(history: &History, expected: &Expected, live: &Live, now: Timestamp) {
    assert_eq!(live.position(), head(history));
    apps_agree(history, expected, live);
    keys_agree(history, live);
    for token in &expected.tokens {
        token_agrees(history, expected, live, token, now);
    }
    installations_agree(history, expected, live, now);
    let valid = expected.tokens.iter().filter(|token| expected.is_valid(token, now)).count();
    let unended = expected.tokens.iter().filter(|token| token.ended_at.is_none()).count();
    assert!((valid..=unended).contains(&live.counts().tokens), "{:?}", live.counts());
}

fn apps_agree(history: &History, expected: &Expected, live: &Live) {
    for (client, state) in &history.apps {
        let app = registered_app(state);
        assert_eq!(live.app(client).as_deref(), Some(app));
        assert_eq!(app.is_active(), expected.is_active(client));
    }
    let listed = live.apps(0, usize::MAX);
    assert_eq!(listed.len(), history.apps.len());
    assert_eq!(live.apps(1, 1), listed.iter().skip(1).take(1).cloned().collect::<Vec<_>>());
    assert_eq!(live.counts().apps, history.apps.len());
}

fn keys_agree(history: &History, live: &Live) {
    for (id, state) in &history.keys {
        let key = issued(state);
        assert_eq!(live.operator_key_by_id(id).as_deref(), Some(key));
        let accepted = live.operator_key(&key.digest);
        assert_eq!(accepted.as_deref(), Some(key).filter(|key| key.retired_at.is_none()));
    }
    assert_eq!(live.operator_keys(0, usize::MAX).len(), history.keys.len());
    assert_eq!(live.counts().operator_keys, history.keys.len());
}

/// A token counts exactly while its app is active, its installation's state has it, and it is unexpired.
fn token_agrees(history: &History, expected: &Expected, live: &Live, token: &Issued, now: Timestamp) {
    let installed = history.installations[&token.facts.installation_id].present().unwrap();
    let in_state = installed.tokens.iter().any(|held| held.digest == token.digest && held.is_unexpired(now));
    let is_valid = in_state && registered_app(&history.apps[&token.facts.client_id]).is_active();
    assert_eq!(is_valid, expected.is_valid(token, now), "state and telling differ on {token:?} at {now}");
    assert_eq!(live.is_valid(&token.digest, now), is_valid, "{token:?} at {now}");
    let facts = is_valid.then(|| token.facts.clone());
    assert_eq!(live.token(&token.digest, now), facts);
    // What the two streams say together is what the whole ledger says.
    let app = registered_app(&history.apps[&token.facts.client_id]);
    assert_eq!(installed.token_facts(token.facts.installation_id, app, &token.digest, now), facts);
    assert!(live.has_token(&token.digest) || !installed.has_token(&token.digest) || !is_valid);
    assert_eq!(live.token_by_id(&token.facts.token_id, now), facts);
    // A token that expired may be known a little longer; one that ended is not.
    let belongs: Option<InstallationId> = live.installation_of_token(&token.facts.token_id);
    assert!(belongs.is_none_or(|id| id == token.facts.installation_id));
    assert!(!in_state || belongs.is_some());
    assert!(token.ended_at.is_none() || belongs.is_none());
}

fn installations_agree(history: &History, expected: &Expected, live: &Live, now: Timestamp) {
    let all = expected.installations(now);
    assert_eq!(live.counts().installations, all.len());
    for facts in &all {
        let found = live.installation(facts.installation_id, now).unwrap();
        assert_eq!(&found, facts, "at {now}");
        assert_eq!(found.is_installed(), live_tokens(history, live, facts, now) > 0);
        assert_eq!(epoch(&history.installations[&facts.installation_id]), facts.epoch);
    }
    for n in 0..3 {
        let of_app = select(&all, |facts| facts.client_id == client(n));
        assert_eq!(live.installations_of_app(&client(n), 0, usize::MAX, now), of_app);
        assert_eq!(live.installations_of_app(&client(n), 1, 1, now), page(&of_app));
        let mut on_account = select(&all, |facts| facts.account_id == account(n));
        on_account.sort_by_key(|facts| (facts.first_granted_at, facts.installation_id));
        assert_eq!(live.installations_on_account(&account(n), 0, usize::MAX, now), on_account);
        assert_eq!(live.installations_on_account(&account(n), 1, 1, now), page(&on_account));
    }
}

fn live_tokens(history: &History, live: &Live, facts: &InstallationFacts, now: Timestamp) -> usize {
    let installed = history.installations[&facts.installation_id].present().unwrap();
    installed.tokens.iter().filter(|token| live.is_valid(&token.digest, now)).count()
}

fn epoch(state: &Installation) -> u32 {
    state.present().map_or(0, |installed| installed.epoch)
}

fn select(all: &[InstallationFacts], which: impl Fn(&InstallationFacts) -> bool) -> Vec<InstallationFacts> {
    all.iter().filter(|facts| which(facts)).cloned().collect()
}

fn page(all: &[InstallationFacts]) -> Vec<InstallationFacts> {
    all.iter().skip(1).take(1).cloned().collect()
}

#[test]
fn the_histories_are_worth_looking_at() {
    // A generator that passes everything over would make every property true.
    let mut seen = BTreeMap::<&str, usize>::new();
    let mut runner = TestRunner::new(config(96));
    for _ in 0..96 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        for recorded in grow(&steps, |_| {}).log {
            *seen.entry(codec::type_name(&recorded.event)).or_default() += 1;
        }
    }
    for (type_name, _) in codec::STORED_TYPES {
        assert!(seen.get(type_name).is_some_and(|&times| times > 20), "{type_name}: {seen:?}");
    }
}
