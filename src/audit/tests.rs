//! What was true then is what the fold of a ledger that ends there says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use grantbook_events::{AccountId, Event, Position, StreamKind, Timestamp, TokenId, UninstallReason};
use grantbook_projections::live::Live;
use proptest::prelude::*;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::decisions::{
    DeleteApp, ExchangeCode, GrantAccess, RefreshRules, ResumeApp, SuspendApp, TokenRules, UninstallApp,
};
use crate::ledger::tests::poison::foreign;
use crate::ledger::tests::simulation::history as random_history;
use crate::ledger::tests::{
    START, TestLedger, exchange, exchange_for_refresh, grant, installation, refresh, revoke,
};
use crate::ledger::{Ledger, Until, fold, read};
use crate::store::{Expected, MemoryStore, NewRecord, Record, Store};

const HOUR: Duration = Duration::from_secs(3600);

async fn kept(ledger: &Ledger) -> (Arc<History>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let history = History::start(ledger, dir.path().to_owned());
    (history, dir)
}

fn folded(records: &[Record]) -> Live {
    let live = Live::new();
    records.iter().for_each(|record| drop(fold(&live, record)));
    live
}

fn tokens_of(records: &[Record]) -> BTreeSet<TokenId> {
    let events = records.iter().filter_map(|record| read(record).ok());
    let issued = events.flat_map(|recorded| match recorded.event {
        Event::Installation(event) => event.issued_tokens(),
        Event::App(_) | Event::OperatorKey(_) | Event::Ledger(_) => Vec::new(),
    });
    issued.map(|(token_id, _)| token_id).collect()
}

/// What is asked of the past, held against a ledger that ends there.
async fn hold(past: &Past<'_>, cut: &[Record], as_of: Until, now: Timestamp, tokens: &BTreeSet<TokenId>) {
    let live = folded(cut);
    let end = cut.last().map_or(Position::START, |last| last.position);
    for account in ["acme", "globex", "nobody"] {
        let account: AccountId = account.parse().unwrap();
        let answer = past.account(&account, as_of).await.unwrap();
        assert_eq!((answer.as_of.position, answer.as_of.time), (end, now));
        let expected = live.installations_on_account(&account, 0, usize::MAX, now);
        assert_eq!(answer.items.len(), expected.len(), "{account} at {as_of:?}");
        for (then, facts) in answer.items.iter().zip(&expected) {
            assert_eq!(then.installation_id, facts.installation_id);
            assert_eq!(
                (then.installed, then.installed_since, then.ended_at, then.first_granted_at),
                (facts.is_installed(), facts.installed_since, facts.ended_at, facts.first_granted_at)
            );
            let expected: Vec<_> = facts.tokens.iter().map(TokenThen::from).collect();
            assert_eq!(then.tokens, expected);
            let expected: Vec<_> = facts.dormant.iter().map(TokenThen::from).collect();
            assert_eq!(then.dormant, expected);
        }
    }
    for token in tokens {
        let answer = past.token(*token, as_of).await.unwrap().unwrap();
        let is_valid = live.token_by_id(token, now).is_some();
        assert_eq!(answer.valid, is_valid, "{token} at {as_of:?}: {answer:?}");
        let is_issued = tokens_of(cut).contains(token);
        assert_eq!(answer.state == "not_issued", !is_issued, "{answer:?}");
        assert_eq!(answer.state == "valid", is_valid);
    }
}

#[tokio::test]
async fn as_of_is_a_ledger_that_ends_there() {
    for seed in 80..83 {
        let (ledger, store) = random_history(seed).await;
        let records = store.read_all(Position::START, usize::MAX).await.unwrap();
        let (history, _dir) = kept(&ledger).await;
        let (past, tokens) = (Past::new(&ledger, &history), tokens_of(&records));
        for end in (0..=records.len()).step_by(11) {
            let cut = &records[..end];
            let last = cut.last();
            let as_of = Until::Position(last.map_or(Position::START, |last| last.position));
            let now = last.map_or(Timestamp::EPOCH, |last| last.recorded_at);
            hold(&past, cut, as_of, now, &tokens).await;
        }
    }
}

