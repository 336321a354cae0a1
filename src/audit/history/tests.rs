//! The history has a row an event, whatever happens to its file; and a page neither repeats nor misses one.

mod damage;

use std::collections::BTreeSet;
use std::fs;

use grantbook_events::{AccountId, ClientId, Revision};
use proptest::prelude::*;
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::ledger::tests::poison::foreign;
use crate::ledger::tests::simulation::history as random_history;
use crate::ledger::tests::{TestLedger, exchange, grant, revoke};
use crate::store::{Expected, MemoryStore, NewRecord, Record};

async fn records(store: &MemoryStore) -> Vec<Record> {
    store.read_all(Position::START, usize::MAX).await.unwrap()
}

/// The rows of a ledger, made in memory.
fn expected(records: &[Record]) -> Vec<HistoryRow> {
    records.iter().map(|record| row_of(record, &crate::ledger::read(record))).collect()
}

async fn kept(store: &Arc<MemoryStore>, dir: &TempDir) -> Arc<History> {
    let history = History::of(Arc::clone(store) as _, dir.path().to_owned());
    history.reached(store.head().await.unwrap().position).await.unwrap();
    history
}

impl History {
    /// Changes the file as a fault would.
    fn tamper(&self, sql: &str) {
        self.current.writer.lock().as_mut().unwrap().conn.execute_batch(sql).unwrap();
    }
}

async fn every_row(history: &History) -> Vec<HistoryRow> {
    history.rows(Filter::default(), Order::OldestFirst, usize::MAX).await.unwrap()
}

fn sum(rows: &[HistoryRow]) -> StateDigest {
    let mut sum = StateDigest::default();
    rows.iter().for_each(|row| sum.merge(digest_of(row)));
    sum
}

/// A ledger that goes on: the first records of another.
async fn prefix_of(records: &[Record]) -> Arc<MemoryStore> {
    let store = MemoryStore::new(Uuid::from_u128(5));
    append(&store, records).await;
    store
}

async fn append(store: &MemoryStore, records: &[Record]) {
    for record in records.iter().cloned() {
        let expected = Expected::before(record.revision);
        let stream = record.stream.clone();
        let new = record.unplaced();
        store.append(&stream, expected, vec![new]).await.unwrap();
    }
}

#[tokio::test]
async fn it_has_the_row_of_every_event_also_if_it_stopped_on_the_way() {
    for seed in 60..64 {
        let (_, other) = random_history(seed).await;
        let all = records(&other).await;
        let dir = tempfile::tempdir().unwrap();
        let store = prefix_of(&all[..all.len() / 3]).await;
        let history = kept(&store, &dir).await;
        history.close().await;
        append(&store, &all[all.len() / 3..]).await;
        let history = kept(&store, &dir).await;
        let rows = every_row(&history).await;
        let expected = expected(&records(&store).await);
        assert_eq!(rows, expected, "seed {seed}");
        assert_eq!(history.digest_at().await.unwrap(), (rows[rows.len() - 1].position, sum(&expected)));
        assert!(rows.iter().any(|row| row.event_type == "token-revoked" && row.user_id.is_some()));
        history.close().await;
    }
}

#[tokio::test]
async fn an_event_that_cannot_be_read_has_a_row_that_says_so() {
    let (store, dir) = (MemoryStore::new(Uuid::from_u128(6)), tempfile::tempdir().unwrap());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let granted = grant(given.app().await, &"acme".parse().unwrap());
    given.settle(&granted).await.unwrap().unwrap();
    let stream = store.read_all(Position::new(1), 1).await.unwrap()[0].stream.clone();
    let known =
        r#"{"client_id":"019a000000007000800000000000000f","account_id":"acme","user_id":"alice","since":7}"#;
    let says_more = NewRecord { payload: known.to_owned(), ..foreign() };
    let unread = vec![foreign(), says_more];
    store.append(&stream, Expected::Exactly(Revision::FIRST), unread).await.unwrap();
    let history = kept(&store, &dir).await;
    let rows = every_row(&history).await;
    let (last, says_more) = (&rows[2], &rows[3]);
    assert_eq!(says_more.client_id.unwrap().to_string(), "019a000000007000800000000000000f");
    assert_eq!(says_more.account_id.as_ref().unwrap().as_str(), "acme");
    assert_eq!(says_more.user_id.as_ref().unwrap().as_str(), "alice");
    assert_eq!(says_more.installation_id, last.installation_id);
    assert_eq!((last.event_type.as_str(), &last.actor), ("app-teleported", &None));
    assert!(last.installation_id.is_some() && last.account_id.is_none(), "only its stream is known");
    assert!(last.reason.as_ref().unwrap().starts_with("cannot be read: event type"), "{:?}", last.reason);
    assert_eq!(rows, expected(&records(&store).await));
}

