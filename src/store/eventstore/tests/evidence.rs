//! A cluster that does not have what files of this node have seen of it.

use std::fs;

use grantbook_events::EventId;
use tempfile::TempDir;

use super::*;
use crate::store::contract::{fresh_stream, new_records};
use crate::store::{AcceptLoss, AcceptedLoss, Seen, SeenMark, SeenRecord};

/// A cluster with a ledger of three records, and a directory with a file.
struct Given {
    double: Double,
    dir: TempDir,
    ledger: Uuid,
    records: Vec<Record>,
}

impl Given {
    async fn new() -> Self {
        let double = Double::start(DoubleOptions::default()).await.unwrap();
        let store = open_at(&double.url());
        let ledger = store.head().await.unwrap().identity;
        store.append(&fresh_stream(), Expected::NoStream, new_records(3)).await.unwrap();
        let records = store.read_all(Position::START, 10).await.unwrap();
        store.close().await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "seen").unwrap();
        Self { double, dir, ledger, records }
    }

    /// That the file has seen the last record.
    fn seen(&self) -> Seen {
        let last = &self.records[2];
        let (position, mark) = (last.position, SeenMark::Event(last.event_id));
        let record = SeenRecord { position, previous: self.records[1].position, mark };
        Seen { file: self.dir.path().join("file"), ledger: self.ledger, record, is_intact: |_| true }
    }

    fn open(&self, seen: Seen, accepts: bool) -> Arc<EventStore> {
        self.open_at(&self.double, seen, accepts)
    }

    fn open_at(&self, double: &Double, seen: Seen, accepts: bool) -> Arc<EventStore> {
        let accept_loss =
            accepts.then(|| AcceptLoss { by: "ana".to_owned(), dir: self.dir.path().to_owned() });
        let target = Arc::new(Target::parse(&double.url()).unwrap());
        let serve = Some(crate::secrets::new_ledger_identity());
        let evidence = Evidence { seen: vec![seen], accept_loss };
        EventStore::open_checked(target, serve, Arc::new(SystemClock), evidence).unwrap()
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> =
            names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn refusal(store: &EventStore) -> String {
    match store.head().await {
        Err(StoreError::EndsEarly(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn is_refused_and_nothing_is_changed() {
    let given = Given::new().await;
    assert_eq!(given.open(given.seen(), false).head().await.unwrap().identity, given.ledger);
    let end = given.records[2].position;
    let other = SeenRecord { mark: SeenMark::Event(EventId::new(Uuid::nil())), ..given.seen().record };
    let beyond = SeenRecord { position: Position::new(1 << 40), previous: end, ..other };
    let wrong = [
        (other, format!("has another event at position {end}")),
        (beyond, format!("ends at position {end}, but ")),
    ];
    for (record, words) in wrong {
        let seen = Seen { record, ..given.seen() };
        let store = given.open(seen.clone(), false);
        for _ in 0..2 {
            let why = refusal(&store).await;
            assert!(why.starts_with(&format!("the ledger in the cluster {words}")), "{why}");
            for part in ["/file has seen", "Nothing was changed", "--accept-loss"] {
                assert!(why.contains(part), "{why}");
            }
        }
        // A file that is damaged proves nothing, and one of another ledger is of no interest.
        for seen in [Seen { is_intact: |_| false, ..seen.clone() }, Seen { ledger: Uuid::nil(), ..seen }] {
            given.open(seen, false).head().await.unwrap();
        }
    }
    assert_eq!(given.files(), ["file"]);
}

#[tokio::test]
async fn is_served_on_an_operators_word() {
    let given = Given::new().await;
    let end = given.records[2].position;
    let record = SeenRecord { position: Position::new(1 << 40), previous: end, ..given.seen().record };
    let store = given.open(Seen { record, ..given.seen() }, true);
    assert_eq!(store.head().await.unwrap().position, end);
    let kept = format!("file.lost-after-{end}.1");
    assert_eq!(given.files(), [kept.as_str(), AcceptedLoss::FILE]);
    assert_eq!(fs::read(given.dir.path().join(kept)).unwrap(), b"seen");
    let word = AcceptedLoss::read(given.dir.path()).unwrap().unwrap();
    let expected =
        AcceptedLoss { by: "ana".to_owned(), last_position: end, seen: record, seen_by: "file".to_owned() };
    assert_eq!(word, expected);
}

/// An empty cluster does not become another ledger.
#[tokio::test]
async fn that_is_empty_is_refused_as_well() {
    let given = Given::new().await;
    let empty = Double::start(DoubleOptions::default()).await.unwrap();
    let why = refusal(&given.open_at(&empty, given.seen(), false)).await;
    assert!(why.starts_with("there is no ledger in the cluster, but "), "{why}");
    assert!(empty.events_of(identity::STREAM).is_empty());
    assert_ne!(given.open_at(&empty, given.seen(), true).head().await.unwrap().identity, given.ledger);
    assert_eq!(given.files(), ["file.lost-after-0.1", AcceptedLoss::FILE]);
}

/// A node that was just elected shows what it has a moment later.
#[tokio::test]
async fn that_shows_it_a_moment_later_has_it() {
    let double = Double::start(DoubleOptions { nodes: 2, ..DoubleOptions::default() }).await.unwrap();
    let target = Arc::new(Target::parse(&double.url()).unwrap());
    let store = EventStore::open(target, None, Arc::new(SystemClock)).unwrap();
    let gate = double.hold_replication(1);
    store.append(&fresh_stream(), Expected::NoStream, new_records(1)).await.unwrap();
    let last = store.read_all(Position::START, 10).await.unwrap().remove(0);
    let mark = SeenMark::Event(last.event_id);
    let seen = SeenRecord { position: last.position, previous: Position::START, mark };
    double.elect(1);
    let reads = double.counts().nodes[1].all_reads;
    let asked = tokio::spawn(async move { store.has(&seen).await });
    while double.counts().nodes[1].all_reads < reads + 3 && !asked.is_finished() {
        tokio::task::yield_now().await;
    }
    drop(gate);
    assert_eq!(asked.await.unwrap().unwrap(), Found::There);
}
