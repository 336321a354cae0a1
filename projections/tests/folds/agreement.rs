//! The live projection and the plainest account of what happened say the same, after every event.

use std::collections::{BTreeMap, BTreeSet};

use grantbook_events::{
    Event, InstallationEvent, InstallationId, Recorded, StreamKind, Timestamp, TokenId, codec,
};
use grantbook_projections::live::{InstallationFacts, Live, State as _};
use grantbook_projections::{CodeState, Effects, Grant, Installation, OperatorKey};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::expected::{Code, Expected, Granted, Issued, MAX_PENDING};
use super::history::{History, account, client};
use super::steps::{config, grow, head, steps};

proptest! {
    #![proptest_config(config(96))]

    #[test]
    fn after_every_event_the_fold_agrees_with_the_oracle(steps in steps()) {
        let mut follower = Follower::default();
        let history = grow(&steps, |history| {
            follower.follow(history);
            agree(&follower.expected, history, history.latest());
        });
        let expected = &follower.expected;
        for now in expected.moments(history.latest()) {
            agree(expected, &history, now);
        }
    }
}

/// Follows a history by its effects.
#[derive(Debug, Default)]
struct Follower {
    expected: Expected,
    seen: usize,
    /// Tokens that were issued and are not gone, by the effects.
    held: BTreeSet<TokenId>,
    /// How many grants of an installation ever mattered at once.
    most: BTreeMap<InstallationId, usize>,
}

impl Follower {
    fn follow(&mut self, history: &History) {
        while let Some(recorded) = history.log.get(self.seen) {
            self.expected.see(recorded);
            self.effects_agree(recorded, &history.effects[self.seen]);
            self.seen += 1;
        }
        assert_eq!(history.live.counts().tokens, self.held.len());
        for token in &self.expected.tokens {
            let is_held = self.held.contains(&token.facts.token_id);
            assert_eq!(history.live.has_token(&token.digest), is_held, "{token:?}");
        }
        let last = history.log.last().unwrap();
        if let Ok(StreamKind::Installation(id)) = last.envelope.stream.kind() {
            self.stays_small(history, id, last.envelope.recorded_at);
        }
    }

    /// What an event is said to have changed is what it changed.
    fn effects_agree(&mut self, recorded: &Recorded, effects: &Effects) {
        let at = recorded.envelope.recorded_at;
        let expected = &self.expected;
        let issued = match &recorded.event {
            Event::Installation(InstallationEvent::CodeExchanged(event)) => expected
                .tokens
                .last()
                .filter(|token| token.facts.token_id == event.token_id)
                .map(|token| (event.token_id, token.digest, end_of(token))),
            _ => None,
        };
        let said = effects.issued.map(|token| (token.token_id, token.digest, token.expires_at));
        assert_eq!(said, issued, "{recorded:?}");

        let in_stream = |token: &&Issued| {
            recorded.envelope.stream == StreamKind::Installation(token.facts.installation_id).into()
        };
        let held = expected.tokens.iter().filter(in_stream);
        let held = held.filter(|token| self.held.contains(&token.facts.token_id));
        let is_grant = matches!(recorded.event, Event::Installation(InstallationEvent::AccessGranted(_)));
        let gone = held.filter(|token| if is_grant { !token.is_there(at) } else { token.ended_at.is_some() });
        let mut gone: Vec<_> =
            gone.map(|token| (token.facts.token_id, token.digest, end_of(token))).collect();
        let mut said: Vec<_> =
            effects.ended.iter().map(|token| (token.token_id, token.digest, token.expires_at)).collect();
        gone.sort_unstable();
        said.sort_unstable();
        // Expired tokens are dropped all together, once there are many grants.
        assert!(said == gone || (is_grant && said.is_empty()), "{said:?} {gone:?} {recorded:?}");

        for (token_id, ..) in said {
            assert!(self.held.remove(&token_id));
        }
        self.held.extend(issued.map(|(token_id, ..)| token_id));
    }