#[tokio::test]
async fn what_an_earlier_grantbook_could_not_read_is_read_when_it_can_be() {
    let (_, store) = random_history(71).await;
    let dir = tempfile::tempdir().unwrap();
    let last = records(&store).await.pop().unwrap();
    store.append(&last.stream, Expected::Exactly(last.revision), vec![foreign()]).await.unwrap();
    let history = kept(&store, &dir).await;
    let rows = every_row(&history).await;
    history.close().await;
    drop(history);
    // Nothing can be read that could not: the file is kept.
    kept(&store, &dir).await.close().await;
    // One that could not read another event.
    let dir = tempfile::tempdir().unwrap();
    let (_, mut writer) = file::open(dir.path(), store.head().await.unwrap().identity).unwrap();
    let unread = |row: &HistoryRow| match row.position.as_u64() {
        9 => HistoryRow {
            actor: None,
            reason: Some("cannot be read: it is of tomorrow".into()),
            ..row.clone()
        },
        _ => row.clone(),
    };
    writer.insert(rows.iter().map(unread)).unwrap();
    drop(writer);
    let history = kept(&store, &dir).await;
    assert!(!dir.path().join("history-1.db").exists() && dir.path().join("history-2.db").exists());
    assert_eq!(every_row(&history).await, rows);
    assert!(rows.last().unwrap().reason.as_deref().unwrap().starts_with("cannot be read: "));
}

#[tokio::test]
async fn a_user_is_led_to_what_ended_one_of_their_tokens() {
    let (_, store) = random_history(76).await;
    let dir = tempfile::tempdir().unwrap();
    let history = kept(&store, &dir).await;
    let rows = every_row(&history).await;
    let mut seen = BTreeSet::new();
    for ended in rows.iter().filter(|row| !row.token_ids.is_empty() && row.event_type != "code-exchanged") {
        // What issued it, before which nothing names it.
        let token = Filter { token: ended.token_ids.first().copied(), ..Filter::default() };
        let issued = history.rows(token, Order::OldestFirst, 1).await.unwrap().remove(0);
        let of_user = Filter {
            user: issued.user_id.clone(),
            installation: ended.installation_id.filter(|_| ended.position.as_u64().is_multiple_of(2)),
            ..Filter::default()
        };
        let found = history.rows(of_user, Order::NewestFirst, 10_000).await.unwrap();
        assert!(found.contains(ended), "{ended:?}");
        assert_ne!(issued.position, ended.position);
        if ended.event_type != "app-uninstalled" {
            assert_eq!(ended.user_id, issued.user_id);
        }
        seen.insert(ended.event_type.clone());
    }
    assert!(seen.len() >= 5, "{seen:?}");
}

/// What a filter lets through, row by row.
fn passes(filter: &Filter, row: &HistoryRow) -> bool {
    fn is<T: PartialEq>(wanted: Option<&T>, has: Option<&T>) -> bool {
        wanted.is_none_or(|wanted| Some(wanted) == has)
    }
    filter.token.is_none_or(|token| row.token_ids.contains(&token))
        && is(filter.installation.as_ref(), row.installation_id.as_ref())
        && filter.user.as_ref().is_none_or(|user| row.users().any(|about| about == user))
        && is::<AccountId>(filter.account.as_ref(), row.account_id.as_ref())
        && is::<ClientId>(filter.app.as_ref(), row.client_id.as_ref())
        && is(filter.actor.as_ref(), row.actor.as_ref().map(|actor| &actor.id))
        && is(filter.reason.as_ref(), row.reason.as_ref())
        && is(filter.event_type.as_ref(), Some(&row.event_type))
        && filter.since.is_none_or(|since| row.recorded_at >= since)
        && filter.until.is_none_or(|until| row.recorded_at <= until)
        && filter.after.is_none_or(|after| row.position > after)
        && filter.before.is_none_or(|before| row.position < before)
        && filter.up_to.is_none_or(|last| row.position <= last)
}

