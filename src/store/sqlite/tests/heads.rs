//! `ledger.heads` is derived: whatever becomes of it, the ledger is the same.

use super::*;
use crate::store::{AcceptLoss, AcceptedLoss, Evidence};

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
    survives(async |dir| fs::remove_file(dir.join("ledger.heads")).unwrap()).await;
}

#[tokio::test]
async fn garbage() {
    survives(async |dir| fs::write(dir.join("ledger.heads"), b"not a database at all").unwrap()).await;
}

#[tokio::test]
async fn of_another_ledger() {
    survives(async |dir| {
        let other = TempDir::new().unwrap();
        let store = SqliteStore::open(other.path(), Options { identity: Uuid::nil(), ..OPTIONS }).unwrap();
        fill(&*store, 3, 3).await;
        store.close().await.unwrap();
        copy(other.path(), dir, &["ledger.heads"]);
    })
    .await;
}

/// Makes two ledgers with the same identity and different records, and gives the first the other's file.
async fn of_another_history(name: &str) -> TempDir {
    let (dir, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for (dir, streams) in [(&dir, 30), (&other, 20)] {
        let store = open(dir.path());
        fill(&*store, streams, 3).await;
        store.close().await.unwrap();
    }
    copy(other.path(), dir.path(), &[name]);
    dir
}

#[tokio::test]
async fn of_another_history_of_the_same_ledger() {
    for name in ["ledger.heads", "ledger.seen"] {
        let dir = of_another_history(name).await;
        let why = refused(&dir);
        assert!(
            why.contains(&format!("another event at position 60 than {}", dir.path().join(name).display())),
            "{why}"
        );
    }
}

fn refused(dir: &TempDir) -> String {
    match SqliteStore::open(dir.path(), OPTIONS) {
        Err(StoreError::EndsEarly(why)) => why,
        other => panic!("{other:?}"),
    }
}

/// The one thing that derived files know better than the ledger: that there was more.
#[tokio::test]
async fn ahead_of_the_ledger_it_tells_what_is_missing() {
    for name in ["ledger.heads", "ledger.seen"] {
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
        // Either knows it without the other.
        let rest = if name == "ledger.heads" { "ledger.seen" } else { "ledger.heads" };
        fs::remove_file(dir.path().join(rest)).unwrap();
        let before = fs::read(dir.path().join(name)).unwrap();
        for _ in 0..2 {
            let why = refused(&dir);
            assert!(why.contains("ledger.db ends at position 20"), "{why}");
            assert!(why.contains(&format!("{name} has seen position 23")), "{why}");
        }
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), before);
        let accept_loss = AcceptLoss { by: "ana".to_owned(), dir: dir.path().to_owned() };
        let evidence = Evidence { accept_loss: Some(accept_loss), ..Evidence::default() };
        let store = SqliteStore::open_with(dir.path(), OPTIONS, &evidence).unwrap();
        assert_eq!(read_everything(&*store).await.unwrap().len(), 20);
        let kept = AcceptedLoss::read(dir.path()).unwrap().unwrap();
        assert_eq!((kept.last_position, kept.seen.position), (Position::new(20), Position::new(23)));
        assert_eq!((kept.by.as_str(), kept.seen_by.as_str()), ("ana", name));
        fill(&*store, 1, 1).await;
        drop(store);
        assert_eq!(fs::read(dir.path().join(format!("{name}.lost-after-20.1"))).unwrap(), before);
        assert_eq!(read_everything(&*open(dir.path())).await.unwrap().len(), 21);
    }
}

/// A ledger that is gone is not a new one.
#[tokio::test]
async fn without_its_ledger_it_tells_that_there_was_one() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    fill(&*store, 2, 2).await;
    store.close().await.unwrap();
    drop(store);
    fs::remove_file(dir.path().join("ledger.db")).unwrap();
    let why = refused(&dir);
    assert!(why.contains("there is no ") && why.contains("has seen position 4"), "{why}");
    assert!(!dir.path().join("ledger.db").exists());
}

#[tokio::test]
async fn older_than_the_ledger() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let stream = fill(&*store, 10, 2).await.remove(0);
    store.close().await.unwrap();
    drop(store);
    let older = TempDir::new().unwrap();
    copy(dir.path(), older.path(), &["ledger.heads"]);
    let store = open(dir.path());
    append(&*store, &stream, Expected::Exactly(Revision::new(1)), new_records(3)).await;
    fill(&*store, 10, 2).await;
    store.close().await.unwrap();
    drop(store);
    copy(older.path(), dir.path(), &["ledger.heads"]);

    let store = open(dir.path());
    assert_eq!(store.read_stream(&stream, Revision::FIRST).await.unwrap().len(), 5);
    append(&*store, &stream, Expected::Exactly(Revision::new(4)), new_records(1)).await;
}