/// The ledger with the recorded times of its events changed, so that times and positions are in different
/// orders.
async fn with_odd_clocks(records: &[Record], seconds: &[u64]) -> (TestLedger, Vec<Record>) {
    let store = MemoryStore::new(Uuid::from_u128(10));
    let (mut latest, mut of_apps) = (BTreeMap::new(), Timestamp::EPOCH);
    for (record, seconds) in records.iter().cloned().zip(seconds.iter().cycle()) {
        let expected = Expected::before(record.revision);
        let stream = record.stream.clone();
        // Time does not run back within a stream, and no access is granted to an app before its registration.
        let mut recorded_at = record.recorded_at.plus(Duration::from_secs(*seconds));
        recorded_at = recorded_at.max(latest.get(&stream).copied().unwrap_or(of_apps));
        latest.insert(stream.clone(), recorded_at);
        if record.type_name == "app-registered" {
            of_apps = of_apps.max(recorded_at);
        }
        let new = NewRecord { recorded_at, ..record.unplaced() };
        store.append(&stream, expected, vec![new]).await.unwrap();
    }
    let records = store.read_all(Position::START, usize::MAX).await.unwrap();
    (TestLedger::over(store as _).await, records)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn as_of_any_position_or_time_is_a_ledger_that_ends_there(
        seed in 0_u64..1000,
        seconds in prop::collection::vec(0_u64..20_000, 1..60),
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<bool>(), 0_u64..3), 1..12),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_, store) = random_history(seed).await;
            let all = store.read_all(Position::START, usize::MAX).await.unwrap();
            let (given, records) = with_odd_clocks(&all, &seconds).await;
            // No clock is behind what it recorded.
            given.clock.set(records.iter().map(|record| record.recorded_at).max().unwrap().plus(HOUR));
            let (history, _dir) = kept(&given.ledger).await;
            let (past, tokens) = (Past::new(&given.ledger, &history), tokens_of(&records));
            for (index, is_time, micros) in cuts {
                let at = index.index(records.len());
                let (as_of, cut, now) = if is_time {
                    // Just before an event, with it, and just after it.
                    let time = Timestamp::from_micros(records[at].recorded_at.as_micros() + micros as i64 - 1);
                    history.reached(given.ledger.live().position()).await.unwrap();
                    let until = Filter { until: Some(time), ..Filter::default() };
                    let listed = history.rows(until, Order::OldestFirst, 10_000).await.unwrap();
                    let cut: Vec<_> =
                        records.iter().filter(|record| record.recorded_at <= time).cloned().collect();
                    // What is listed up to a time is what counts as of that time.
                    assert!(listed.iter().map(|row| row.position).eq(cut.iter().map(|record| record.position)));
                    let as_of = past.cut(Until::Time(time)).await.unwrap();
                    let end = cut.last().map_or(0, |last| last.position.as_u64() as usize);
                    assert_eq!(as_of.out_of_order, end > cut.len());
                    (Until::Time(time), cut, time)
                } else {
                    (Until::Position(records[at].position), records[..=at].to_vec(), records[at].recorded_at)
                };
                hold(&past, &cut, as_of, now, &tokens).await;
            }
        });
    }
}

#[tokio::test]
async fn what_keeps_tokens_from_being_valid_is_said_in_words() {
    let (given, _) = some_hours().await;
    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    let (acme, app) = ("acme".parse().unwrap(), given.app().await);
    let granted = grant(app, &acme);
    given.settle(&granted).await.unwrap().unwrap();
    given.settle(&exchange(&granted)).await.unwrap().unwrap();
    let installed = past.account(&acme, Until::Head).await.unwrap().as_of.position;
    let of_app = |then: AccountThen| then.items.into_iter().find(|one| one.client_id == app).unwrap();
    let suspend = SuspendApp { client_id: app, reason: "under review".to_owned() };
    given.settle(&suspend).await.unwrap().unwrap();
    let then = of_app(past.account(&acme, Until::Head).await.unwrap());
    assert_eq!((then.installed, then.app_status), (false, "suspended"));
    assert_eq!(then.reason.as_deref(), Some("its app was suspended: under review"));
    let changes = past.changes(&acme, Until::Position(installed), Until::Head).await.unwrap();
    assert_eq!((changes.items.len(), changes.items[0].change), (1, "ended"));
    assert_eq!(changes.items[0].reason, then.reason);
    let before = of_app(past.account(&acme, Until::Position(installed)).await.unwrap());
    assert_eq!((before.installed, before.app_status, before.reason), (true, "active", None));

    // An event that nobody understands.
    let installation_id = installation(app, &acme);
    let stream = StreamKind::Installation(installation_id).into();
    let expected = Expected::Exactly(grantbook_events::Revision::new(1));
    given.ledger.store().append(&stream, expected, vec![foreign()]).await.unwrap();
    given.ledger.caught_up().await.unwrap();
    let head = given.ledger.store().head().await.unwrap().position;
    history.reached(head).await.unwrap();
    let then = of_app(past.account(&acme, Until::Time(given.ledger.now())).await.unwrap());
    assert!(!then.installed && then.quarantined.is_some());
    assert!(then.reason.as_ref().unwrap().starts_with("nothing was known of it: "), "{:?}", then.reason);
}

