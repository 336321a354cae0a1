//! A snapshot saves folding and changes nothing; what cannot be trusted is skipped.

use async_trait::async_trait;
use grantbook_events::{Revision, StreamName};
use grantbook_projections::live::Live;
use parking_lot::Mutex;
use proptest::prelude::*;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use super::super::tests::{START, TestLedger, exchange, grant};
use super::super::{LedgerOptions, SnapshotOptions};
use super::*;
use crate::store::{Append, Expected, Head, MemoryStore, NewRecord, Record, StoreError, Subscription};

/// A store that remembers from where it was subscribed to.
#[derive(Debug)]
struct Watched(Arc<MemoryStore>, Mutex<Vec<u64>>);

#[async_trait]
impl Store for Watched {
    async fn append(&self, to: &StreamName, at: Expected, new: Vec<NewRecord>) -> Result<Append, StoreError> {
        self.0.append(to, at, new).await
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.0.read_stream(stream, from).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.0.read_all(after, limit).await
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        self.1.lock().push(after.as_u64());
        self.0.subscribe(after).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.0.head().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

fn options(dir: &TempDir, every: u64) -> LedgerOptions {
    let snapshots = SnapshotOptions { dir: dir.path().join("snapshots"), every };
    LedgerOptions { snapshots: Some(snapshots), ..LedgerOptions::default() }
}

fn paths(dir: &TempDir) -> Vec<PathBuf> {
    Snapshots::new(dir.path().join("snapshots")).paths().unwrap()
}

/// Opens the ledger, and says from which position it was folded.
async fn opened(store: &Arc<MemoryStore>, dir: &TempDir) -> (TestLedger, u64) {
    let watched = Arc::new(Watched(Arc::clone(store), Mutex::default()));
    let given = TestLedger::with(Arc::clone(&watched) as _, options(dir, 1_000_000)).await;
    let from = watched.1.lock()[0];
    (given, from)
}

/// So many installations more: two events each.
async fn install(given: &TestLedger, app: grantbook_events::ClientId, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let granted = grant(app, &format!("account-{number}").parse().unwrap());
        given.settle(&granted).await.unwrap().unwrap();
        given.settle(&exchange(&granted)).await.unwrap().unwrap();
    }
}

/// A ledger with snapshots at positions 11 and 21, which goes on to 25.
async fn with_two_snapshots() -> (Arc<MemoryStore>, TempDir) {
    let (store, dir) = (MemoryStore::new(Uuid::from_u128(7)), tempfile::tempdir().unwrap());
    let (given, _) = opened(&store, &dir).await;
    let app = given.app().await;
    for (numbers, position) in [(0..5, 11), (5..10, 21)] {
        install(&given, app, numbers).await;
        assert_eq!(given.ledger.take_snapshot().await.unwrap(), Some(Position::new(position)));
    }
    install(&given, app, 10..12).await;
    (store, dir)
}

/// The ledger folds to what it is, and from this position on.
#[track_caller]
fn holds(given: &TestLedger, whole: &TestLedger) {
    assert_eq!(given.ledger.live().position(), whole.ledger.live().position());
    assert_eq!(given.ledger.live().difference(&whole.ledger.live()), None);
    assert_eq!(given.ledger.live().digest(), whole.ledger.live().digest());
}

#[tokio::test]
async fn the_newest_is_loaded_and_the_rest_is_folded() {
    let (store, dir) = with_two_snapshots().await;
    let whole = TestLedger::over(Arc::clone(&store) as _).await;
    let (given, from) = opened(&store, &dir).await;
    assert_eq!(from, 21);
    holds(&given, &whole);
}

#[tokio::test]
async fn what_is_no_snapshot_of_this_ledger_is_named_and_passed_over() {
    let (store, dir) = with_two_snapshots().await;
    let whole = TestLedger::over(Arc::clone(&store) as _).await;
    let newest = paths(&dir)[0].clone();
    let good = fs::read(&newest).unwrap();
    let line_end = good.iter().position(|byte| *byte == b'\n').unwrap();
    let header = String::from_utf8(good[..line_end].to_vec()).unwrap();
    // Another header before the same state, with the digest that such a file would have.
    let with_header = |from: &str, to: &str| {
        assert!(header.contains(from), "{header}");
        let mut bytes = header.replace(from, to).into_bytes();
        bytes.extend_from_slice(&good[line_end..good.len() - 32]);
        let digest = Sha256::digest(&bytes);
        bytes.extend_from_slice(&digest);
        bytes
    };
    let event_id = header.split("\"event_id\":\"").nth(1).unwrap()[..36].to_owned();
    let other_event = crate::secrets::new_event_id().to_string();
    let version = header.find("live_version\":").unwrap() + "live_version\":".len();
    let cases = [
        (good[..good.len() - 1].to_vec(), "digest differs"),
        (good[..line_end / 2].to_vec(), "not a snapshot"),
        (Vec::new(), "not a snapshot"),
        (with_header("\"grantbook_snapshot\":1", "\"grantbook_snapshot\":2"), "format 2"),
        (
            good[..].iter().enumerate().map(|(at, byte)| if at == version { b'9' } else { *byte }).collect(),
            "digest differs",
        ),
        (with_header(&format!("\"live_version\":{}", Live::VERSION), "\"live_version\":99"), "version 99"),
        (with_header(&Uuid::from_u128(7).to_string(), &Uuid::from_u128(8).to_string()), "of ledger"),
        (with_header(&event_id, &other_event), "digest differs"),
    ];
    for (bytes, why) in cases {
        fs::write(&newest, bytes).unwrap();
        let snapshots = Snapshots::new(dir.path().join("snapshots"));
        let outcome = snapshots.check(newest.clone(), &*store).await.outcome;
        let said = outcome.map(drop).unwrap_err().to_string();
        assert!(said.contains(why), "{said}");
        let (given, from) = opened(&store, &dir).await;
        assert_eq!(from, 11, "{why}: the older one is used");
        holds(&given, &whole);
    }
    paths(&dir).iter().for_each(|path| fs::write(path, "nothing").unwrap());
    let (given, from) = opened(&store, &dir).await;
    assert_eq!(from, 0, "without any, the whole ledger is folded");
    holds(&given, &whole);
}

/// A ledger that lost its end is not served as if nothing had happened.
#[tokio::test]
async fn with_one_that_is_ahead_of_the_ledger_nothing_is_folded() {
    let (_, dir) = with_two_snapshots().await;
    let (store, younger) = (MemoryStore::new(Uuid::from_u128(7)), tempfile::tempdir().unwrap());
    let (given, _) = opened(&store, &younger).await;
    let app = given.app().await;
    install(&given, app, 0..3).await;
    let before = paths(&dir);
    for path in &before {
        let outcome = Snapshots::new(dir.path().join("snapshots")).check(path.clone(), &*store).await.outcome;
        let said = outcome.map(drop).unwrap_err().to_string();
        assert!(said.contains("does not have that there"), "{said}");
    }
    let ledger = super::super::Ledger::open_with(
        Arc::clone(&store) as _,
        given.clock.clone(),
        options(&dir, 1_000_000),
    );
    let stopped = ledger.caught_up().await.unwrap_err().stopped.unwrap().to_string();
    assert!(stopped.contains("events that were acknowledged are missing"), "{stopped}");
    assert_eq!(paths(&dir), before);
}

/// Damage of a higher position does not push out what is written now.
#[tokio::test]
async fn one_is_kept_whatever_is_named_higher() {
    let dir = tempfile::tempdir().unwrap();
    let snapshots = dir.path().join("snapshots");
    fs::create_dir(&snapshots).unwrap();
    let damaged = snapshots.join(name_of(Position::new(u64::MAX)));
    let mine = snapshots.join("mine.snapshot");
    fs::write(&damaged, "damaged").unwrap();
    fs::write(&mine, "of somebody").unwrap();
    let store = MemoryStore::new(Uuid::from_u128(7));
    let (given, from) = opened(&store, &dir).await;
    assert_eq!(from, 0);
    let app = given.app().await;
    install(&given, app, 0..1).await;
    for position in [3, 5] {
        assert_eq!(given.ledger.take_snapshot().await.unwrap(), Some(Position::new(position)));
        install(&given, app, 1..2).await;
    }
    let expected = [5, 3].map(|position| snapshots.join(name_of(Position::new(position))));
    assert!(expected.iter().all(|path| path.exists()));
    assert!(mine.exists() && damaged.exists(), "what this ledger did not write is not its to remove");
    let (_, from) = opened(&store, &dir).await;
    assert_eq!(from, 5);
}

#[tokio::test]
async fn what_a_killed_process_did_not_finish_is_removed() {
    let (store, dir) = with_two_snapshots().await;
    let apart = dir.path().join("snapshots/compared");
    fs::create_dir(&apart).unwrap();
    let left = [dir.path().join("snapshots/live-9.unfinished"), apart.join("live-8.unfinished")];
    left.iter().for_each(|path| fs::write(path, "half").unwrap());
    let (given, from) = opened(&store, &dir).await;
    assert_eq!(from, 21);
    assert!(left.iter().all(|path| !path.exists()), "at the start");
    fs::write(&left[0], "half").unwrap();
    given.ledger.take_snapshot().await.unwrap();
    assert!(!left[0].exists(), "after a write");
    assert_eq!(paths(&dir).len(), 3);
}

/// What could not be folded then may be folded now, and strictly nothing is served with it.
#[tokio::test]
async fn none_is_taken_with_streams_in_quarantine() {
    let (store, dir) = with_two_snapshots().await;
    let (given, _) = opened(&store, &dir).await;
    let stream = store.read_all(Position::new(24), 1).await.unwrap()[0].stream.clone();
    let after = Expected::Exactly(Revision::new(1));
    store.append(&stream, after, vec![super::super::tests::poison::foreign()]).await.unwrap();
    given.app().await;
    assert_eq!(given.ledger.live().counts().quarantined, 1);
    let before = paths(&dir);
    assert_eq!(given.ledger.take_snapshot().await.unwrap(), None);
    assert_eq!(paths(&dir), before, "those that a start can begin with are kept");
    let (again, from) = opened(&store, &dir).await;
    assert_eq!(from, 21, "the last one without");
    assert_eq!(again.ledger.live().digest(), given.ledger.live().digest());
}

#[tokio::test]
async fn three_are_kept_and_what_was_never_finished_is_no_snapshot() {
    let (store, dir) = with_two_snapshots().await;
    let (given, _) = opened(&store, &dir).await;
    for _ in 0..3 {
        given.app().await;
        given.ledger.take_snapshot().await.unwrap();
    }
    fs::copy(&paths(&dir)[0], dir.path().join("snapshots/live-9.unfinished")).unwrap();
    let names: Vec<_> =
        paths(&dir).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    assert_eq!(names, [28, 27, 26].map(|position| name_of(Position::new(position))));
    let (_, from) = opened(&store, &dir).await;
    assert_eq!(from, 28);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_is_taken_when_it_is_due_while_commands_are_settled() {
    let (store, dir) = (MemoryStore::new(Uuid::from_u128(9)), tempfile::tempdir().unwrap());
    let given = TestLedger::with(Arc::clone(&store) as _, options(&dir, 50)).await;
    let app = given.app().await;
    let mut next = 0;
    let taken = async {
        while paths(&dir).is_empty() {
            install(&given, app, next..next + 1).await;
            next += 1;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), taken)
        .await
        .expect("a snapshot is due after 50");
    assert!(next >= 24, "not before it is due: {next}");
}

#[tokio::test]
async fn one_is_taken_at_the_end_if_it_saves_enough() {
    let (store, dir) = (MemoryStore::new(Uuid::from_u128(9)), tempfile::tempdir().unwrap());
    let (given, _) = opened(&store, &dir).await;
    given.app().await;
    given.ledger.close().await.unwrap();
    assert_eq!(paths(&dir).len(), 0, "one event is folded sooner than a snapshot is read");

    let (store, dir) = (MemoryStore::new(Uuid::from_u128(9)), tempfile::tempdir().unwrap());
    let (given, _) = opened(&store, &dir).await;
    let app = given.app().await;
    install(&given, app, 0..500).await;
    given.ledger.close().await.unwrap();
    let (header, live) = file::read(&paths(&dir)[0], Uuid::from_u128(9)).unwrap();
    assert_eq!(header.mark.position, given.ledger.live().position());
    assert_eq!(live.digest(), given.ledger.live().digest());
    assert_eq!(header.taken_at, START);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever happens to the bytes, they are never taken for the state.
    #[test]
    fn a_flipped_bit_is_found(at in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, dir) = with_two_snapshots().await;
            let newest = paths(&dir)[0].clone();
            let mut bytes = fs::read(&newest).unwrap();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            fs::write(&newest, bytes).unwrap();
            let snapshots = Snapshots::new(dir.path().join("snapshots"));
            assert!(snapshots.check(newest, &*store).await.outcome.is_err(), "byte {at}, bit {bit}");
        });
    }
}

#[tokio::test]
async fn one_that_is_only_to_be_compared_is_neither_kept_nor_loaded() {
    let (store, dir) = with_two_snapshots().await;
    let (given, _) = opened(&store, &dir).await;
    let kept = paths(&dir);
    let apart = Snapshots::new(dir.path().join("snapshots")).apart();
    for _ in 0..2 {
        assert_eq!(given.ledger.take_snapshot_apart().await.unwrap(), Some(Position::new(25)));
        assert_eq!((paths(&dir), apart.paths().unwrap().len()), (kept.clone(), 1));
    }
    let written = Snapshots::load(&apart.paths().unwrap()[0], Uuid::from_u128(7)).unwrap();
    assert_eq!(written.digest(), given.ledger.live().digest());
    let (_, from) = opened(&store, &dir).await;
    assert_eq!(from, 21, "the newest that is kept");
    apart.clear().unwrap();
    assert!(apart.paths().unwrap().is_empty());
}
