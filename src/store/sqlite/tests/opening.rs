//! Opening: new, again, twice, beside, after a crash, of another format.

use super::*;
use crate::store::sqlite::Files;
use crate::store::sqlite::opening::create;
use crate::store::sqlite::schema::{FORMAT, Meta};
use crate::store::{Head, Signal};

#[tokio::test]
async fn a_closed_ledger_is_one_file_and_its_index_and_opens_with_everything() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    fill(&*store, 20, 5).await;
    let (head, all) = (store.head().await.unwrap(), read_everything(&*store).await.unwrap());
    store.close().await.unwrap();
    assert_eq!(read_everything(&*store).await.unwrap(), all, "a closed store can still be read");
    drop(store);

    let other = TempDir::new().unwrap();
    copy(dir.path(), other.path(), &["ledger.db"]);
    let store = SqliteStore::open(other.path(), Options { identity: Uuid::nil(), ..OPTIONS }).unwrap();
    assert_eq!(store.head().await.unwrap(), head, "an existing ledger keeps its identity");
    assert_eq!(head, Head { position: Position::new(100), identity: OPTIONS.identity });
    assert_eq!(read_everything(&*store).await.unwrap(), all);
}

#[tokio::test]
async fn what_is_recorded_after_an_opening_is_not_before_what_was_recorded_then() {
    let dir = TempDir::new().unwrap();
    let record = |seconds: u64| {
        let record = new_records(1).remove(0);
        NewRecord { recorded_at: Timestamp::EPOCH.plus(std::time::Duration::from_secs(seconds)), ..record }
    };
    let store = open(dir.path());
    assert_eq!(store.latest_time(), Some(Timestamp::from_micros(i64::MIN)));
    append(&*store, &fresh_stream(), Expected::NoStream, vec![record(7_200)]).await;
    store.close().await.unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(store.latest_time(), Some(record(7_200).recorded_at));
    for seconds in [60, 7_100, 7_300] {
        append(&*store, &fresh_stream(), Expected::NoStream, vec![record(seconds)]).await;
    }
    let times: Vec<_> = read_everything(&*store).await.unwrap().iter().map(|it| it.recorded_at).collect();
    assert_eq!(times, [7_200, 7_200, 7_200, 7_300].map(|seconds| record(seconds).recorded_at));
}

#[tokio::test]
async fn a_second_server_is_refused_and_told_why() {
    let dir = TempDir::new().unwrap();
    let first = open(dir.path());
    let Err(StoreError::InUse(message)) = SqliteStore::open(dir.path(), OPTIONS) else {
        panic!("a second server must be refused")
    };
    assert!(message.contains(&dir.path().display().to_string()), "{message}");
    assert!(message.contains(&format!("process {}", std::process::id())), "{message}");
    append(&*first, &fresh_stream(), Expected::NoStream, new_records(1)).await;
    first.close().await.unwrap();
    // The lock goes with the closing, not with the last handle.
    append(&*open(dir.path()), &fresh_stream(), Expected::NoStream, new_records(1)).await;
}

#[tokio::test]
async fn everything_acknowledged_is_there_after_an_unclean_stop() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let streams = fill(&*store, 10, 8).await;
    let all = read_everything(&*store).await.unwrap();
    let crashed = TempDir::new().unwrap();
    copy(dir.path(), crashed.path(), LIVE_FILES);

    let again = open(crashed.path());
    assert_eq!(read_everything(&*again).await.unwrap(), all);
    for stream in &streams {
        append(&*again, stream, Expected::Exactly(Revision::new(7)), new_records(2)).await;
        assert_eq!(again.read_stream(stream, Revision::FIRST).await.unwrap().len(), 10);
    }
}

