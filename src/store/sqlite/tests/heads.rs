//! `heads.db` is derived: whatever becomes of it, the ledger is the same.

use super::*;

/// Makes a closed ledger, does something to its directory, and expects it to be whole after opening.
async fn survives(harm: impl AsyncFnOnce(&Path)) {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let streams = fill(&*store, 30, 3).await;
    let all = read_everything(&*store).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    harm(dir.path()).await;

    let store = open(dir.path());
    for stream in &streams {
        let expected: Vec<_> = all.iter().filter(|record| record.stream == *stream).cloned().collect();
        assert_eq!(store.read_stream(stream, Revision::FIRST).await.unwrap(), expected);
        let late = store.append(stream, Expected::NoStream, new_records(1)).await.unwrap();
        assert_eq!(late, Append::Conflict { actual: Some(Revision::new(2)) });
        append(&*store, stream, Expected::Exactly(Revision::new(2)), new_records(1)).await;
    }
    store.close().await.unwrap();
    drop(store);
    let store = open(dir.path());
    assert_eq!(read_everything(&*store).await.unwrap().len(), 120);
}

#[tokio::test]
async fn missing() {
    survives(async |dir| fs::remove_file(dir.join("heads.db")).unwrap()).await;
}

#[tokio::test]
async fn garbage() {
    survives(async |dir| fs::write(dir.join("heads.db"), b"not a database at all").unwrap()).await;
}

#[tokio::test]
async fn of_another_ledger() {
    survives(async |dir| {
        let other = TempDir::new().unwrap();
        let store = SqliteStore::open(other.path(), Options { identity: Uuid::nil(), ..OPTIONS }).unwrap();
        fill(&*store, 3, 3).await;
        store.close().await.unwrap();
        copy(other.path(), dir, &["heads.db"]);
    })
    .await;
}

#[tokio::test]
async fn of_another_history_of_the_same_ledger() {
    survives(async |dir| {
        let other = TempDir::new().unwrap();
        let store = open(other.path());
        fill(&*store, 20, 3).await;
        store.close().await.unwrap();
        copy(other.path(), dir, &["heads.db"]);
        forget_the_promise(dir);
    })
    .await;
}

/// The one thing that the index knows better than the ledger: that there was more.
#[tokio::test]
async fn ahead_of_the_ledger_it_tells_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    fill(&*store, 10, 2).await;
    store.close().await.unwrap();
    drop(store);
    let older = TempDir::new().unwrap();
    copy(dir.path(), older.path(), &["ledger.db"]);
    let store = open(dir.path());
    fill(&*store, 3, 1).await;
    store.close().await.unwrap();
    drop(store);
    copy(older.path(), dir.path(), &["ledger.db"]);
    // With its promise about the index, which the first opening takes back, and without.
    for _ in 0..2 {
        match SqliteStore::open(dir.path(), OPTIONS) {
            Err(StoreError::Damaged { position, detail }) => {
                assert_eq!(position, Position::new(20));
                assert!(detail.contains("heads.db has seen position 23"), "{detail}");
            }
            other => panic!("{other:?}"),
        }
    }
    fs::remove_file(dir.path().join("heads.db")).unwrap();
    assert_eq!(read_everything(&*open(dir.path())).await.unwrap().len(), 20);
}

#[tokio::test]
async fn older_than_the_ledger() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let stream = fill(&*store, 10, 2).await.remove(0);
    store.close().await.unwrap();
    drop(store);
    let older = TempDir::new().unwrap();
    copy(dir.path(), older.path(), &["heads.db"]);
    let store = open(dir.path());
    append(&*store, &stream, Expected::Exactly(Revision::new(1)), new_records(3)).await;
    fill(&*store, 10, 2).await;
    store.close().await.unwrap();
    drop(store);
    copy(older.path(), dir.path(), &["heads.db"]);
    forget_the_promise(dir.path());

    let store = open(dir.path());
    assert_eq!(store.read_stream(&stream, Revision::FIRST).await.unwrap().len(), 5);
    append(&*store, &stream, Expected::Exactly(Revision::new(4)), new_records(1)).await;
}