/// A ledger whose clocks disagree, so that times and positions are not in one order.
async fn with_odd_clocks() -> (Arc<MemoryStore>, TempDir, Arc<History>) {
    let (_, other) = random_history(70).await;
    let mut all = records(&other).await;
    let seconds = |at: usize| std::time::Duration::from_secs((at * 37 % 101) as u64);
    for (at, record) in all.iter_mut().enumerate() {
        record.recorded_at = record.recorded_at.plus(seconds(at));
    }
    let (store, dir) = (prefix_of(&all).await, tempfile::tempdir().unwrap());
    let history = kept(&store, &dir).await;
    (store, dir, history)
}

#[tokio::test]
async fn a_filter_lets_through_what_it_says_in_both_orders() {
    let (_store, _dir, history) = with_odd_clocks().await;
    let rows = every_row(&history).await;
    let mut seen = BTreeSet::new();
    for (number, row) in rows.iter().enumerate() {
        let mut filter = Filter::default();
        let other = &rows[(number * 7 + 5) % rows.len()];
        let pick = |bit: usize| (number + 1) & (1 << bit) != 0;
        if pick(0) {
            filter.account.clone_from(&row.account_id);
        }
        if pick(1) {
            filter.event_type = Some(row.event_type.clone());
        }
        if pick(2) {
            filter.since = Some(other.recorded_at);
        }
        if pick(3) {
            filter.app = row.client_id;
            filter.token = row.token_ids.first().copied();
        }
        if pick(4) {
            filter.until = Some(row.recorded_at);
            filter.user = row.users().next().cloned();
        }
        if pick(5) {
            filter.actor = row.actor.as_ref().map(|actor| actor.id.clone());
            filter.reason.clone_from(&row.reason);
            filter.installation = row.installation_id;
            filter.after = Some(other.position);
        }
        let expected: Vec<_> = rows.iter().filter(|row| passes(&filter, row)).cloned().collect();
        let oldest = history.rows(filter.clone(), Order::OldestFirst, 10_000).await.unwrap();
        assert_eq!(oldest, expected, "{filter:?}");
        let mut newest = history.rows(filter.clone(), Order::NewestFirst, 10_000).await.unwrap();
        newest.reverse();
        assert_eq!(newest, expected, "{filter:?}");
        seen.insert(expected.len().min(3));
    }
    assert_eq!(seen.len(), 4, "filters that let nothing, little and much through: {seen:?}");
}

#[tokio::test]
async fn as_of_a_time_the_last_event_that_counts_is_known_and_whether_others_before_it_do_not() {
    let (_store, _dir, history) = with_odd_clocks().await;
    let rows = every_row(&history).await;
    for row in &rows {
        for time in [row.recorded_at, Timestamp::from_micros(row.recorded_at.as_micros() - 1)] {
            let first_later = history.ask(move |reader| reader.last_until(time)).await.unwrap();
            assert_eq!(first_later, rows_until(&rows, time));
            let end = rows[rows.len() - 1].position;
            let (last, out_of_order) = history.recorded_until(time, end).await.unwrap();
            let counts = |row: &&HistoryRow| row.recorded_at <= time;
            let expected = rows.iter().rfind(counts).map_or(Position::START, |row| row.position);
            assert_eq!((last, out_of_order), (expected, first_later < expected));
        }
    }
}

