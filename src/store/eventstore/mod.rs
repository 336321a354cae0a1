//! The store for many nodes: a cluster of EventStoreDB or KurrentDB. Knows: the cluster's streams, and what it
//! promises. Must not know: what an event means.
//!
//! | in the cluster | what it is |
//! |---|---|
//! | `app-…`, `installation-…`, `key-…` | the ledger's streams, under their own names |
//! | `grantbook-ledger` | one event: which ledger this is |
//! | `grantbook-heartbeat` | an event each second, of which the last few are kept |
//!
//! Positions are those of `$all`. Appends go through the client crate, which is supervised ([`client`]); reads are
//! calls of our own ([`nodes`] says why).

mod appending;
mod client;
mod failure;
mod following;
mod heads;
mod heartbeat;
mod identity;
mod nodes;
mod reads;
mod record;
mod target;
#[cfg(test)]
pub(crate) mod tests;
mod tls;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use grantbook_events::{Position, Revision, StreamName};
use tokio::sync::{OnceCell, RwLock, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

use self::client::Client;
use self::heads::StreamHeads;
use self::heartbeat::Heartbeats;
use self::reads::Reads;
pub use self::target::{Target, TargetError};
use self::tls::Tls;
use super::{
    Append, Expected, Head, NewRecord, Record, Store, StoreCounts, StoreError, Subscription, check_limits,
};
use crate::clock::Clock;
use crate::tasks::Tasks;

/// How long a subscription may usually be silent.
const SILENT_FOR: Duration = Duration::from_secs(10);

/// What a ledger in a cluster is opened for.
#[derive(Debug, Clone)]
pub struct Options {
    /// To serve: the identity that a ledger which has none is given, and heartbeats. `None`: only to read.
    pub serve: Option<Uuid>,
    /// For heartbeats.
    pub clock: Arc<dyn Clock>,
    /// How long a subscription may be silent before it is taken up again. Heartbeats come every second while any
    /// node serves.
    pub silent_for: Duration,
}

impl Options {
    /// With the usual patience.
    pub fn new(serve: Option<Uuid>, clock: Arc<dyn Clock>) -> Self {
        Self { serve, clock, silent_for: SILENT_FOR }
    }
}

/// The ledger in a cluster.
#[derive(Debug)]
pub struct EventStore {
    shared: Arc<Shared>,
    minted: Option<Uuid>,
    /// Whether appends are taken. Held by each that is under way.
    is_open: RwLock<bool>,
    tasks: Arc<Tasks>,
    beating: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    reads: Reads,
    client: Client,
    heads: StreamHeads,
    heartbeats: Heartbeats,
    clock: Arc<dyn Clock>,
    identity: OnceCell<Uuid>,
    closing: watch::Sender<bool>,
    silent_for: Duration,
    resubscribed: AtomicU64,
}

impl EventStore {
    /// Gets ready to ask a cluster. Nothing is asked yet, so a cluster that cannot be reached is found out
    /// later. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// `Unavailable` if a file that the target names cannot be used.
    pub fn open(target: Arc<Target>, options: Options) -> Result<Arc<Self>, StoreError> {
        let tls = Tls::load(target.tls.as_ref())?;
        let shared = Arc::new(Shared {
            reads: Reads::new(Arc::clone(&target), tls.config),
            client: Client::new(target, tls.bundle),
            heads: StreamHeads::default(),
            heartbeats: Heartbeats::default(),
            clock: options.clock,
            identity: OnceCell::new(),
            closing: watch::Sender::new(false),
            silent_for: options.silent_for,
            resubscribed: AtomicU64::new(0),
        });
        let tasks = Arc::new(Tasks::default());
        let beating = options.serve.map(|_| {
            let (running, shared) = (tasks.begin("store-heartbeat"), Arc::clone(&shared));
            tokio::spawn(async move {
                let _running = running;
                heartbeat::beat(shared).await;
            })
        });
        Ok(Arc::new(Self {
            shared,
            tasks,
            minted: options.serve,
            is_open: RwLock::new(true),
            beating: Mutex::new(beating),
        }))
    }

    async fn identity(&self) -> Result<Uuid, StoreError> {
        let shared = &self.shared;
        shared.identity.get_or_try_init(|| identity::find_or_make(shared, self.minted)).await.copied()
    }

    fn stop_beating(&self) {
        self.tasks.stop();
        if let Some(beating) = self.beating.lock().unwrap_or_else(PoisonError::into_inner).take() {
            beating.abort();
        }
    }
}

impl Drop for EventStore {
    fn drop(&mut self) {
        self.stop_beating();
    }
}

impl Shared {
    /// Records of one stream from a revision on, the last of which is remembered.
    async fn read_records(
        &self,
        stream: &StreamName,
        from: Revision,
        count: u64,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.reads.records(stream, from, count).await?;
        if let Some(last) = records.last() {
            self.heads.remember(last);
        }
        Ok(records)
    }
}

#[async_trait]
impl Store for EventStore {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        check_limits(&records)?;
        let is_open = self.is_open.read().await;
        match *is_open {
            true => self.shared.append(stream, expected, records).await,
            false => Err(StoreError::Closed),
        }
    }

    fn tasks(&self) -> Option<&Tasks> {
        Some(&self.tasks)
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.shared.read_records(stream, from, u64::MAX).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.shared.reads.after(after, limit).await
    }

    async fn subscribe(&self, after: Position) -> Result<Subscription, StoreError> {
        following::follow(Arc::clone(&self.shared), after).await
    }

    async fn head(&self) -> Result<Head, StoreError> {
        Ok(Head { position: self.shared.reads.last().await?, identity: self.identity().await? })
    }

    async fn close(&self) -> Result<(), StoreError> {
        // Waits for the appends under way.
        *self.is_open.write().await = false;
        self.stop_beating();
        self.shared.closing.send_replace(true);
        Ok(())
    }

    fn is_shared(&self) -> bool {
        true
    }

    fn counts(&self) -> StoreCounts {
        StoreCounts {
            reconnected: self.shared.client.replaced(),
            resubscribed: self.shared.resubscribed.load(Ordering::Relaxed),
        }
    }
}
