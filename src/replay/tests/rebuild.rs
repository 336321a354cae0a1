//! A projection is built again while it is served: nobody notices, and what was wrong is right afterwards.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;
use grantbook_events::{Revision, StreamName};
use grantbook_projections::live::Live;
use tokio::sync::mpsc;

use super::*;
use crate::audit::History;
use crate::clock::SystemClock;
use crate::ledger::{Ledger, LedgerOptions, fold};
use crate::store::{Head, Signal, Subscription};

/// A store whose next subscriptions are fed by the test.
#[derive(Debug)]
struct Gated(Arc<MemoryStore>, Mutex<VecDeque<mpsc::Receiver<Signal>>>);

impl Gated {
    fn new(store: &Arc<MemoryStore>) -> Arc<Self> {
        Arc::new(Self(Arc::clone(store), Mutex::default()))
    }

    /// What feeds the next subscription that has no feed yet.
    fn feed(&self) -> mpsc::Sender<Signal> {
        let (feed, gate) = mpsc::channel(8);
        self.1.lock().unwrap().push_back(gate);
        feed
    }
}

#[async_trait]
impl Store for Gated {
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
        let gate = self.1.lock().unwrap().pop_front();
        match gate {
            Some(signals) => Ok(Subscription::new(signals)),
            None => self.0.subscribe(after).await,
        }
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.0.head().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

fn rebuilds_of(ledger: &Arc<Ledger>) -> Rebuilds {
    // The directory is not there: only what rebuilds the history may notice.
    let history = History::start(ledger, "/dev/null/no-history".into());
    Rebuilds::new(Arc::clone(ledger), history)
}

async fn ended(rebuilds: &Rebuilds) -> String {
    ended_of(rebuilds, Projection::Live).await
}

/// Waits until a rebuild is over; gives its state, and why it failed.
pub(super) async fn ended_of(rebuilds: &Rebuilds, projection: Projection) -> String {
    let over = async {
        loop {
            if let Some(Rebuild { state, ended_at: Some(_), reason, .. }) = rebuilds.last(projection) {
                return reason.map_or(state.to_owned(), |why| format!("{state}: {why}"));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), over).await.expect("a rebuild ends")
}

/// A ledger that serves something else than its records fold to.
async fn wrong(store: &Arc<MemoryStore>) -> (Arc<Ledger>, Live) {
    let ledger = Ledger::open(Arc::clone(store) as _, Arc::new(SystemClock));
    ledger.caught_up().await.unwrap();
    let (right, wrong) = (Live::new(), Live::new());
    for mut record in everything(&**store).await {
        fold(&right, &record).unwrap();
        record.payload = record.payload.replace("[\"faqs\"]", "[\"brands\"]");
        fold(&wrong, &record).unwrap();
    }
    assert_ne!(right.digest(), wrong.digest());
    ledger.adopt(Arc::new(wrong)).unwrap();
    (ledger, right)
}

#[tokio::test]
async fn what_was_right_is_the_same_again() {
    for seed in 40..43 {
        let (ledger, _) = history(seed).await;
        let (before, old) = (ledger.live().digest(), Arc::as_ptr(&ledger.live()));
        let rebuilds = rebuilds_of(&ledger);
        assert!(rebuilds.last(Projection::Live).is_none() && !rebuilds.cancel(Projection::Live));
        rebuilds.start(Projection::Live).unwrap();
        assert_eq!(ended(&rebuilds).await, "same");
        assert_eq!(ledger.live().digest(), before);
        assert_ne!(Arc::as_ptr(&ledger.live()), old, "another copy is served");
        let Rebuild { position, head, .. } = rebuilds.last(Projection::Live).unwrap();
        assert_eq!((position, head), (ledger.live().position(), ledger.live().position()));
    }
}

#[tokio::test]
async fn what_was_wrong_is_repaired() {
    let (_, store) = history(44).await;
    let (ledger, right) = wrong(&store).await;
    assert_ne!(ledger.live().digest(), right.digest());
    let rebuilds = rebuilds_of(&ledger);
    rebuilds.start(Projection::Live).unwrap();
    assert_eq!(ended(&rebuilds).await, "repaired");
    assert_eq!(ledger.live().difference(&right), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_are_settled_meanwhile() {
    let store = MemoryStore::new(Uuid::from_u128(45));
    let given = Arc::new(TestLedger::over(Arc::clone(&store) as _).await);
    let app = given.app().await;
    let rebuilds = rebuilds_of(&given.ledger);
    for round in 0..5 {
        let busy = tokio::spawn({
            let given = Arc::clone(&given);
            async move {
                for n in 0..200 {
                    let granted = grant(app, &format!("a-{round}-{n}").parse().unwrap());
                    let exchanged = exchange(&granted);
                    given.settle(&granted).await.unwrap().unwrap();
                    given.settle(&exchanged).await.unwrap().unwrap();
                    assert!(given.is_valid(exchanged.token_digest), "what was answered is visible");
                }
            }
        });
        rebuilds.start(Projection::Live).unwrap();
        assert_eq!(ended(&rebuilds).await, "same");
        busy.await.unwrap();
    }
    let replayed = replay(&*store, Until::Head).await;
    assert_eq!(given.ledger.live().difference(&replayed.live), None);
    assert_eq!(replayed.live.counts().tokens, 1000);
}

#[tokio::test]
async fn one_that_is_cancelled_or_breaks_changes_nothing() {
    let (_, store) = history(46).await;
    let gated = Gated::new(&store);
    let ledger = Ledger::open(Arc::clone(&gated) as _, Arc::new(SystemClock));
    ledger.caught_up().await.unwrap();
    let served = Arc::as_ptr(&ledger.live());
    let rebuilds = rebuilds_of(&ledger);
    let records = everything(&*store).await;

    let feed = gated.feed();
    rebuilds.start(Projection::Live).unwrap();
    assert_eq!(rebuilds.start(Projection::Live), Err(NotStarted::Running));
    feed.send(Signal::Records(Arc::new(records[..7].to_vec()))).await.unwrap();
    has_folded(&rebuilds, 7).await;
    assert!(rebuilds.cancel(Projection::Live));
    feed.send(Signal::Records(Arc::new(records[7..9].to_vec()))).await.unwrap();
    assert_eq!(ended(&rebuilds).await, "cancelled");
    assert_eq!(Arc::as_ptr(&ledger.live()), served);

    let feed = gated.feed();
    rebuilds.start(Projection::Live).unwrap();
    feed.send(Signal::Lost(StoreError::Unavailable("gone".to_owned()))).await.unwrap();
    let outcome = ended(&rebuilds).await;
    assert!(outcome.starts_with("failed: ") && outcome.contains("gone"), "{outcome}");
    assert_eq!(Arc::as_ptr(&ledger.live()), served);

    rebuilds.start(Projection::Live).unwrap();
    assert_eq!(ended(&rebuilds).await, "same", "the next one is not held up by those");
}

/// Waits until the rebuild has folded so many events.
async fn has_folded(rebuilds: &Rebuilds, events: u64) {
    let seen = async {
        while rebuilds.last(Projection::Live).unwrap().events < events {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
}

/// Begins a rebuild that is fed by the test, and feeds it everything there is.
async fn begun(gated: &Gated, rebuilds: &Rebuilds) -> (Vec<Record>, mpsc::Sender<Signal>) {
    let feed = gated.feed();
    rebuilds.start(Projection::Live).unwrap();
    let before = everything(&*gated.0).await;
    feed.send(Signal::Records(Arc::new(before.clone()))).await.unwrap();
    has_folded(rebuilds, before.len() as u64).await;
    (before, feed)
}

/// The new copy was the same where the rebuild began, and is not any more where it takes the place.
#[tokio::test]
async fn a_new_copy_that_is_not_the_same_in_the_end_is_taken_back() {
    let store = MemoryStore::new(Uuid::from_u128(50));
    let gated = Gated::new(&store);
    let given = TestLedger::over(Arc::clone(&gated) as _).await;
    let app = given.app().await;
    let (served, rebuilds) = (Arc::as_ptr(&given.ledger.live()), rebuilds_of(&given.ledger));
    let (before, feed) = begun(&gated, &rebuilds).await;

    let granted = grant(app, &"acme".parse().unwrap());
    given.settle(&granted).await.unwrap().unwrap();
    let exchanged = exchange(&granted);
    given.settle(&exchanged).await.unwrap().unwrap();
    let mut wrong = everything(&*store).await.split_off(before.len());
    for record in &mut wrong {
        record.payload = record.payload.replace("[\"faqs\"]", "[\"brands\"]");
    }
    let later = gated.feed();
    later.send(Signal::Records(Arc::new(wrong))).await.unwrap();
    later.send(Signal::CaughtUp).await.unwrap();
    feed.send(Signal::CaughtUp).await.unwrap();
    let outcome = ended(&rebuilds).await;
    assert!(outcome.starts_with("failed: ") && outcome.contains("the old one is back"), "{outcome}");

    assert_eq!(Arc::as_ptr(&given.ledger.live()), served);
    given.settle(&revoke(exchanged.installation_id, exchanged.token_id)).await.unwrap().unwrap();
    given.app().await;
    let replayed = replay(&*store, Until::Head).await;
    assert_eq!(given.ledger.live().difference(&replayed.live), None, "and nothing is missing in it");
    assert_eq!(given.ledger.live().digest(), replayed.live.digest());
}

/// Folding ends while the copy is on its way, because nothing may be in quarantine.
#[tokio::test]
async fn a_new_copy_that_does_not_go_on_is_taken_back() {
    let (_, store) = history(52).await;
    let gated = Gated::new(&store);
    let options = LedgerOptions { strict: true, ..LedgerOptions::default() };
    let ledger = Ledger::open_with(Arc::clone(&gated) as _, Arc::new(SystemClock), options);
    ledger.caught_up().await.unwrap();
    let (served, rebuilds) = (Arc::as_ptr(&ledger.live()), rebuilds_of(&ledger));
    let (_, feed) = begun(&gated, &rebuilds).await;

    let stream = "app-5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d".parse().unwrap();
    store.append(&stream, Expected::NoStream, vec![crate::ledger::tests::poison::foreign()]).await.unwrap();
    let poison = everything(&*store).await.pop().unwrap();
    assert!(!ledger.reached(poison.position).await, "it has stopped");
    feed.send(Signal::Records(Arc::new(vec![poison]))).await.unwrap();
    let outcome = ended(&rebuilds).await;
    assert!(outcome.ends_with("did not go on, so the old one is back"), "{outcome}");
    assert_eq!(Arc::as_ptr(&ledger.live()), served);
    assert_eq!(ledger.live().quarantined(), [], "what is refused is not folded by the copy either");
}

#[tokio::test]
async fn a_ledger_that_is_not_folded_is_not_rebuilt() {
    let store = MemoryStore::new(Uuid::from_u128(47));
    let gated = Gated::new(&store);
    let feed = gated.feed();
    let ledger = Ledger::open(gated, Arc::new(SystemClock));
    assert_eq!(rebuilds_of(&ledger).start(Projection::Live), Err(NotStarted::NotReady));
    drop(feed);
}

#[tokio::test]
async fn the_history_is_built_again_too() {
    let (ledger, _) = history(49).await;
    let dir = tempfile::tempdir().unwrap();
    let kept = History::start(&ledger, dir.path().to_owned());
    kept.reached(ledger.live().position()).await.unwrap();
    let before = kept.digest_at().await.unwrap();
    let rebuilds = Rebuilds::new(Arc::clone(&ledger), Arc::clone(&kept));
    rebuilds.start(Projection::History).unwrap();
    assert_eq!(ended_of(&rebuilds, Projection::History).await, "same");
    assert_eq!(kept.digest_at().await.unwrap(), before);
    assert_eq!(rebuilds.last(Projection::History).unwrap().position, ledger.live().position());
    let broken = rebuilds_of(&ledger);
    broken.start(Projection::History).unwrap();
    assert!(ended_of(&broken, Projection::History).await.starts_with("failed: "));
}
