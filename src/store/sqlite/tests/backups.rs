//! Backups beside a running server, and what comes back from them.

use rusqlite::Connection;

use super::*;
use crate::store::sqlite::{backup, restore};

async fn backed_up() -> (TempDir, std::path::PathBuf, Vec<Record>) {
    let dir = TempDir::new().unwrap();
    let store = open(&dir.path().join("data"));
    fill(&*store, 15, 6).await;
    let target = dir.path().join("backup.db");
    let head = backup(&dir.path().join("data"), &target, |_, _| {}).unwrap();
    assert_eq!(head, store.head().await.unwrap());
    (dir, target, read_everything(&*store).await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_beside_appends_is_a_whole_ledger_up_to_somewhere() {
    let dir = TempDir::new().unwrap();
    let (data, target) = (dir.path().join("data"), dir.path().join("backup.db"));
    let store = open(&data);
    fill(&*store, 10, 10).await;
    let appends = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { fill(&*store, 10, 10).await })
    };
    let (source, to) = (data.clone(), target.clone());
    let mut told = Vec::new();
    let (head, told) = tokio::task::spawn_blocking(move || {
        let head = backup(&source, &to, |done, of| told.push((done, of))).unwrap();
        (head, told)
    })
    .await
    .unwrap();
    appends.await.unwrap();
    assert!(head.position >= Position::new(100));
    assert_eq!(told.last(), Some(&(head.position.as_u64(), head.position.as_u64())));
    let all = read_everything(&*store).await.unwrap();
    assert_eq!(all.len(), 200);

    // Once by hand, once restored.
    let by_hand = TempDir::new().unwrap();
    fs::copy(&target, by_hand.path().join("ledger.db")).unwrap();
    let restored = TempDir::new().unwrap();
    assert_eq!(restore(&target, restored.path(), |_, _| {}).unwrap(), head);
    for dir in [by_hand, restored] {
        let store = open(dir.path());
        assert_eq!(store.head().await.unwrap(), head);
        let there = read_everything(&*store).await.unwrap();
        assert_eq!(there, all[..there.len()]);
        let last = &there[there.len() - 1];
        append(&*store, &last.stream, Expected::Exactly(last.revision), new_records(1)).await;
    }
}

#[tokio::test]
async fn nothing_is_replaced() {
    let (dir, target, _) = backed_up().await;
    let data = dir.path().join("data");
    let before = fs::read(&target).unwrap();
    let refused = backup(&data, &target, |_, _| {}).unwrap_err();
    let said = format!("{}: a file is there already, and a backup replaces none", target.display());
    assert!(refused.to_string().starts_with(&said), "{refused}");
    assert_eq!(fs::read(&target).unwrap(), before);
    let nowhere = dir.path().join("nowhere").join("backup.db");
    let refused = backup(&data, &nowhere, |_, _| {}).unwrap_err();
    assert!(refused.to_string().starts_with("the backup cannot be written: "), "{refused}");
    let refused = restore(&target, &data, |_, _| {}).unwrap_err();
    assert!(refused.to_string().contains("a ledger is there already"), "{refused}");
    let serving = open(&data);
    let refused = restore(&target, &data, |_, _| {}).unwrap_err();
    assert!(matches!(refused, StoreError::InUse(_)), "a served ledger: {refused}");
    drop(serving);

    let other = TempDir::new().unwrap();
    restore(&target, other.path(), |_, _| {}).unwrap();
    let before = fs::read(other.path().join("ledger.db")).unwrap();
    let refused = restore(&target, other.path(), |_, _| {}).unwrap_err();
    assert!(matches!(refused, StoreError::Target(_)), "{refused}");
    assert_eq!(fs::read(other.path().join("ledger.db")).unwrap(), before);
    let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside.len(), 2, "nothing is left beside the backup: {beside:?}");
}