#[tokio::test]
async fn behind_the_last_row_as_early_as_a_time_is_none_whatever_clocks_did() {
    let (_store, _dir, history) = with_odd_clocks().await;
    let rows = every_row(&history).await;
    let mut late = 0;
    for row in &rows {
        for time in [row.recorded_at, Timestamp::from_micros(row.recorded_at.as_micros() - 1)] {
            let bound = history.ask(move |reader| reader.last_as_early(time)).await.unwrap();
            let last = rows.iter().rfind(|row| row.recorded_at <= time);
            assert!(last.is_none_or(|last| last.position <= bound), "{time}: {bound}");
            // What a cut at that time would leave out.
            late += u32::from(last.is_some_and(|last| last.position > rows_until(&rows, time)));
            let newest = Filter { until: Some(time), ..Filter::default() };
            let found = history.rows(newest, Order::NewestFirst, 1).await.unwrap();
            assert_eq!(found.first(), last);
        }
    }
    assert!(late > 10, "{late}");
}

/// The last position before the first row that was recorded later.
fn rows_until(rows: &[HistoryRow], time: Timestamp) -> Position {
    let before = rows.iter().take_while(|row| row.recorded_at <= time);
    before.last().map_or(Position::START, |row| row.position)
}

#[tokio::test]
async fn an_old_time_leads_to_the_rows_of_that_time() {
    let (_, store) = random_history(73).await;
    let dir = tempfile::tempdir().unwrap();
    let history = kept(&store, &dir).await;
    let rows = every_row(&history).await;
    let early = rows[rows.len() / 10].recorded_at;
    let bound = history.ask(move |reader| reader.last_as_early(early)).await.unwrap();
    assert_eq!(bound, rows_until(&rows, early), "where no clock was behind, nothing is looked at in vain");
}

#[tokio::test]
async fn a_file_that_is_of_no_use_is_built_anew() {
    let (_, store) = random_history(71).await;
    let all = records(&store).await;
    let dir = tempfile::tempdir().unwrap();
    kept(&store, &dir).await.close().await;
    let path = |generation: u32| dir.path().join(format!("history-{generation}.db"));
    let change =
        |path: &std::path::Path, sql: &str| Connection::open(path).unwrap().execute_batch(sql).unwrap();
    let ways: [&dyn Fn(&std::path::Path); 4] = [
        &|path| change(path, "PRAGMA user_version = 99"),
        &|path| change(path, "UPDATE state SET ledger = x'00112233445566778899aabbccddeeff'"),
        &|path| change(path, "UPDATE state SET event_id = x'00112233445566778899aabbccddeeff'"),
        &|path| fs::write(path, "nothing of the kind").unwrap(),
    ];
    for (way, spoil) in (1..).zip(ways) {
        assert!(path(way).exists());
        spoil(&path(way));
        let history = kept(&store, &dir).await;
        assert_eq!(every_row(&history).await, expected(&all), "way {way}");
        history.close().await;
        assert!(!path(way).exists() && path(way + 1).exists(), "way {way}");
    }
}

#[tokio::test]
async fn a_rebuild_repairs_what_was_wrong_and_says_so() {
    let (_, store) = random_history(72).await;
    let all = records(&store).await;
    let dir = tempfile::tempdir().unwrap();
    let history = kept(&store, &dir).await;
    let mut told = Vec::new();
    let rebuilt = history.rebuild(|events, position| {
        told.push((events, position));
        true
    });
    assert_eq!(rebuilt.await.unwrap(), Rebuilt::Same);
    assert_eq!(told.last(), Some(&(all.len() as u64, all[all.len() - 1].position)));
    for spoil in [
        "DELETE FROM events WHERE position = 9",
        "UPDATE events SET row = (SELECT row FROM events WHERE position = 8) WHERE position = 9",
        "UPDATE events SET latest_at = 0 WHERE position = 9",
        "DELETE FROM keys",
        "UPDATE state SET most_behind = 7",
        "UPDATE state SET event_id = NULL",
        "UPDATE state SET event_id = zeroblob(16)",
        "UPDATE events SET row = x'ff' WHERE position = 9",
        "CREATE INDEX by_time ON events (recorded_at)",
        "DROP TABLE keys",
    ] {
        history.tamper(spoil);
        assert_eq!(history.rebuild(|_, _| true).await.unwrap(), Rebuilt::Repaired);
        assert_eq!(every_row(&history).await, expected(&all));
    }
    // It goes on with what is recorded from here on.
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    given.app().await;
    history.reached(store.head().await.unwrap().position).await.unwrap();
    assert_eq!(every_row(&history).await, expected(&records(&store).await));
    let files =
        fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = files.filter(|name| name.ends_with(".db") || name.contains("building")).collect();
    assert_eq!(left, ["history-12.db"]);
}