#[tokio::test]
async fn a_reader_beside_the_server_sees_and_follows_and_does_not_write() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let streams = fill(&*store, 5, 3).await;
    let beside = SqliteStore::open_read_only(dir.path()).unwrap();
    assert_eq!(beside.head().await.unwrap(), store.head().await.unwrap());
    let mut subscription = beside.subscribe(Position::START).await.unwrap();
    let records = |signal| match signal {
        Signal::Records(records) => records,
        other => panic!("{other:?}"),
    };
    assert_eq!(*records(subscription.next().await), read_everything(&*store).await.unwrap());
    assert!(matches!(subscription.next().await, Signal::CaughtUp));
    append(&*store, &streams[0], Expected::Exactly(Revision::new(2)), new_records(1)).await;
    assert_eq!(records(subscription.next().await)[0].revision, Revision::new(3));

    for stream in &streams {
        let there = beside.read_stream(stream, Revision::new(1)).await.unwrap();
        assert_eq!(there, store.read_stream(stream, Revision::new(1)).await.unwrap());
    }
    assert_eq!(beside.read_stream(&fresh_stream(), Revision::FIRST).await.unwrap(), []);
    let refused = beside.append(&streams[0], Expected::NoStream, new_records(1)).await;
    assert!(matches!(refused, Err(StoreError::CannotWrite(_))), "{refused:?}");
    beside.close().await.unwrap();

    store.close().await.unwrap();
    let alone = SqliteStore::open_read_only(dir.path()).unwrap();
    assert_eq!(alone.read_stream(&streams[0], Revision::FIRST).await.unwrap().len(), 4);
    fs::remove_file(dir.path().join("ledger.heads")).unwrap();
    let alone = SqliteStore::open_read_only(dir.path()).unwrap();
    assert_eq!(alone.read_stream(&streams[0], Revision::FIRST).await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_subscriber_gets_what_is_older_than_this_process() {
    let dir = TempDir::new().unwrap();
    fill(&*open(dir.path()), 5, 3).await;
    let store = open(dir.path());
    fill(&*store, 5, 3).await;
    let mut subscription = store.subscribe(Position::START).await.unwrap();
    let mut seen = Vec::new();
    while let Signal::Records(records) = subscription.next().await {
        seen.extend(records.iter().cloned());
    }
    assert_eq!(seen, read_everything(&*store).await.unwrap());
    assert_eq!(seen.len(), 30);
}

#[tokio::test]
async fn a_reader_makes_no_ledger() {
    let dir = TempDir::new().unwrap();
    let refused = SqliteStore::open_read_only(dir.path()).unwrap_err();
    assert!(refused.to_string().contains("there is no ledger at"), "{refused}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_newer_format_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = Files::of(dir.path()).ledger;
    create(&path, &Meta::new(Uuid::nil(), Timestamp::EPOCH)).unwrap();
    let conn = rusqlite::Connection::open(&path).unwrap();
    conn.pragma_update(None, "user_version", FORMAT + 1).unwrap();
    conn.close().unwrap();
    let before = fs::read(&path).unwrap();
    for refused in [SqliteStore::open(dir.path(), OPTIONS), SqliteStore::open_read_only(dir.path())] {
        match refused.unwrap_err() {
            StoreError::NewerFormat(why) => {
                let says = format!(
                    "{} has format {}; this grantbook reads formats up to {FORMAT}",
                    path.display(),
                    FORMAT + 1
                );
                assert!(why.contains(&says), "{why}");
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn people_can_read_the_view() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let stream = fresh_stream();
    let mut records = new_records(2);
    records[0].recorded_at = Timestamp::from_micros(-1);
    append(&*store, &stream, Expected::NoStream, records.clone()).await;
    let stored = store.read_stream(&stream, Revision::FIRST).await.unwrap();
    let conn = rusqlite::Connection::open(Files::of(dir.path()).ledger).unwrap();
    let mut select =
        conn.prepare("SELECT position, stream, recorded_at, digest, payload FROM events").unwrap();
    let shown: Vec<(i64, String, String, String, String)> = select
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for (shown, stored) in shown.iter().zip(&stored) {
        assert_eq!(shown.1, stored.stream.as_str());
        assert_eq!(shown.2, stored.recorded_at.to_string());
        assert_eq!(shown.3, stored.digest.to_string());
        assert_eq!(shown.4, stored.payload);
    }
    assert_eq!(shown.len(), 2);
    assert_eq!(shown[0].2, "1969-12-31T23:59:59.999999Z");
}