    /// At most twice as many grants as ever mattered, once there are more than a few.
    fn stays_small(&mut self, history: &History, id: InstallationId, at: Timestamp) {
        let matter = self.expected.grants_of(id).filter(|grant| self.expected.matters(grant, at)).count();
        let most = self.most.entry(id).or_default();
        *most = matter.max(*most);
        let there = look(&history.live, id, |installed| installed.grants().count());
        assert!(there <= (2 * *most).max(8), "{there} grants are kept, {most} mattered");
    }
}

fn end_of(token: &Issued) -> Timestamp {
    token.facts.expires_at.unwrap_or(Timestamp::from_micros(i64::MAX))
}

fn look<T>(live: &Live, id: InstallationId, look: impl FnOnce(&Installation) -> T) -> T {
    Installation::look(live, &StreamKind::Installation(id), |state| look(state.expect("it was granted")))
}

fn agree(expected: &Expected, history: &History, now: Timestamp) {
    let live = &history.live;
    assert_eq!(live.position(), head(history));
    apps_agree(expected, live);
    keys_agree(expected, live);
    for token in &expected.tokens {
        token_agrees(expected, live, token, now);
    }
    for (token_id, digest) in &expected.born_dead {
        assert!(!live.is_valid(digest, now) && !live.has_token(digest));
        assert_eq!(live.token(digest, now), None);
        assert_eq!(live.token_by_id(token_id, now), None);
        assert_eq!(live.installation_of_token(token_id), None);
    }
    installations_agree(expected, live, now);
}

fn apps_agree(expected: &Expected, live: &Live) {
    for client in &expected.apps {
        assert_eq!(live.app(client).unwrap().is_active(), expected.is_active(client));
    }
    let listed = live.apps(0, usize::MAX);
    assert_eq!(listed.len(), expected.apps.len());
    assert_eq!(live.apps(1, 1), listed.iter().skip(1).take(1).cloned().collect::<Vec<_>>());
    assert_eq!(live.counts().apps, expected.apps.len());
}

fn keys_agree(expected: &Expected, live: &Live) {
    for (&id, &is_retired) in &expected.keys_retired {
        let key = live.operator_key_by_id(&id).unwrap();
        assert_eq!(key.retired_at.is_some(), is_retired);
        assert_eq!(live.operator_key(&key.digest), Some(key.clone()).filter(|_| !is_retired));
        let head = OperatorKey::look(live, &StreamKind::OperatorKey(id), |key| key.map(OperatorKey::head));
        assert_eq!(head.unwrap().revision, key.revision);
    }
    assert_eq!(live.operator_keys(0, usize::MAX).len(), expected.keys_retired.len());
    assert_eq!(live.counts().operator_keys, expected.keys_retired.len());
}

/// A token counts exactly while its app is active, and it has neither ended nor expired.
fn token_agrees(expected: &Expected, live: &Live, token: &Issued, now: Timestamp) {
    let is_valid = expected.is_valid(token, now);
    assert_eq!(live.is_valid(&token.digest, now), is_valid, "{token:?} at {now}");
    let facts = is_valid.then(|| token.facts.clone());
    assert_eq!(live.token(&token.digest, now), facts);
    assert_eq!(live.token_by_id(&token.facts.token_id, now), facts);
    // A token that expired may be known a little longer; one that ended is not.
    let belongs: Option<InstallationId> = live.installation_of_token(&token.facts.token_id);
    assert!(belongs.is_none_or(|id| id == token.facts.installation_id));
    assert!(!token.is_there(now) || belongs.is_some());
    assert!(token.ended_at.is_none() || belongs.is_none());
}

