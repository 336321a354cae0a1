//! Disks that are full, or break in the middle of a commit.

use std::process::Command;

use super::*;

/// SQLite reports a full disk at `PRAGMA max_page_count`.
async fn limit_pages(store: &SqliteStore, extra: i64) {
    store
        .tamper(move |conn| {
            let pages: i64 = conn.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            conn.pragma_update_and_check(None, "max_page_count", pages + extra, |_| Ok(())).unwrap();
        })
        .await;
}

#[tokio::test]
async fn a_full_disk_refuses_and_loses_nothing_and_goes_on_when_there_is_room() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let streams = fill(&*store, 4, 3).await;
    limit_pages(&store, 3).await;
    let mut expected = Expected::Exactly(Revision::new(2));
    let mut appended = 0;
    let refused = loop {
        match store.append(&streams[0], expected, new_records(20)).await {
            Ok(Append::Appended { revision, .. }) => expected = Expected::Exactly(revision),
            other => break other,
        }
        appended += 20;
    };
    assert!(appended < 100, "the disk never filled");
    assert!(matches!(&refused, Err(StoreError::CannotWrite(why)) if why.contains("full")), "{refused:?}");
    let all = read_everything(&*store).await.unwrap();
    assert_eq!(all.len(), 12 + appended);
    // What needs no room is still answered.
    let late = store.append(&streams[1], Expected::NoStream, new_records(1)).await.unwrap();
    assert_eq!(late, Append::Conflict { actual: Some(Revision::new(2)) });

    limit_pages(&store, 1000).await;
    append(&*store, &streams[0], expected, new_records(20)).await;
    append(&*store, &streams[1], Expected::Exactly(Revision::new(2)), new_records(1)).await;
    let again = read_everything(&*store).await.unwrap();
    assert_eq!(again[..all.len()], all);
    assert_eq!(again.len(), all.len() + 21);
    assert!(again.iter().zip(1..).all(|(record, n)| record.position == Position::new(n)), "no gap");
}

#[tokio::test]
async fn appends_of_a_failed_batch_are_each_answered_for_themselves() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let stream = fresh_stream();
    let first = new_records(1);
    append(&*store, &stream, Expected::NoStream, first.clone()).await;
    limit_pages(&store, 0).await;
    let large = || {
        let mut record = new_records(1);
        record[0].payload = format!("{:?}", "x".repeat(20_000));
        record
    };
    // The writer is slower to wake than these are to queue; whichever share a batch, the answers are these.
    let (other, fresh) = (fresh_stream(), fresh_stream());
    let (retry, wrong, too_much, new) = tokio::join!(
        store.append(&stream, Expected::NoStream, first.clone()),
        store.append(&stream, Expected::Exactly(Revision::new(9)), new_records(1)),
        store.append(&other, Expected::NoStream, large()),
        store.append(&fresh, Expected::NoStream, large()),
    );
    assert!(matches!(retry, Ok(Append::Appended { .. })), "{retry:?}");
    assert!(matches!(wrong, Ok(Append::Conflict { actual: Some(Revision::FIRST) })), "{wrong:?}");
    assert!(matches!(too_much, Err(StoreError::CannotWrite(_))), "{too_much:?}");
    assert!(matches!(new, Err(StoreError::CannotWrite(_))), "{new:?}");
    assert_eq!(store.read_stream(&other, Revision::FIRST).await.unwrap(), []);
}

/// SQLite takes a transaction back by itself when a disk is full, but not for every error.
#[tokio::test]
async fn a_batch_that_fails_half_way_leaves_nothing() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let stream = fresh_stream();
    store
        .tamper(|conn| {
            let breaks = "CREATE TEMP TRIGGER broken BEFORE INSERT ON main.log \
                          WHEN new.revision = 2 BEGIN SELECT RAISE(ABORT, 'broken'); END";
            conn.execute_batch(breaks).unwrap();
        })
        .await;
    let records = new_records(4);
    let refused = store.append(&stream, Expected::NoStream, records.clone()).await;
    assert!(matches!(&refused, Err(StoreError::CannotWrite(why)) if why.contains("broken")), "{refused:?}");
    assert_eq!(read_everything(&*store).await.unwrap(), []);
    store.tamper(|conn| conn.execute_batch("DROP TRIGGER broken").unwrap()).await;
    append(&*store, &stream, Expected::NoStream, records).await;
    assert_eq!(store.head().await.unwrap().position, Position::new(4));
    assert_eq!(store.read_stream(&stream, Revision::FIRST).await.unwrap().len(), 4);
}

const CHILD: &str = "GRANTBOOK_TEST_BROKEN_DISK";

/// The write-ahead log breaks in the middle of a commit: a child process may not write beyond a size.
#[test]
fn a_disk_that_breaks_during_the_commit() {
    let dir = TempDir::new().unwrap();
    let test = "store::sqlite::tests::full_disk::child_on_a_broken_disk";
    let status = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -f 400; exec "$0" --exact "$1" --ignored --nocapture"#])
        .arg(std::env::current_exe().unwrap())
        .arg(test)
        .env(CHILD, dir.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success(), "{said}{}", String::from_utf8_lossy(&status.stderr));
    let acknowledged: Vec<&str> =
        said.split_whitespace().filter_map(|word| word.strip_prefix("acknowledged:")).collect();
    let refused: Vec<&str> =
        said.split_whitespace().filter_map(|word| word.strip_prefix("refused:")).collect();
    assert!(!acknowledged.is_empty() && !refused.is_empty(), "{said}");

    // Outside of the limit, all that was acknowledged is there, once, and nothing that was refused.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ids: Vec<String> = runtime.block_on(async {
        let all = read_everything(&*open(dir.path())).await.unwrap();
        all.iter().map(|record| record.event_id.to_string()).collect()
    });
    assert_eq!(ids, acknowledged);
}

#[tokio::test]
#[ignore = "runs inside a_disk_that_breaks_during_the_commit"]
async fn child_on_a_broken_disk() {
    #[expect(clippy::disallowed_methods, reason = "how the parent of this test talks to it")]
    let dir = std::env::var(CHILD).unwrap();
    let store = open(Path::new(&dir));
    let (stream, mut next, mut failures) = (fresh_stream(), Expected::NoStream, 0);
    while failures < 3 {
        let mut records = new_records(1);
        records[0].payload = format!("{:?}", "x".repeat(5000));
        let id = records[0].event_id;
        match store.append(&stream, next, records).await {
            Ok(Append::Appended { revision, .. }) => {
                println!(" acknowledged:{id}");
                next = Expected::Exactly(revision);
            }
            Err(StoreError::CannotWrite(_)) => {
                println!(" refused:{id}");
                failures += 1;
            }
            other => {
                println!(" unknown:{other:?}");
                failures += 1;
            }
        }
    }
    // The process ends here as a crash would: nothing is closed.
    std::process::exit(0);
}
