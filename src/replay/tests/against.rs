//! What others say of a ledger, held against its fold: every difference is found, and said in words.

use std::fs;

use grantbook_events::StreamKind;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::Live;
use tempfile::TempDir;

use super::*;
use crate::audit::{History, row_of};
use crate::ledger::{fold, read};

pub(super) fn snapshots(dir: &TempDir) -> Snapshots {
    Snapshots::new(dir.path().to_owned())
}

/// A state folded from records, the last of which may be changed first.
pub(super) fn folded(records: &[Record], change: impl Fn(&mut Record)) -> Live {
    try_folded(records, change).unwrap()
}

/// The same, if what was changed can still be folded.
pub(super) fn try_folded(records: &[Record], change: impl Fn(&mut Record)) -> Option<Live> {
    let live = Live::new();
    for record in records {
        let mut record = record.clone();
        change(&mut record);
        fold(&live, &record).ok()?;
    }
    Some(live)
}

fn reported(live: &Live) -> Option<ReportedState> {
    Some(ReportedState { position: live.position(), digest: live.digest().to_string() })
}

pub(super) fn said(verified: &Verified) -> Vec<String> {
    verified.findings.iter().map(ToString::to_string).collect()
}

/// An installation whose tokens have other scopes than the ledger says.
fn widened(record: &mut Record) {
    if matches!(record.type_name.as_str(), "access-granted" | "code-exchanged") {
        record.payload = record.payload.replace("[\"faqs\"]", "[\"faqs\",\"brands\"]");
    }
}

#[tokio::test]
async fn what_is_the_same_is_said_to_be_the_same() {
    let (ledger, store) = history(31).await;
    let (records, dir) = (everything(&*store).await, tempfile::tempdir().unwrap());
    let identity = store.head().await.unwrap().identity;
    let half = folded(&records[..records.len() / 2], |_| {});
    snapshots(&dir).write(&half, identity);
    snapshots(&dir).write(&ledger.live(), identity);
    let against = Against { live: reported(&half), snapshots: Some(snapshots(&dir)), history: None };
    let verified = verify(&*store, against, |_| {}).await.unwrap();
    assert!(verified.is_sound(), "{:?}", said(&verified));
    let positions: Vec<_> = verified.compared.iter().map(|compared| compared.position).collect();
    assert_eq!(positions, [half.position(), half.position(), ledger.live().position()]);
    assert!(!verified.live_differs);
}

#[tokio::test]
async fn a_live_projection_that_differs_is_found_and_its_snapshot_says_where() {
    let (_, store) = history(36).await;
    let (records, dir) = (everything(&*store).await, tempfile::tempdir().unwrap());
    let wrong = folded(&records, widened);
    let against = Against { live: reported(&wrong), snapshots: None, history: None };
    let verified = verify(&*store, against, |_| {}).await.unwrap();
    assert!(!verified.is_sound() && verified.live_differs);
    assert!(said(&verified)[0].contains("the live projection of the running server has digest"));

    snapshots(&dir).write(&wrong, store.head().await.unwrap().identity);
    let found = difference_from(&*store, wrong.position(), &snapshots(&dir), |_| {}).await.unwrap().unwrap();
    assert!(found.what.starts_with("installation "), "{found}");
    assert!(found.what.contains(".scopes is faqs brands live and faqs replayed"), "{found}");
    let gone = difference_from(&*store, Position::new(3), &snapshots(&dir), |_| {}).await.unwrap();
    assert!(gone.unwrap().what.contains("no snapshot"), "what cannot be compared is not the same");
}