#[tokio::test]
async fn the_history_knows_which_installations_there_were() {
    let (given, records) = some_hours().await;
    let (history, _dir) = kept(&given.ledger).await;
    history.reached(given.ledger.live().position()).await.unwrap();
    let acme: AccountId = "acme".parse().unwrap();
    for record in &records {
        let cut: Vec<_> = records.iter().filter(|one| one.position <= record.position).cloned().collect();
        let known = folded(&cut).installations_on_account(&acme, 0, usize::MAX, given.ledger.now());
        let expected: BTreeSet<_> =
            known.iter().map(|facts| (facts.installation_id, Some(facts.client_id))).collect();
        let found = history.installations_on(acme.clone(), record.position).await.unwrap();
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
}

/// A ledger over some hours, with tokens that expire, an uninstall, a suspension, replays, and tokens that are refreshed.
async fn some_hours() -> (TestLedger, Vec<Record>) {
    let store = MemoryStore::new(Uuid::from_u128(9));
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let apps = [given.app().await, given.app().await];
    let mut hour = 0;
    for account in ["acme", "globex"] {
        let account: AccountId = account.parse().unwrap();
        for app in apps {
            for lifetime in [None, Some(HOUR + HOUR / 2)] {
                hour += 1;
                given.clock.set(START.plus(HOUR * hour));
                let granted = grant(app, &account);
                given.settle(&granted).await.unwrap().unwrap();
                let rules = TokenRules { lifetime, refresh: None, max_live_per_user: 10 };
                let exchanged = crate::decisions::ExchangeCode { rules, ..exchange(&granted) };
                given.settle(&exchanged).await.unwrap().unwrap();
                if lifetime.is_none() && app == apps[1] {
                    // A stolen code.
                    given.settle(&exchange(&granted)).await.unwrap().unwrap_err();
                } else if lifetime.is_none() && account.as_str() == "globex" {
                    given
                        .settle(&revoke(exchanged.installation_id, exchanged.token_id))
                        .await
                        .unwrap()
                        .unwrap();
                }
            }
        }
        hour += 2;
        given.clock.set(START.plus(HOUR * (hour - 1)));
        let [refreshed, left] = apps.map(|app| grant(app, &account));
        let (refreshed, left) = (family(&given, &refreshed).await, family(&given, &left).await);
        given.clock.set(START.plus(HOUR * (hour - 1) + HOUR / 3));
        let next = refresh(&refreshed, refreshed.refresh);
        given.settle(&next).await.unwrap().unwrap();
        given.settle(&refresh(&left, left.refresh)).await.unwrap().unwrap();
        given.clock.set(START.plus(HOUR * (hour - 1) + HOUR / 2));
        if account.as_str() == "acme" {
            // A stolen refresh token.
            given.settle(&refresh(&refreshed, refreshed.refresh)).await.unwrap().unwrap_err();
        } else {
            let revoke = revoke(refreshed.installation_id, next.refresh.token_id);
            given.settle(&revoke).await.unwrap().unwrap();
        }
        given.clock.set(START.plus(HOUR * hour));
        let installation_id = installation(apps[0], &account);
        let uninstall = UninstallApp { installation_id, reason: UninstallReason::User, note: None };
        given.settle(&uninstall).await.unwrap().unwrap();
        let reason = "review".to_owned();
        given.settle(&SuspendApp { client_id: apps[1], reason: reason.clone() }).await.unwrap().unwrap();
        given.clock.set(START.plus(HOUR * hour + HOUR / 3));
        given.settle(&ResumeApp { client_id: apps[1], reason }).await.unwrap().unwrap();
    }
    let records = store.read_all(Position::START, usize::MAX).await.unwrap();
    (given, records)
}

/// An approval with an access token for an hour, and with a refresh token that ends unused after an hour and a half.
async fn family(given: &TestLedger, granted: &GrantAccess) -> ExchangeCode {
    given.settle(granted).await.unwrap().unwrap();
    let mut exchanged = exchange_for_refresh(granted);
    exchanged.rules.refresh = Some(RefreshRules { idle: Some(HOUR + HOUR / 2), lifetime: None });
    given.settle(&exchanged).await.unwrap().unwrap();
    exchanged
}

#[tokio::test]
async fn as_of_a_time_is_the_ledger_as_it_stood_then_with_what_had_expired() {
    let (given, records) = some_hours().await;
    let (history, _dir) = kept(&given.ledger).await;
    let (past, tokens) = (Past::new(&given.ledger, &history), tokens_of(&records));
    let mut states = BTreeSet::new();
    given.clock.set(START.plus(HOUR * 15));
    for quarter in 0..60 {
        let time = START.plus(HOUR * quarter / 4);
        let cut = &records[..records.partition_point(|record| record.recorded_at <= time)];
        hold(&past, cut, Until::Time(time), time, &tokens).await;
        for token in &tokens {
            states.insert(past.token(*token, Until::Time(time)).await.unwrap().unwrap().state);
        }
    }
    let every: Vec<_> = states.into_iter().collect();
    assert_eq!(every, ["app_inactive", "ended", "expired", "not_issued", "valid"]);
}

#[tokio::test]
async fn a_token_that_was_not_valid_says_why() {
    let (given, records) = some_hours().await;
    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    let mut said = BTreeSet::new();
    for token in tokens_of(&records) {
        let answer = past.token(token, Until::Head).await.unwrap().unwrap();
        for words in [
            "The spent code of grant",
            "A spent refresh token of grant",
            "Refresh token ",
            "Token ",
            "Grant ",
            "was uninstalled by",
            "had expired at",
        ] {
            if answer.why.contains(words) {
                said.insert(words);
                assert_eq!(answer.event.is_some(), answer.state == "ended", "{answer:?}");
            }
        }
        assert_eq!(answer.user_id.unwrap().as_str(), "ana");
        let told = token_timeline(&given.ledger, answer.installation_id, token).await.unwrap();
        let sentences: Vec<_> = told.iter().map(|moment| moment.sentence.as_str()).collect();
        assert!(sentences[0].contains("was registered by"), "{sentences:?}");
        let issues =
            [format!("for token {token} of user ana"), format!("; and for refresh token {token}, good")];
        let issued = sentences.iter().filter(|said| issues.iter().any(|words| said.contains(words)));
        assert_eq!(issued.count(), 1, "{sentences:?}");
        assert_eq!(sentences.iter().filter(|said| said.starts_with("Access to")).count(), 1, "{sentences:?}");
        if let Some(event) = answer.event {
            assert!(told.iter().any(|moment| moment.event_id == event.event_id), "{sentences:?}");
        }
    }
    assert_eq!(said.len(), 7, "{said:?}");
    assert!(past.token(crate::secrets::new_token_id(START), Until::Head).await.unwrap().is_none());
}

/// Each sentence of a grant that is refreshed, as people read it.
#[tokio::test]
async fn r2_r3_the_story_of_a_refresh_token_is_told_in_words() {
    let given = TestLedger::over(MemoryStore::new(Uuid::from_u128(12)) as _).await;
    let (app, acme) = (given.app().await, "acme".parse().unwrap());
    let granted = grant(app, &acme);
    let exchanged = family(&given, &granted).await;
    given.clock.set(START.plus(HOUR));
    let next = refresh(&exchanged, exchanged.refresh);
    given.settle(&next).await.unwrap().unwrap();
    given.settle(&refresh(&exchanged, exchanged.refresh)).await.unwrap().unwrap_err();
    let (grant_id, [first, second]) =
        (granted.grant_id, [&exchanged.refresh, &next.refresh].map(|it| it.token_id));
    let [access, renewed] = [exchanged.token_id, next.token_id];
    let after = |hours: u32| START.plus(HOUR * hours / 2);
    let by = "by grantbook (test)";
    let told = timeline(&given.ledger, exchanged.installation_id).await.unwrap().unwrap();
    let sentences: Vec<_> = told.iter().map(|moment| moment.sentence.as_str()).collect();
    assert_eq!(
        sentences[2..],
        [
            format!(
                "The code of grant {grant_id} was exchanged {by} without a secret, for token {access} of user ana with \
                 scope faqs, good until {}; and for refresh token {first}, good until {}. The app is installed.",
                after(2),
                after(3)
            ),
            format!(
                "Refresh token {first} of grant {grant_id} was used {by} without a secret, for token {renewed} of user \
                 ana with scope faqs, good until {}; and for refresh token {second}, good until {}.",
                after(4),
                after(5)
            ),
            format!(
                "A spent refresh token of grant {grant_id} was presented once more {by}, as a stolen one would be: \
                 tokens {renewed}, {second} ended. No token is left: the app is not installed any more."
            ),
        ]
    );

    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    let asked = async |token, at: u64| {
        let answer = past.token(token, Until::Position(Position::new(at))).await.unwrap().unwrap();
        (answer.state, answer.why, answer.event.map(|event| event.position.as_u64()))
    };
    assert_eq!(asked(first, 2).await.0, "not_issued");
    assert_eq!((asked(first, 3).await.0, asked(first, 3).await.2), ("valid", Some(3)));
    let (state, why, event) = asked(first, 4).await;
    assert_eq!((state, event), ("ended", Some(4)));
    assert_eq!(why, sentences[3]);
    for token in [second, renewed] {
        assert_eq!(asked(token, 3).await.0, "not_issued");
        assert_eq!((asked(token, 4).await.0, asked(token, 4).await.2), ("valid", Some(4)));
        assert_eq!((asked(token, 5).await.0, asked(token, 5).await.2), ("ended", Some(5)));
    }
    let (state, why, _) = asked(access, 4).await;
    assert_eq!((state, why), ("expired", format!("It had expired at {}.", after(2))));

    let of = async |token| {
        let told = token_timeline(&given.ledger, exchanged.installation_id, token).await.unwrap();
        told.iter().map(|moment| moment.position.as_u64()).collect::<Vec<_>>()
    };
    // The registration, the approval, the issue and the end; and that one of the grant's came back.
    assert_eq!(of(first).await, [1, 2, 3, 4, 5]);
    assert_eq!(of(access).await, [1, 2, 3, 5]);
    assert_eq!((of(second).await, of(renewed).await), (vec![1, 2, 4, 5], vec![1, 2, 4, 5]));
}

/// An app whose access token expired is installed by its refresh token, then as now (R6); and a difference says so.
#[tokio::test]
async fn r6_as_of_a_time_an_app_is_installed_by_its_refresh_token() {
    let given = TestLedger::over(MemoryStore::new(Uuid::from_u128(13)) as _).await;
    let (app, acme): (_, AccountId) = (given.app().await, "acme".parse().unwrap());
    let exchanged = family(&given, &grant(app, &acme)).await;
    given.clock.set(START.plus(HOUR * 2));
    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    for (minutes, installed, tokens) in [(59, true, 2), (60, true, 1), (89, true, 1), (90, false, 0)] {
        let time = START.plus(HOUR * minutes / 60);
        let then = past.account(&acme, Until::Time(time)).await.unwrap().items.remove(0);
        assert_eq!((then.installed, then.tokens.len()), (installed, tokens), "after {minutes} minutes");
        assert_eq!(then.installed_since, Some(START).filter(|_| installed));
        assert_eq!(then.ended_at, Some(time).filter(|_| !installed));
        assert_eq!(then.scopes.is_empty(), !installed);
    }
    let at = |minutes: u32| Until::Time(START.plus(HOUR * minutes / 60));
    let changes = past.changes(&acme, at(59), at(60)).await.unwrap().items;
    assert_eq!(
        (changes[0].change, changes[0].tokens_ended.as_slice()),
        ("changed", &[exchanged.token_id][..])
    );
    assert!(changes[0].scopes_removed.is_empty());
    assert_eq!(past.changes(&acme, at(60), at(90)).await.unwrap().items[0].change, "ended");
}

#[tokio::test]
async fn a_token_of_an_app_that_was_not_active_names_the_event_that_made_it_so() {
    let given = TestLedger::over(MemoryStore::new(Uuid::from_u128(11)) as _).await;
    let (app, acme) = (given.app().await, "acme".parse().unwrap());
    let granted = grant(app, &acme);
    let exchanged = exchange(&granted);
    given.settle(&granted).await.unwrap().unwrap();
    given.settle(&exchanged).await.unwrap().unwrap();
    let suspend = |reason: &str| SuspendApp { client_id: app, reason: reason.to_owned() };
    given.settle(&suspend("one")).await.unwrap().unwrap();
    given.settle(&ResumeApp { client_id: app, reason: "well".to_owned() }).await.unwrap().unwrap();
    given.settle(&suspend("two")).await.unwrap().unwrap();
    given.settle(&DeleteApp { client_id: app, reason: "gone".to_owned() }).await.unwrap().unwrap();
    let stream = StreamKind::App(app).into();
    let expected = Expected::Exactly(grantbook_events::Revision::new(4));
    given.ledger.store().append(&stream, expected, vec![foreign()]).await.unwrap();
    given.ledger.caught_up().await.unwrap();

    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    for (at, state, words, named) in [
        (4, "app_inactive", "suspended: one", Some(4)),
        (5, "valid", "its app was active", Some(3)),
        (6, "app_inactive", "suspended: two", Some(6)),
        (7, "app_inactive", "deleted: gone", Some(7)),
        // What nobody understands is no suspension.
        (8, "app_inactive", "Nothing was known of its app", None),
    ] {
        let as_of = Until::Position(Position::new(at));
        let answer = past.token(exchanged.token_id, as_of).await.unwrap().unwrap();
        assert_eq!(answer.state, state, "{answer:?}");
        assert!(answer.why.contains(words), "{answer:?}");
        assert_eq!(answer.event.as_ref().map(|event| event.position), named.map(Position::new), "{answer:?}");
        let records = given.ledger.store().read_all(Position::START, usize::MAX).await.unwrap();
        if let Some(event) = answer.event {
            let record = &records[event.position.as_u64() as usize - 1];
            assert_eq!((event.event_id, event.recorded_at), (record.event_id, record.recorded_at));
        }
    }
}

#[tokio::test]
async fn what_changed_is_the_difference_of_two_answers() {
    let (given, records) = some_hours().await;
    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    let account: AccountId = "acme".parse().unwrap();
    let mut kinds = BTreeSet::new();
    for from in (0..records.len()).step_by(3) {
        for to in (0..records.len()).step_by(4) {
            let is_backwards = from > to;
            let [from, to] = [from, to].map(|at| Until::Position(records[at].position));
            let changes = past.changes(&account, from, to).await;
            if is_backwards {
                assert!(matches!(changes, Err(AuditError::Backwards { .. })), "{changes:?}");
                continue;
            }
            let changes = changes.unwrap();
            let (before, after) =
                (past.account(&account, from).await.unwrap(), past.account(&account, to).await.unwrap());
            let tokens = |then: &AccountThen| -> BTreeSet<TokenId> {
                then.items.iter().flat_map(|one| &one.tokens).map(|token| token.token_id).collect()
            };
            let added: BTreeSet<_> = changes.items.iter().flat_map(|one| one.tokens_added.clone()).collect();
            let ended: BTreeSet<_> = changes.items.iter().flat_map(|one| one.tokens_ended.clone()).collect();
            assert_eq!(added, tokens(&after).difference(&tokens(&before)).copied().collect());
            assert_eq!(ended, tokens(&before).difference(&tokens(&after)).copied().collect());
            kinds.extend(changes.items.iter().map(|one| one.change));
        }
    }
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), ["changed", "ended", "installed"]);
}

