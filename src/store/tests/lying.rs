//! A store that lies, for tests. Knows: another store and a script of faults. Must not know: what the
//! records mean.
//!
//! Networks and disks fail in ways a well-behaved store never shows. This one shows them, as often as
//! told and always in the same order for a seed: it fails without appending, claims a conflict that is
//! gone at the next look, says that it does not know (and has appended, or has not), refuses reads, and
//! breaks subscriptions off.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::mpsc;

use crate::store::{Append, Expected, Head, NewRecord, Record, Signal, Store, StoreError, Subscription};

/// What can go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An append is refused and did not happen.
    AppendFails,
    /// An append meets a conflict that another writer might have caused, and did not happen.
    AppendConflicts,
    /// It is said not to be known whether an append happened, and it did not.
    UnknownAndLost,
    /// It is said not to be known whether an append happened, and it did.
    UnknownAndDone,
    /// A read fails.
    ReadFails,
    /// A subscription breaks off before what it should have said next.
    SubscriptionBreaks,
}

/// How often each fault happens: one time in so many; never if 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Script {
    /// [`Fault::AppendFails`].
    pub append_fails: u32,
    /// [`Fault::AppendConflicts`].
    pub append_conflicts: u32,
    /// [`Fault::UnknownAndLost`].
    pub unknown_and_lost: u32,
    /// [`Fault::UnknownAndDone`].
    pub unknown_and_done: u32,
    /// [`Fault::ReadFails`].
    pub read_fails: u32,
    /// [`Fault::SubscriptionBreaks`].
    pub subscription_breaks: u32,
}

impl Script {
    /// A bit of everything.
    pub const EVERYTHING: Self = Self {
        append_fails: 12,
        append_conflicts: 12,
        unknown_and_lost: 12,
        unknown_and_done: 12,
        read_fails: 10,
        subscription_breaks: 6,
    };
}

/// A store that wraps another and lies.
#[derive(Debug)]
pub struct LyingStore {
    inner: Arc<dyn Store>,
    liar: Arc<Mutex<Liar>>,
}

#[derive(Debug)]
struct Liar {
    random: StdRng,
    script: Script,
    told: Vec<Fault>,
}

impl LyingStore {
    /// Wraps a store. The same seed and the same calls meet the same faults.
    pub fn new(inner: Arc<dyn Store>, script: Script, seed: u64) -> Arc<Self> {
        let liar = Liar { random: StdRng::seed_from_u64(seed), script, told: Vec::new() };
        Arc::new(Self { inner, liar: Arc::new(Mutex::new(liar)) })
    }

    /// Lies by another script from now on.
    pub fn change(&self, script: Script) {
        with(&self.liar, |liar| liar.script = script);
    }

    /// Tells only the truth from now on.
    pub fn repent(&self) {
        self.change(Script::default());
    }

    /// The faults so far, in order.
    pub fn told(&self) -> Vec<Fault> {
        with(&self.liar, |liar| liar.told.clone())
    }

    fn read(&self) -> Result<(), StoreError> {
        with(&self.liar, |liar| match liar.draws(Fault::ReadFails) {
            true => Err(StoreError::Unavailable("a fault of the script".to_owned())),
            false => Ok(()),
        })
    }
}

fn with<T>(liar: &Mutex<Liar>, act: impl FnOnce(&mut Liar) -> T) -> T {
    act(&mut liar.lock().unwrap_or_else(PoisonError::into_inner))
}

impl Liar {
    fn draws(&mut self, fault: Fault) -> bool {
        let once_in = match fault {
            Fault::AppendFails => self.script.append_fails,
            Fault::AppendConflicts => self.script.append_conflicts,
            Fault::UnknownAndLost => self.script.unknown_and_lost,
            Fault::UnknownAndDone => self.script.unknown_and_done,
            Fault::ReadFails => self.script.read_fails,
            Fault::SubscriptionBreaks => self.script.subscription_breaks,
        };
        let drawn = once_in > 0 && self.random.random_range(0..once_in) == 0;
        self.told.extend(drawn.then_some(fault));
        drawn
    }

    fn draw_append(&mut self) -> Option<Fault> {
        use Fault::{AppendConflicts, AppendFails, UnknownAndDone, UnknownAndLost};
        [AppendFails, AppendConflicts, UnknownAndLost, UnknownAndDone]
            .into_iter()
            .find(|fault| self.draws(*fault))
    }
}