#[tokio::test]
async fn a_rebuild_that_is_called_off_or_cut_short_changes_nothing() {
    let (_, store) = random_history(73).await;
    let dir = tempfile::tempdir().unwrap();
    let history = kept(&store, &dir).await;
    assert_eq!(history.rebuild(|_, _| false).await.unwrap(), Rebuilt::Cancelled);
    assert!(!dir.path().join("history.building").exists());
    history.close().await;
    // What a killed process leaves: a file that is not whole, and one that was replaced but not removed.
    fs::write(dir.path().join("history.building"), "half").unwrap();
    fs::copy(dir.path().join("history-1.db"), dir.path().join("history-2.db")).unwrap();
    let history = kept(&store, &dir).await;
    assert_eq!(every_row(&history).await, expected(&records(&store).await));
    assert!(!dir.path().join("history.building").exists() && !dir.path().join("history-1.db").exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_follows_while_it_is_rebuilt() {
    let (store, dir) = (MemoryStore::new(Uuid::from_u128(8)), tempfile::tempdir().unwrap());
    let given = Arc::new(TestLedger::over(Arc::clone(&store) as _).await);
    let app = given.app().await;
    let history = kept(&store, &dir).await;
    for round in 0..3 {
        let given = Arc::clone(&given);
        let busy = tokio::spawn(async move {
            for n in 0..150 {
                let granted = grant(app, &format!("a-{round}-{n}").parse().unwrap());
                let exchanged = exchange(&granted);
                given.settle(&granted).await.unwrap().unwrap();
                given.settle(&exchanged).await.unwrap().unwrap();
                given.settle(&revoke(exchanged.installation_id, exchanged.token_id)).await.unwrap().unwrap();
            }
        });
        assert_eq!(history.rebuild(|_, _| true).await.unwrap(), Rebuilt::Same);
        busy.await.unwrap();
    }
    history.reached(store.head().await.unwrap().position).await.unwrap();
    assert_eq!(every_row(&history).await, expected(&records(&store).await));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// A stream may be cut into any batches.
    #[test]
    fn batches_make_no_difference(seed in 0_u64..1000, sizes in prop::collection::vec(1_usize..60, 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (_, store) = random_history(seed).await;
            let all = records(&store).await;
            let dir = tempfile::tempdir().unwrap();
            let (file, mut writer) = file::open(dir.path(), Uuid::from_u128(1)).unwrap();
            let (mut rest, mut sizes) = (&all[..], sizes.iter().cycle());
            while !rest.is_empty() {
                let (batch, left) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
                writer.insert(expected(batch)).unwrap();
                // What comes again is skipped.
                writer.insert(expected(batch)).unwrap();
                rest = left;
            }
            let all_rows = |reader: &HistoryReader| reader.rows(&Filter::default(), Order::OldestFirst, 10_000);
            let rows = file.read(all_rows).unwrap();
            assert_eq!(rows, expected(&all));
        });
    }
}

/// No number that an auditor can write is a negative one.
#[tokio::test]
async fn a_position_beyond_every_row_has_all_before_it_and_none_behind() {
    let (_, store) = random_history(66).await;
    let (dir, all) = (tempfile::tempdir().unwrap(), records(&store).await.len());
    let history = kept(&store, &dir).await;
    for beyond in [1 << 63, u64::MAX].map(|beyond| Some(Position::new(beyond))) {
        for (filter, rows) in [
            (Filter { after: beyond, ..Filter::default() }, 0),
            (Filter { before: beyond, ..Filter::default() }, all),
            (Filter { up_to: beyond, ..Filter::default() }, all),
        ] {
            let found = history.rows(filter.clone(), Order::OldestFirst, 1 << 20).await.unwrap();
            assert_eq!(found.len(), rows, "{filter:?}");
        }
    }
}