#[tokio::test]
async fn a_flipped_field_in_a_snapshot_is_found_and_named() {
    let (_, store) = history(33).await;
    let (records, dir) = (everything(&*store).await, tempfile::tempdir().unwrap());
    let cut = &records[..records.len() * 2 / 3];
    let identity = store.head().await.unwrap().identity;
    snapshots(&dir).write(&folded(cut, widened), identity);
    let against = || Against { live: None, snapshots: Some(snapshots(&dir)), history: None };
    let verified = verify(&*store, against(), |_| {}).await.unwrap();
    assert_eq!(verified.found, 1, "{:?}", said(&verified));
    let found = &said(&verified)[0];
    let at = format!("position {}: snapshot live-", cut[cut.len() - 1].position);
    assert!(found.starts_with(&at) && found.contains("scopes is faqs brands in the snapshot"), "{found}");

    // Without a digest to match, it is damaged.
    let path = snapshots(&dir).paths().unwrap().remove(0);
    let mut bytes = fs::read(&path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&path, bytes).unwrap();
    let verified = verify(&*store, against(), |_| {}).await.unwrap();
    assert!(said(&verified)[0].contains("it is damaged"), "{:?}", said(&verified));

    // One of another ledger is skipped, and is no fault.
    fs::remove_file(&path).unwrap();
    snapshots(&dir).write(&folded(cut, |_| {}), Uuid::from_u128(99));
    let verified = verify(&*store, against(), |_| {}).await.unwrap();
    assert!(verified.is_sound());
    let [skipped] = verified.skipped.as_slice() else { panic!("{:?}", verified.skipped) };
    assert!(skipped.what.starts_with("snapshot live-"), "skipped: {skipped:?}");
    assert!(skipped.why.contains("it is of ledger"), "skipped: {skipped:?}");
}

#[tokio::test]
async fn what_is_beyond_the_ledger_is_found() {
    let (ledger, store) = history(34).await;
    let (records, dir) = (everything(&*store).await, tempfile::tempdir().unwrap());
    let shorter = ledger_of(&records[..records.len() - 5]).await;
    snapshots(&dir).write(&ledger.live(), shorter.head().await.unwrap().identity);
    let against = Against { live: reported(&ledger.live()), snapshots: Some(snapshots(&dir)), history: None };
    let verified = verify(&*shorter, against, |_| {}).await.unwrap();
    assert_eq!(verified.found, 2, "{:?}", said(&verified));
    assert!(said(&verified).iter().all(|said| said.contains("which the ledger does not have")));
}

/// The other ledger has the same identity, and other events.
#[tokio::test]
async fn a_snapshot_of_other_events_is_found() {
    let ((_, store), (other, _)) = (history(35).await, history(36).await);
    let dir = tempfile::tempdir().unwrap();
    let records = everything(&*store).await;
    let identity = store.head().await.unwrap().identity;
    let foreign = folded(&everything(&**other.store()).await[..records.len() / 2], |_| {});
    snapshots(&dir).write(&foreign, identity);
    let against = Against { live: None, snapshots: Some(snapshots(&dir)), history: None };
    let verified = verify(&*store, against, |_| {}).await.unwrap();
    assert!(
        said(&verified)[0].contains("an event that the ledger does not have there"),
        "{:?}",
        said(&verified)
    );
}

#[tokio::test]
async fn a_plan_says_which_snapshots_spare_what() {
    let (ledger, store) = history(37).await;
    let dir = tempfile::tempdir().unwrap();
    let good = snapshots(&dir).write(&ledger.live(), store.head().await.unwrap().identity);
    let bad = dir.path().join("live-00000000000000000001.snapshot");
    fs::write(&bad, "nothing").unwrap();
    let plan = plan(&*store, &snapshots(&dir), |_| {}).await.unwrap();
    let file = |path: &std::path::Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let (position, reason) = (Some(ledger.live().position()), Some("it is not a snapshot".to_owned()));
    let good = UsableSnapshot { file: file(&good), usable: true, position, reason: None };
    let bad = UsableSnapshot { file: file(&bad), usable: false, position: None, reason };
    assert_eq!(plan.snapshots, [good, bad]);
}