#[async_trait]
impl Store for LyingStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        let unknown = || Ok(Append::Unknown { reason: "a fault of the script".to_owned() });
        match with(&self.liar, Liar::draw_append) {
            None => self.inner.append(stream, expected, records).await,
            Some(Fault::AppendFails) => Err(StoreError::CannotWrite("a fault of the script".to_owned())),
            Some(Fault::AppendConflicts) => {
                // Where the stream really is: a caller that looks again finds it there.
                let last = self.inner.read_stream(stream, Revision::FIRST).await?;
                Ok(Append::Conflict { actual: last.last().map(|record| record.revision) })
            }
            Some(Fault::UnknownAndDone) => {
                // A conflict is known to the one who met it, but its answer got lost.
                self.inner.append(stream, expected, records).await?;
                unknown()
            }
            Some(_) => unknown(),
        }
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.read()?;
        self.inner.read_stream(stream, from).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.read()?;
        self.inner.read_all(after, limit).await
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        self.read()?;
        let mut subscription = self.inner.subscribe(after).await?;
        let (sender, receiver) = mpsc::channel(1);
        let liar = Arc::clone(&self.liar);
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    signal = subscription.next() => signal,
                    () = sender.closed() => return,
                };
                let breaks = with(&liar, |liar| liar.draws(Fault::SubscriptionBreaks));
                let signal = if breaks {
                    Signal::Lost(StoreError::Unavailable("a fault of the script".to_owned()))
                } else {
                    signal
                };
                let over = matches!(signal, Signal::Lost(_));
                if sender.send(signal).await.is_err() || over {
                    return;
                }
            }
        });
        Ok(Subscription::new(receiver))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.read()?;
        self.inner.head().await
    }

    fn latest_time(&self) -> Option<Timestamp> {
        self.inner.latest_time()
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use grantbook_events::EventId;
    use uuid::Uuid;

    use super::*;
    use crate::store::MemoryStore;
    use crate::store::contract::{fresh_stream, new_record, store_contract};

    const SEEDS: u64 = 40;

    async fn honest() -> (Arc<dyn Store>, ()) {
        let inner = MemoryStore::new(Uuid::from_u128(1));
        (LyingStore::new(inner, Script::default(), 1), ())
    }

    // A liar with nothing to lie about is a store like any other.
    store_contract!(honest);

    /// Appends one record, whatever happens: the loop every caller of a store needs.
    async fn append_surely(store: &dyn Store, stream: &StreamName, mut expected: Expected) -> EventId {
        let record = new_record("{}");
        let id = record.event_id;
        loop {
            match store.append(stream, expected, vec![record.clone()]).await {
                Ok(Append::Appended { .. }) => return id,
                Ok(Append::Conflict { actual }) => expected = Expected::after(actual),
                Ok(Append::Unknown { .. }) => {
                    match read_surely(store, stream, expected.next_revision()).await.first() {
                        Some(there) if there.event_id == id => return id,
                        Some(there) => expected = Expected::Exactly(there.revision),
                        None => {}
                    }
                }
                Err(StoreError::CannotWrite(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn read_surely(store: &dyn Store, stream: &StreamName, from: Revision) -> Vec<Record> {
        loop {
            match store.read_stream(stream, from).await {
                Ok(records) => return records,
                Err(error) => assert!(matches!(error, StoreError::Unavailable(_)), "{error}"),
            }
        }
    }

    #[tokio::test]
    async fn nothing_is_lost_and_nothing_is_there_twice() {
        let mut told = Vec::new();
        for seed in 0..SEEDS {
            let inner = MemoryStore::new(Uuid::from_u128(1));
            let store = LyingStore::new(inner.clone(), Script::EVERYTHING, seed);
            let stream = fresh_stream();
            let (mut ids, mut expected) = (Vec::new(), Expected::NoStream);
            for number in 0..30 {
                ids.push(append_surely(&*store, &stream, expected).await);
                expected = Expected::Exactly(Revision::new(number));
            }
            let stored = inner.read_stream(&stream, Revision::FIRST).await.unwrap();
            assert_eq!(stored.iter().map(|record| record.event_id).collect::<Vec<_>>(), ids, "seed {seed}");
            told.extend(store.told());
        }
        for fault in
            [Fault::AppendFails, Fault::AppendConflicts, Fault::UnknownAndLost, Fault::UnknownAndDone]
        {
            assert!(told.contains(&fault), "{fault:?} never happened");
        }
    }

    #[tokio::test]
    async fn a_follower_that_subscribes_again_misses_nothing() {
        let inner = MemoryStore::new(Uuid::from_u128(1));
        let store = LyingStore::new(inner.clone(), Script::EVERYTHING, 3);
        let mut expected = Expected::NoStream;
        let stream = fresh_stream();
        let (mut seen, mut after, mut subscription) = (Vec::new(), Position::START, None::<Subscription>);
        for number in 0..60_u64 {
            append_surely(&*inner, &stream, expected).await;
            expected = Expected::Exactly(Revision::new(number));
            while seen.len() as u64 <= number {
                let Some(running) = &mut subscription else {
                    subscription = store.subscribe(after).await.ok();
                    continue;
                };
                match running.next().await {
                    Signal::Records(records) => {
                        seen.extend(records.iter().cloned());
                        after = seen[seen.len() - 1].position;
                    }
                    Signal::CaughtUp | Signal::UpTo(_) => {}
                    Signal::Lost(_) => subscription = None,
                }
            }
        }
        assert_eq!(seen, inner.read_all(Position::START, 100).await.unwrap());
        assert!(store.told().contains(&Fault::SubscriptionBreaks));
    }

    #[tokio::test]
    async fn the_same_seed_tells_the_same_lies_and_repentance_ends_them() {
        let tell = async |seed| {
            let store = LyingStore::new(MemoryStore::new(Uuid::from_u128(1)), Script::EVERYTHING, seed);
            let stream = fresh_stream();
            for _ in 0..200 {
                let _ = store.append(&stream, Expected::NoStream, vec![new_record("{}")]).await;
                let _ = store.read_stream(&stream, Revision::FIRST).await;
            }
            store.repent();
            let told = store.told();
            for _ in 0..200 {
                let _ = store.append(&stream, Expected::NoStream, vec![new_record("{}")]).await;
            }
            assert_eq!(store.told(), told);
            told
        };
        assert_eq!(tell(5).await, tell(5).await);
        assert_ne!(tell(5).await, tell(6).await);
    }
}
