//! The live projection and the plainest account of what happened say the same, after every event.

use std::collections::{BTreeMap, BTreeSet};

use grantbook_events::{
    Event, InstallationEvent, InstallationId, Recorded, SecretDigest, StreamKind, Timestamp, TokenId, codec,
};
use grantbook_projections::live::{InstallationFacts, Live, State as _};
use grantbook_projections::{CodeState, Effects, Grant, HeldToken, Installation, OperatorKey, TokenKind};
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
    /// How many tokens were issued by what it has seen.
    issued: usize,
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
        let mut access = 0;
        for token in &self.expected.tokens {
            let is_held = self.held.contains(&token.facts.token_id) && token.is_access();
            assert_eq!(history.live.has_token(&token.digest), is_held, "{token:?}");
            access += usize::from(is_held);
        }
        assert_eq!(history.live.counts().tokens, access);
        let last = history.log.last().unwrap();
        if let Ok(StreamKind::Installation(id)) = last.envelope.stream.kind() {
            self.stays_small(history, id, last.envelope.recorded_at);
        }
    }

    /// What an event is said to have changed is what it changed.
    fn effects_agree(&mut self, recorded: &Recorded, effects: &Effects) {
        let at = recorded.envelope.recorded_at;
        let expected = &self.expected;
        let issued: Vec<_> = expected.tokens[self.issued..]
            .iter()
            .map(|token| (token.is_access(), effect_of(token)))
            .collect();
        let said = effects
            .issued
            .iter()
            .map(|token| (token.kind == TokenKind::Access, (token.token_id, token.digest, token.expires_at)));
        assert_eq!(said.collect::<Vec<_>>(), issued, "{recorded:?}");

        let in_stream = |token: &&Issued| {
            recorded.envelope.stream == StreamKind::Installation(token.facts.installation_id).into()
        };
        let held = expected.tokens.iter().filter(in_stream);
        let held = held.filter(|token| self.held.contains(&token.facts.token_id));
        let (is_grant, refreshed) = match &recorded.event {
            Event::Installation(InstallationEvent::AccessGranted(_)) => (true, None),
            Event::Installation(InstallationEvent::TokenRefreshed(event)) => (false, Some(event.grant_id)),
            _ => (false, None),
        };
        let drops = |token: &Issued| is_grant || refreshed == Some(token.facts.grant_id);
        let gone =
            held.filter(|token| token.ended_at.is_some() || (drops(token) && !expected.is_known(token, at)));
        let mut gone: Vec<_> = gone.map(effect_of).collect();
        let mut said: Vec<_> =
            effects.ended.iter().map(|token| (token.token_id, token.digest, token.expires_at)).collect();
        gone.sort_unstable();
        said.sort_unstable();
        // At a grant, expired tokens are dropped all together, once there are many grants.
        assert!(said == gone || (is_grant && said.is_empty()), "{said:?} {gone:?} {recorded:?}");

        for (token_id, ..) in said {
            assert!(self.held.remove(&token_id));
        }
        self.held.extend(issued.iter().map(|(_, (token_id, ..))| token_id));
        self.issued = expected.tokens.len();
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

fn effect_of(token: &Issued) -> (TokenId, SecretDigest, Timestamp) {
    let end = token.facts.expires_at.unwrap_or(Timestamp::from_micros(i64::MAX));
    (token.facts.token_id, token.digest, end)
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

/// A token counts exactly while its app is active, and it has neither ended nor expired. A refresh token is no bearer
/// token: what it is presented as is never looked for.
fn token_agrees(expected: &Expected, live: &Live, token: &Issued, now: Timestamp) {
    let is_valid = expected.is_valid(token, now);
    assert_eq!(live.is_valid(&token.digest, now), is_valid && token.is_access(), "{token:?} at {now}");
    let facts = is_valid.then(|| token.facts.clone());
    assert_eq!(live.token_by_id(&token.facts.token_id, now), facts);
    assert_eq!(live.token(&token.digest, now), facts.filter(|_| token.is_access()));
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
        match (&grant.code, granted.code) {
            (CodeState::Pending, Code::Pending) | (CodeState::Ended, Code::Ended) => {}
            (CodeState::Spent(_), Code::Spent) => {
                tokens_agree(expected, granted, grant, installed.changed_at);
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

/// Every token of a grant that is known must be there, and what is there has not ended.
fn tokens_agree(expected: &Expected, granted: &Granted, grant: &Grant, at: Timestamp) {
    let issued: Vec<_> = expected.tokens_of_grant(grant.grant_id).collect();
    let mut held: Vec<HeldToken<'_>> = grant.tokens().collect();
    for token in &issued {
        let found = held.iter().position(|held| held.token.token_id == token.facts.token_id);
        let Some(found) = found.map(|found| held.remove(found)) else {
            assert!(!expected.is_known(token, at), "missing: {token:?}");
            continue;
        };
        assert_eq!((found.token.digest, found.kind), (token.digest, token.facts.kind));
        assert_eq!(found.token.issued_at, token.facts.issued_at);
        assert_eq!(found.token.expires_at(), token.facts.expires_at);
        assert_eq!((found.scopes, found.resources), (&token.facts.scopes, &token.facts.resources));
    }
    assert!(held.is_empty(), "{held:?} is held and has ended");
    let Some(family) = grant.family() else {
        assert!(granted.family.is_none() || grant.tokens().next().is_none());
        return;
    };
    let begun = granted.family.as_ref().unwrap();
    assert_eq!((family.digest, family.ends_at()), (begun.family_digest, begun.ends_at));
    let spent = family.spent.map(|spent| (spent.digest, spent.at, spent.expires_at));
    let never = Timestamp::from_micros(i64::MAX);
    assert_eq!(spent, granted.spent.map(|(digest, at, end)| (digest, at, end.unwrap_or(never))));
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
        // What can be refreshed may be asked for all that was granted.
        && (grant.family().is_none() || grant.resources.to_vec() == event.resources)
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
            if let Event::Installation(InstallationEvent::TokenRefreshed(event)) = &recorded.event {
                let granted = follower.expected.grants.iter().find(|it| it.event.grant_id == event.grant_id);
                let granted = &granted.unwrap().event;
                *seen.entry("what came of a dead code is refreshed").or_default() +=
                    usize::from(follower.expected.is_born_dead(event.token_id));
                *seen.entry("a refresh drops an expired token").or_default() +=
                    usize::from(effects.ended.len() > 1);
                *seen.entry("a token may do less").or_default() +=
                    usize::from(event.scopes.len() < granted.scopes.len());
                *seen.entry("a token is for less").or_default() +=
                    usize::from(event.resources.len() != granted.resources.len());
            }
        }
        let expected = &follower.expected;
        *seen.entry("a token is born dead").or_default() += expected.born_dead.len();
        for now in expected.moments(history.latest()).into_iter().step_by(2) {
            let only_refresh = expected.installations(now).into_iter().filter(|facts| {
                facts.is_installed() && facts.tokens.iter().all(|token| token.kind == TokenKind::Refresh)
            });
            *seen.entry("an app is installed by a refresh token").or_default() += only_refresh.count();
            let expired = expected.tokens.iter().filter(|token| !token.is_there(now));
            *seen.entry("a refresh token expires before an access token").or_default() +=
                expired.filter(|token| expected.is_known(token, now)).count();
        }
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
