//! A new projection is one file: a tiny one, which counts events by their type.

use std::collections::BTreeMap;

use async_trait::async_trait;
use grantbook_events::codec;
use parking_lot::Mutex;

use super::*;
use crate::ledger::{Batch, FollowError, Subscriber};
use crate::store::{MemoryStore, Signal};

#[derive(Debug, Default)]
struct Counts(Mutex<(Position, BTreeMap<&'static str, usize>)>);

#[async_trait]
impl Subscriber for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    async fn checkpoint(&self, _store: &dyn Store) -> Result<Position, FollowError> {
        Ok(self.0.lock().0)
    }

    async fn handle(&self, batch: Batch) -> Result<(), FollowError> {
        let mut counts = self.0.lock();
        for record in batch.records() {
            let event = batch.read(record).map_err(|error| FollowError::Failed(error.to_string()))?;
            *counts.1.entry(codec::type_name(&event.event)).or_default() += 1;
            counts.0 = record.position;
        }
        Ok(())
    }
}

#[tokio::test]
async fn a_projection_follows_from_the_first_event_and_then_live() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let app = given.app().await;
    let counts = Arc::new(Counts::default());
    let follower = given.ledger.follow(Arc::clone(&counts) as _);
    follower.caught_up().await.unwrap();
    let granted = grant(app, &"acme".parse().unwrap());
    given.settle(&granted).await.unwrap().unwrap();
    given.settle(&exchange(&granted)).await.unwrap().unwrap();
    assert!(follower.reached(given.ledger.live().position()).await);
    let expected = BTreeMap::from([("access-granted", 1), ("app-registered", 1), ("code-exchanged", 1)]);
    assert_eq!(counts.0.lock().1, expected);
}

/// It goes on at its checkpoint: no record is handled twice, and none is left out.
#[tokio::test]
async fn a_projection_resumes_at_its_checkpoint() {
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let given = TestLedger::over(Arc::clone(&store) as _).await;
    let counts = Arc::new(Counts::default());
    for apps in 1..=3 {
        given.app().await;
        let follower = given.ledger.follow(Arc::clone(&counts) as _);
        assert!(follower.reached(given.ledger.live().position()).await);
        follower.stopped().await;
        assert_eq!(counts.0.lock().1, BTreeMap::from([("app-registered", apps)]));
    }
    let checkpoint = counts.0.lock().0;
    let mut left = store.subscribe(checkpoint).await.unwrap();
    assert!(matches!(left.next().await, Signal::CaughtUp));
}
