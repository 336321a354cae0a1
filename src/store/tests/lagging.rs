//! A store that others append to, as one of several nodes sees it, for tests. Knows: another store, and gates.
//! Must not know: what the records mean.
//!
//! What is pushed to this node can be held back, and so can what it reads, each at a known point; so a test decides
//! how far behind the node is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName, Timestamp};
use tokio::sync::{mpsc, watch};

use crate::store::{Append, Expected, Head, NewRecord, Record, Signal, Store, StoreError, Subscription};

/// One node's view of a store.
#[derive(Debug)]
pub struct LaggingStore {
    inner: Arc<dyn Store>,
    /// Whether anything is pushed.
    pushes: watch::Sender<bool>,
    /// Whether what was read from a stream is handed over.
    answers: watch::Sender<bool>,
    /// What is said of the time.
    up_to: watch::Sender<Timestamp>,
    /// The last position that streams are read up to.
    last: AtomicU64,
    reads: AtomicU64,
    waiting: watch::Sender<u64>,
}

impl LaggingStore {
    /// A node's view of a store, up to a time.
    pub fn new(inner: Arc<dyn Store>, up_to: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            inner,
            pushes: watch::Sender::new(true),
            answers: watch::Sender::new(true),
            up_to: watch::Sender::new(up_to),
            last: AtomicU64::new(u64::MAX),
            reads: AtomicU64::new(0),
            waiting: watch::Sender::new(0),
        })
    }

    /// Whether anything is pushed from now on.
    pub fn push(&self, does: bool) {
        self.pushes.send_replace(does);
    }

    /// Whether what is read from a stream from now on is handed over.
    pub fn answer(&self, does: bool) {
        self.answers.send_replace(does);
    }

    /// Says that everything before a time has been pushed, once it has been.
    pub fn beat(&self, time: Timestamp) {
        self.up_to.send_replace(time);
    }

    /// The store was put back: no stream has anything after this position any more.
    pub fn put_back(&self, last: Position) {
        self.last.store(last.as_u64(), Ordering::Release);
    }

    /// How many reads of a stream there were.
    pub fn reads(&self) -> u64 {
        self.reads.load(Ordering::Acquire)
    }

    /// Waits until so many reads have their answer and may not hand it over.
    pub async fn held(&self, count: u64) {
        let _ = self.waiting.subscribe().wait_for(|waiting| *waiting >= count).await;
    }
}

async fn when(gate: &watch::Sender<bool>) {
    let _ = gate.subscribe().wait_for(|is_open| *is_open).await;
}

#[async_trait]
impl Store for LaggingStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        self.inner.append(stream, expected, records).await
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.reads.fetch_add(1, Ordering::AcqRel);
        let mut read = self.inner.read_stream(stream, from).await;
        if let Ok(records) = &mut read {
            let last = self.last.load(Ordering::Acquire);
            records.retain(|record| record.position.as_u64() <= last);
        }
        self.waiting.send_modify(|waiting| *waiting += 1);
        when(&self.answers).await;
        self.waiting.send_modify(|waiting| *waiting -= 1);
        read
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.read_all(after, limit).await
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        let mut running = self.inner.subscribe(after).await?;
        let (sender, receiver) = mpsc::channel(4);
        let (mut pushes, mut up_to) = (self.pushes.subscribe(), self.up_to.subscribe());
        up_to.mark_changed();
        tokio::spawn(async move {
            loop {
                let signal = tokio::select! {
                    biased;
                    signal = running.next() => signal,
                    changed = up_to.changed() => match changed {
                        Ok(()) => Signal::UpTo(*up_to.borrow_and_update()),
                        Err(_) => return,
                    },
                };
                let _ = pushes.wait_for(|pushes| *pushes).await;
                let is_over = matches!(signal, Signal::Lost(_));
                if sender.send(signal).await.is_err() || is_over {
                    return;
                }
            }
        });
        Ok(Subscription::new(receiver))
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.inner.head().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }

    fn is_shared(&self) -> bool {
        true
    }
}