/// A damaged ledger is never sound, whatever it is compared with.
#[tokio::test]
async fn a_quarantined_stream_is_a_finding_also_if_the_server_agrees() {
    let (ledger, store) = history(38).await;
    let app = ledger.live().apps(0, 1)[0].client_id;
    let stream = StreamKind::App(app).into();
    let at = store.read_stream(&stream, grantbook_events::Revision::FIRST).await.unwrap().len() as u64 - 1;
    let expected = Expected::Exactly(grantbook_events::Revision::new(at));
    store.append(&stream, expected, vec![crate::ledger::tests::poison::foreign()]).await.unwrap();
    let replayed = replay(&*store, Until::Head).await;
    assert_eq!(replayed.live.quarantined().len(), 1);
    let against = Against { live: reported(&replayed.live), snapshots: None, history: None };
    let verified = verify(&*store, against, |_| {}).await.unwrap();
    assert_eq!((verified.found, verified.compared.len()), (1, 1));
    assert!(said(&verified)[0].contains("app-teleported"), "{:?}", said(&verified));
}

/// The stored history of a ledger, changed after it was closed.
pub(super) async fn history_with(store: &Arc<MemoryStore>, dir: &TempDir, sql: &str) -> Against {
    let head = store.head().await.unwrap();
    let history = History::of(Arc::clone(store) as _, dir.path().to_owned());
    history.reached(head.position).await.unwrap();
    history.close().await;
    let file = dir.path().join("history-1.db");
    rusqlite::Connection::open(file).unwrap().execute_batch(sql).unwrap();
    Against { live: None, snapshots: None, history: Some(dir.path().to_owned()) }
}