#[tokio::test]
async fn a_position_beyond_the_end_and_a_time_to_come_are_refused() {
    let (given, records) = some_hours().await;
    let (history, _dir) = kept(&given.ledger).await;
    let past = Past::new(&given.ledger, &history);
    let end = records[records.len() - 1].position;
    let refused = past.cut(Until::Position(Position::new(end.as_u64() + 1))).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!("the ledger ends at position {end}, before {}", end.as_u64() + 1)
    );
    let now = given.ledger.now();
    assert_eq!(
        past.cut(Until::Time(now)).await.unwrap(),
        Cut { position: end, time: now, out_of_order: false }
    );
    let later = now.plus(Duration::from_micros(1));
    let said = format!("{later} is still to come: it is {now} now, and the ledger ends at position {end}");
    assert_eq!(past.cut(Until::Time(later)).await.unwrap_err().to_string(), said);
    // One end is enough, of whichever question.
    let (acme, token) = ("acme".parse().unwrap(), tokens_of(&records).pop_first().unwrap());
    let (past_of, to_come) = (Until::Position(end), Until::Time(later));
    for refused in [
        past.account(&acme, to_come).await.err(),
        past.token(token, to_come).await.err(),
        past.changes(&acme, to_come, past_of).await.err(),
        past.changes(&acme, past_of, to_come).await.err(),
    ] {
        assert_eq!(refused.unwrap().to_string(), said);
    }
    given.clock.set(later);
    assert!(past.cut(to_come).await.is_ok());
}