fn installations_agree(expected: &Expected, live: &Live, now: Timestamp) {
    let all = expected.installations(now);
    assert_eq!(live.counts().installations, all.len());
    for facts in &all {
        let found = live.installation(facts.installation_id, now).unwrap();
        assert_eq!(&found, facts, "at {now}");
        look(live, facts.installation_id, |installed| {
            assert_eq!(installed.epoch, facts.epoch);
            grants_agree(expected, facts.installation_id, installed);
        });
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

/// Every grant that still matters is there, and what is there is as it was granted.
fn grants_agree(expected: &Expected, id: InstallationId, installed: &Installation) {
    let mut found = 0;
    for granted in expected.grants_of(id) {
        let Some(grant) = installed.grant(granted.event.grant_id) else {
            assert!(!expected.matters(granted, installed.changed_at), "missing: {granted:?}");
            continue;
        };
        found += 1;
        assert!(is_as_granted(grant, granted), "{grant:?} {granted:?}");
        match (grant.code, granted.code) {
            (CodeState::Pending, Code::Pending) | (CodeState::Ended, Code::Ended) => {}
            (CodeState::Spent(token), Code::Spent(_)) => {
                let issued = expected.token_of(granted);
                let there = issued.filter(|issued| issued.is_there(installed.changed_at));
                match (token, issued, there) {
                    (Some(token), Some(issued), _) => {
                        assert_eq!(token.token_id, issued.facts.token_id);
                        assert_eq!(token.digest, issued.digest);
                        assert_eq!(token.issued_at, issued.facts.issued_at);
                        assert_eq!(token.expires_at(), issued.facts.expires_at);
                    }
                    // It ended, was born dead, or expired and was dropped.
                    (None, _, None) => {}
                    _ => panic!("{token:?} is held where {issued:?} was expected"),
                }
            }
            (is, must_be) => panic!("the code is {is:?} and must be {must_be:?}"),
        }
    }
    assert_eq!(found, installed.grants().count(), "there is a grant that was never recorded");
    for grant in installed.grants() {
        let of_user = installed.grants_of_user(&grant.user_id);
        let pending = of_user.filter(|grant| grant.code == CodeState::Pending).count();
        assert!(pending <= MAX_PENDING, "{pending} codes of {} are pending", grant.user_id);
    }
}

fn is_as_granted(grant: &Grant, granted: &Granted) -> bool {
    let event = &granted.event;
    grant.user_id == event.user_id
        && grant.scopes.to_vec() == event.scopes
        && grant.redirect_uri.as_str() == event.redirect_uri
        && grant.redirect_uri_sent == event.redirect_uri_sent
        && grant.code_digest == event.code_digest
        && grant.code_expires_at == event.code_expires_at
        && grant.code_challenge.map(|challenge| challenge.to_string()) == event.code_challenge
        && grant.granted_at == granted.granted_at
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
    for _ in 0..160 {
        let steps = steps().new_tree(&mut runner).unwrap().current();
        let mut follower = Follower::default();
        let history = grow(&steps, |history| {
            follower.follow(history);
            let StreamKind::Installation(id) = history.log.last().unwrap().envelope.stream.kind().unwrap()
            else {
                return;
            };
            let count = look(&history.live, id, |installed| installed.grants().count());
            *seen.entry("more grants than are looked at each").or_default() += usize::from(count > 16);
        });
        for (recorded, effects) in history.log.iter().zip(&history.effects) {
            *seen.entry(codec::type_name(&recorded.event)).or_default() += 1;
            let is_grant = matches!(recorded.event, Event::Installation(InstallationEvent::AccessGranted(_)));
            *seen.entry("an expired token is dropped").or_default() +=
                usize::from(is_grant && !effects.ended.is_empty());
        }
        let expected = &follower.expected;
        *seen.entry("a token is born dead").or_default() += expected.born_dead.len();
        let gone = expected.grants.iter().filter(|grant| {
            look(&history.live, grant.installation_id, |state| state.grant(grant.event.grant_id).is_none())
        });
        *seen.entry("a grant is dropped").or_default() += gone.count();
        let is_uninstall = |recorded: &Recorded| {
            matches!(recorded.event, Event::Installation(InstallationEvent::Uninstalled(_)))
        };
        // Else an uninstall may have ended them.
        if !history.log.iter().any(is_uninstall) {
            let ended = expected.grants.iter().filter(|grant| grant.code == Code::Ended);
            *seen.entry("a code is ended by later ones").or_default() += ended.count();
        }
    }
    for (type_name, _) in codec::STORED_TYPES {
        assert!(seen.get(type_name).is_some_and(|&times| times > 20), "{type_name}: {seen:?}");
    }
    for (what, times) in &seen {
        assert!(*times > 20, "{what} only {times} times: {seen:?}");
    }
}