/// No digest covers where a record's predecessor is.
#[tokio::test]
async fn what_leads_elsewhere_is_not_backed_up() {
    for wrong in ["previous - 1", "NULL", "position"] {
        let (_dir, target, _) = backed_up().await;
        let dir = TempDir::new().unwrap();
        fs::copy(&target, dir.path().join("ledger.db")).unwrap();
        let sql = format!("UPDATE log SET previous = {wrong} WHERE position = 50");
        Connection::open(dir.path().join("ledger.db")).unwrap().execute(&sql, ()).unwrap();
        let refused = backup(dir.path(), &dir.path().join("second.db"), |_, _| {}).unwrap_err();
        let at_50 = |position| position == Position::new(50);
        assert!(
            matches!(refused, StoreError::Damaged { position, .. } if at_50(position)),
            "{wrong}: {refused}"
        );
        assert!(!dir.path().join("second.db").exists());
    }
}

#[tokio::test]
async fn what_is_damaged_is_not_restored() {
    let (_dir, target, all) = backed_up().await;
    let harms = [
        (80, "UPDATE log SET payload = replace(payload, ':', ': ') WHERE position = 80"),
        (50, "UPDATE log SET previous = previous - 1 WHERE position = 50"),
        (39, "DELETE FROM log WHERE position = 40"),
        (60, "DELETE FROM log WHERE position > 60"),
    ];
    for (at, harm) in harms {
        refuses(&target, at, |conn| assert!(conn.execute(harm, []).unwrap() > 0)).await;
    }
    // Records with perfect digests, in a chain that forks or is of no ledger.
    let last = all[all.len() - 1].clone();
    let forge = |revision: u64, previous: Option<u64>| {
        let position = Position::new(last.position.as_u64() + 1);
        let new = new_records(1).remove(0);
        let digest = previous.map_or(crate::store::ChainDigest::NONE, |_| last.previous_digest);
        let mut record = new.place(last.stream.clone(), Revision::new(revision), position, digest);
        record.link = crate::store::Link::Kept(previous.map(Position::new));
        move |conn: &Connection| {
            super::super::rows::insert(conn, &record).unwrap();
        }
    };
    refuses(&target, 91, forge(0, None)).await;
    refuses(&target, 91, forge(last.revision.as_u64(), Some(last.position.as_u64() - 15))).await;
}

/// The same records with perfect digests and links, in a ledger that is only copied.
#[tokio::test]
async fn a_stream_that_begins_twice_is_not_backed_up() {
    let (_dir, target, all) = backed_up().await;
    let dir = TempDir::new().unwrap();
    fs::copy(&target, dir.path().join("ledger.db")).unwrap();
    let last = all[all.len() - 1].clone();
    let at = Position::new(last.position.as_u64() + 1);
    let none = crate::store::ChainDigest::NONE;
    let mut second = new_records(1).remove(0).place(last.stream, Revision::FIRST, at, none);
    second.link = crate::store::Link::Kept(None);
    super::super::rows::insert(&Connection::open(dir.path().join("ledger.db")).unwrap(), &second).unwrap();
    let refused = backup(dir.path(), &dir.path().join("second.db"), |_, _| {}).unwrap_err();
    assert!(matches!(refused, StoreError::Damaged { position, .. } if position == at), "{refused}");
    assert!(!dir.path().join("second.db").exists());
}

async fn refuses(target: &Path, at: u64, harm: impl FnOnce(&Connection)) {
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("harmed.db");
    fs::copy(target, &source).unwrap();
    let conn = Connection::open(&source).unwrap();
    harm(&conn);
    // Freed pages alone would give a deletion away.
    conn.execute_batch("VACUUM").unwrap();
    conn.close().unwrap();
    let into = dir.path().join("data");
    let refused = restore(&source, &into, |_, _| {}).unwrap_err();
    assert!(
        matches!(refused, StoreError::Damaged { position, .. } if position == Position::new(at)),
        "{refused}"
    );
    assert!(!into.join("ledger.db").exists());
    assert!(!into.join("ledger.db.restoring").exists());
    let begun_anew = open(&into);
    assert_eq!(begun_anew.head().await.unwrap().position, Position::START);
}
