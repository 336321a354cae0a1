//! Files that are not what was written: an error that names the file and the position, or the right
//! data, and never anything else.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::store::{AcceptLoss, AcceptedLoss, Evidence, Found};

const ROUNDS: usize = 240;

async fn closed_ledger() -> (TempDir, Vec<Record>) {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    fill(&*store, 25, 12).await;
    let all = read_everything(&*store).await.unwrap();
    store.close().await.unwrap();
    (dir, all)
}

#[tokio::test]
async fn an_empty_file_is_not_a_new_ledger() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("ledger.db"), b"").unwrap();
    for refused in [SqliteStore::open(dir.path(), OPTIONS), SqliteStore::open_read_only(dir.path())] {
        assert_names_the_file(&refused.unwrap_err());
    }
    assert_eq!(fs::metadata(dir.path().join("ledger.db")).unwrap().len(), 0);
}

#[tokio::test]
async fn a_write_ahead_log_without_its_ledger_is_not_a_new_ledger() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("ledger.db-wal"), b"records").unwrap();
    assert_names_the_file(&SqliteStore::open(dir.path(), OPTIONS).unwrap_err());
    assert!(!dir.path().join("ledger.db").exists());
}

#[tokio::test]
async fn something_else_under_the_name_is_refused_and_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("ledger.db");
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE photos(id INTEGER PRIMARY KEY)").unwrap();
    other.close().unwrap();
    let database = fs::read(&path).unwrap();
    for content in [&b"Dear diary"[..], &[0; 4096], &database] {
        fs::write(&path, content).unwrap();
        assert_names_the_file(&SqliteStore::open(dir.path(), OPTIONS).unwrap_err());
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[tokio::test]
async fn a_truncated_file_is_refused() {
    let (dir, all) = closed_ledger().await;
    let whole = fs::read(dir.path().join("ledger.db")).unwrap();
    for keep in [1, 99, 100, 4095, 4096, 8192, whole.len() / 2, whole.len() - 4096, whole.len() - 1] {
        let cut = TempDir::new().unwrap();
        fs::write(cut.path().join("ledger.db"), &whole[..keep]).unwrap();
        verify(cut.path(), &all).await.expect_err("a cut is not data");
    }
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_or_harmless() {
    let (dir, all) = closed_ledger().await;
    let mut random = StdRng::seed_from_u64(0x6772_616e_7462_6f6f);
    let mut found = 0;
    for round in 0..ROUNDS {
        let harmed = TempDir::new().unwrap();
        copy(dir.path(), harmed.path(), LIVE_FILES);
        // The header of the file and of its tables is small and full of meaning, so it gets its share.
        let name = if round % 8 == 0 { "ledger.heads" } else { "ledger.db" };
        let mut bytes = fs::read(harmed.path().join(name)).unwrap();
        let reach = if round % 4 == 1 { 100 } else { bytes.len() };
        let (byte, bit) = (random.random_range(0..reach), random.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        fs::write(harmed.path().join(name), bytes).unwrap();
        let outcome = verify(harmed.path(), &all).await;
        assert!(name != "ledger.heads" || outcome.is_ok(), "{name} is derived: {outcome:?}");
        found += usize::from(outcome.is_err());
    }
    assert!(found > ROUNDS / 2, "most of a ledger is records: {found} of {ROUNDS} were found");
}

#[tokio::test]
async fn a_flipped_bit_in_the_index_loses_no_stream() {
    let (dir, all) = closed_ledger().await;
    let mut random = StdRng::seed_from_u64(0x6865_6164_7362_6974);
    for _ in 0..ROUNDS {
        let harmed = TempDir::new().unwrap();
        copy(dir.path(), harmed.path(), LIVE_FILES);
        let heads = harmed.path().join("ledger.heads");
        let mut bytes = fs::read(&heads).unwrap();
        let (byte, bit) = (random.random_range(0..bytes.len()), random.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        fs::write(&heads, bytes).unwrap();
        let store = open(harmed.path());
        for last in &all[all.len() - 25..] {
            let begun_again = store.append(&last.stream, Expected::NoStream, new_records(1)).await.unwrap();
            assert_eq!(begun_again, Append::Conflict { actual: Some(last.revision) }, "bit {bit} of {byte}");
            let there = store.read_stream(&last.stream, Revision::FIRST).await.unwrap();
            assert_eq!(there.last(), Some(last));
        }
    }
}

/// A record is the one that its stream names: what leads to another stream's is damage.
#[tokio::test]
async fn a_link_to_a_record_of_another_stream_is_not_followed() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let streams = fill(&*store, 2, 3).await;
    let conn = rusqlite::Connection::open(dir.path().join("ledger.db")).unwrap();
    // Position 6 is the last of the second stream, 4 its second, and 3 the second of the first.
    assert_eq!(conn.execute("UPDATE log SET previous = 3 WHERE position = 6", ()).unwrap(), 1);
    let refused = store.read_stream(&streams[1], Revision::FIRST).await.unwrap_err();
    assert!(
        matches!(refused, StoreError::Damaged { position, .. } if position == Position::new(3)),
        "{refused}"
    );
    assert!(refused.to_string().contains("the record is not the one its stream names here"), "{refused}");
    assert_eq!(store.read_stream(&streams[1], Revision::new(2)).await.unwrap().len(), 1);
    assert_eq!(store.read_stream(&streams[0], Revision::FIRST).await.unwrap().len(), 3);
}

/// Opens a ledger that may be damaged, and demands of everything it says that it is right or an error.
async fn verify(dir: &Path, all: &[Record]) -> Result<(), StoreError> {
    let outcome = try_everything(dir, all).await;
    if let Err(error) = &outcome {
        assert_names_the_file(error);
    }
    outcome
}

async fn try_everything(dir: &Path, all: &[Record]) -> Result<(), StoreError> {
    let store = SqliteStore::open(dir, OPTIONS)?;
    let head = store.head().await?;
    assert_eq!((head.position, head.identity), (all[all.len() - 1].position, OPTIONS.identity));
    let read = read_everything(&*store).await;
    assert!(read.as_ref().is_ok_and(|read| read == all) || read.is_err(), "wrong data from read_all");
    let mut outcome = read.map(drop);
    let newest = all.iter().rev().take(25).map(|record| &record.stream);
    for stream in newest {
        let expected: Vec<_> = all.iter().filter(|record| record.stream == *stream).cloned().collect();
        match store.read_stream(stream, Revision::FIRST).await {
            Ok(read) => assert_eq!(read, expected, "wrong data from read_stream"),
            Err(error) => outcome = Err(error),
        }
    }
    let Some(last) = all.last() else { return outcome };
    let stream = &last.stream;
    let expected: Vec<_> = all.iter().filter(|record| record.stream == *stream).cloned().collect();
    match store.append(stream, Expected::Exactly(last.revision), new_records(1)).await {
        Ok(Append::Appended { .. }) => match store.read_stream(stream, Revision::FIRST).await {
            Ok(read) => {
                assert_eq!(read[read.len() - 1].revision, last.revision.next());
                assert_eq!(read[..read.len() - 1], expected, "wrong data after an append");
            }
            Err(error) => outcome = Err(error),
        },
        Ok(other) => panic!("the stream is where it was: {other:?}"),
        Err(error) => outcome = Err(error),
    }
    outcome
}

fn assert_names_the_file(error: &StoreError) {
    assert!(error.to_string().contains("ledger.db"), "{error}");
    let kind = matches!(
        error,
        StoreError::Damaged { .. }
            | StoreError::NewerFormat { .. }
            | StoreError::CannotWrite(_)
            | StoreError::Unavailable(_)
    );
    assert!(kind, "{error:?}");
}

/// The ledger itself knows where it was closed, if no other file is left that has seen it.
#[tokio::test]
async fn a_ledger_that_ends_before_it_was_closed_is_served_on_an_operators_word() {
    let (dir, all) = closed_ledger().await;
    for name in ["ledger.heads", "ledger.seen"] {
        fs::remove_file(dir.path().join(name)).unwrap();
    }
    let end = all.last().unwrap().position.as_u64();
    let ledger = Connection::open(dir.path().join("ledger.db")).unwrap();
    ledger.execute("DELETE FROM log WHERE position = ?1", [end.cast_signed()]).unwrap();
    ledger.close().unwrap();
    let refused = SqliteStore::open(dir.path(), OPTIONS).unwrap_err().to_string();
    assert!(refused.contains(&format!("it ends at {}, but it was closed at {end}", end - 1)), "{refused}");
    assert_eq!(AcceptedLoss::read(dir.path()).unwrap(), None);
    let accept_loss = AcceptLoss { by: "ana".to_owned(), dir: dir.path().to_owned() };
    let evidence = Evidence { accept_loss: Some(accept_loss), ..Evidence::default() };
    let store = SqliteStore::open_with(dir.path(), OPTIONS, &evidence).unwrap();
    assert_eq!(read_everything(&*store).await.unwrap().len(), all.len() - 1);
    let kept = AcceptedLoss::read(dir.path()).unwrap().unwrap();
    assert_eq!((kept.last_position.as_u64(), kept.seen.position.as_u64()), (end - 1, end));
    assert_eq!(kept.seen_by, "ledger.db");
    assert_eq!(store.has(&kept.seen).await.unwrap(), Found::EndsBefore(kept.last_position));
}