#[tokio::test]
async fn every_fault_in_the_history_is_found_and_named() {
    let (_, store) = history(39).await;
    let last = store.head().await.unwrap().position;
    let records = everything(&*store).await;
    let rows: Vec<_> = records.iter().map(|record| row_of(record, &read(record))).collect();
    let other = |row: HistoryRow| {
        let bytes: String =
            postcard::to_stdvec(&row).unwrap().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("UPDATE events SET row = x'{bytes}' WHERE position = {}", row.position)
    };
    let ninth = || rows[8].clone();
    let mut of_account = rows.iter().find(|row| row.account_id.is_some()).unwrap().clone();
    of_account.account_id = Some("initech".parse().unwrap());
    let mut by_eve = rows[2].clone();
    by_eve.actor.as_mut().unwrap().id = "eve".to_owned();
    let changed = [
        (
            other(HistoryRow { reason: Some("boredom".to_owned()), ..ninth() }),
            "position 9: history: reason is",
        ),
        (other(of_account), "history: account_id is"),
        (other(by_eve), "position 3: history: actor is"),
        (other(HistoryRow { token_users: vec!["eve".parse().unwrap()], ..ninth() }), "token_users is"),
    ];
    let faults = [
        ("DELETE FROM events WHERE position = 9", "position 9: history: the row of this event is missing"),
        (
            "INSERT INTO events SELECT 100000, recorded_at, latest_at, digest, row FROM events WHERE position = 9; \
             UPDATE state SET position = 100000",
            "position 100000: history: there is a row of this position, which the ledger does not have",
        ),
        (
            "DROP TABLE keys",
            "history: its file is damaged: the history file cannot be used: no such table: keys",
        ),
        ("DELETE FROM state", "history: the history file cannot be used: "),
        ("UPDATE state SET digest = zeroblob(32)", "the digest kept with them is not"),
        ("DELETE FROM keys", "keys do not lead to their row, the first at position 1"),
        (
            "UPDATE keys SET key = 0 WHERE key = (SELECT min(key) FROM keys WHERE position = 9) AND position = 9",
            "1 keys do not lead to their row, the first at position 9",
        ),
        ("INSERT INTO keys VALUES (0, 9)", "keys lead to rows, and"),
        (
            "UPDATE events SET row = x'ff' WHERE position = 9",
            "its file is damaged: the history file is damaged: the row of position 9 is not what was written",
        ),
        (
            "UPDATE events SET digest = 0 WHERE position = 9",
            "position 9: history: the row of this event is right, and the check",
        ),
        (
            "UPDATE events SET recorded_at = 0 WHERE position = 9",
            "position 9: history: the row of this event is right, and the check",
        ),
        (
            "UPDATE events SET latest_at = latest_at + 1 WHERE position = 9",
            "1 rows have another latest time than the rows up to them, the first at position 9",
        ),
        ("UPDATE state SET latest_at = 0", "times kept with its end are not those of its rows"),
        (
            "UPDATE state SET most_behind = 1 - most_behind",
            "times kept with its end are not those of its rows",
        ),
        (
            "ALTER TABLE events ADD COLUMN more INTEGER",
            "its file is damaged: table events is missing, or is another",
        ),
        (
            "CREATE INDEX by_time ON events (recorded_at)",
            "its file is damaged: index by_time does not belong there",
        ),
        (
            "CREATE TRIGGER forget AFTER INSERT ON events BEGIN DELETE FROM keys; END",
            "its file is damaged: trigger forget does not belong there",
        ),
        (
            "INSERT INTO keys VALUES (0, 100000)",
            "1 rows of keys are beyond where its rows end, the first at position 100000",
        ),
        (
            "UPDATE events SET position = -1 WHERE position = 9",
            "1 rows of events are beyond where its rows end, the first at position -1",
        ),
        ("UPDATE state SET position = 0", "rows of events are beyond where its rows end"),
        ("UPDATE state SET event_id = zeroblob(16)", "the event kept with its end is not its last"),
        ("UPDATE state SET previous = 3", "positions kept as the one before its end"),
        ("PRAGMA user_version = 0", "it has version 0, which no grantbook gave it"),
        ("PRAGMA user_version = 1073741827", "it has version 1073741827, which no grantbook gave it"),
        ("DELETE FROM events WHERE position > 20", "position 21: history: the row of this event is missing"),
    ];
    let faults = faults.map(|(sql, words)| (sql.to_owned(), words));
    let faults = faults.into_iter().chain(changed).map(|(sql, words)| (sql, Some(words)));
    let cases = std::iter::once((String::new(), None)).chain(faults);
    for (sql, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let against = history_with(&store, &dir, &sql).await;
        let verified = verify(&*store, against, |_| {}).await.unwrap();
        let said = said(&verified);
        match expected {
            None => {
                assert!(verified.is_sound(), "{said:?}");
                let same = Compared { what: "the history, row by row".to_owned(), position: last };
                assert_eq!(verified.compared, [same]);
            }
            Some(words) => {
                assert!(!verified.is_sound() && verified.compared.is_empty(), "{sql}");
                assert!(said.iter().any(|said| said.contains(words)), "{sql}: {said:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_history_of_another_version_or_ledger_is_skipped_and_named() {
    let (_, store) = history(39).await;
    for (sql, why) in [
        ("PRAGMA user_version = 1", "it has version 1"),
        ("UPDATE state SET ledger = zeroblob(16)", "it is of another ledger"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let against = history_with(&store, &dir, sql).await;
        let verified = verify(&*store, against, |_| {}).await.unwrap();
        assert!(verified.is_sound() && verified.compared.is_empty() && verified.has_history);
        assert_eq!(verified.skipped[0].what, "history history-1.db");
        assert!(verified.skipped[0].why.contains(why), "{:?}", verified.skipped);
    }
}

#[tokio::test]
async fn the_history_folded_again_is_the_one_that_is_kept() {
    let (ledger, store) = history(48).await;
    let dir = tempfile::tempdir().unwrap();
    let kept = History::start(&ledger, dir.path().to_owned());
    kept.reached(ledger.live().position()).await.unwrap();
    let mut rows = 0;
    let take = |_: &_| -> Result<(), ReplayError> {
        rows += 1;
        Ok(())
    };
    let (reading, digest) = run_history(&*store, Until::Head, |_| {}, take).await.unwrap();
    assert_eq!((reading.position, digest), kept.digest_at().await.unwrap());
    assert_eq!([reading.events, rows], [everything(&*store).await.len() as u64; 2]);
}
