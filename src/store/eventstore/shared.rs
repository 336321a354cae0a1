//! What the parts of the store have in common: the connections to the cluster, and what is known of it. Knows: all of the
//! parts that it holds. Must not know: who uses them for what.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use grantbook_events::{Revision, StreamName};
use lru::LruCache;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, RwLock, watch};
use uuid::Uuid;

use super::batches::Batches;
use super::client::Client;
use super::nodes::Nodes;
use crate::clock::Clock;
use crate::store::{ChainDigest, Evidence, Record, StoreError};
use crate::tasks::Tasks;

/// Of how many streams the end is remembered.
pub(super) const MAX_HEADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

pub(super) struct Shared {
    pub nodes: Nodes,
    pub batches: Batches,
    pub client: Client,
    /// Where streams ended when they were last read or written. It may be old: the append at its exact revision decides.
    pub heads: Mutex<LruCache<StreamName, (Revision, ChainDigest)>>,
    /// The revision of the last heartbeat that came here.
    pub heartbeat_seen: watch::Sender<Option<u64>>,
    pub clock: Arc<dyn Clock>,
    /// The identity that a ledger without one gets.
    pub minted: Option<Uuid>,
    pub identity: OnceCell<Uuid>,
    /// What files of this node have seen of the ledger.
    pub evidence: Evidence,
    /// Whether appends are taken. Held by each that is under way.
    pub is_open: RwLock<bool>,
    pub closing: watch::Sender<bool>,
    pub tasks: Arc<Tasks>,
    pub silent_for: Duration,
    pub resubscribed: AtomicU64,
}

impl Shared {
    /// Remembers the last record of a stream, so that the next is chained to it without reading it.
    pub(super) fn remember(&self, record: &Record) {
        if record.fault.is_some() {
            return;
        }
        let mut heads = self.heads.lock();
        if heads.get(&record.stream).is_none_or(|(known, _)| *known < record.revision) {
            heads.put(record.stream.clone(), (record.revision, record.digest));
        }
    }

    /// The digest of a stream's record at a revision, if that is where the stream is remembered to end.
    pub(super) fn remembered(&self, stream: &StreamName, revision: Revision) -> Option<ChainDigest> {
        let mut heads = self.heads.lock();
        heads.get(stream).filter(|(known, _)| *known == revision).map(|(_, digest)| *digest)
    }

    /// Ends the heartbeats and the subscriptions.
    pub(super) fn stop(&self) {
        self.tasks.stop();
        self.closing.send_replace(true);
    }

    /// Records of one stream from a revision on, the last of which is remembered.
    pub(super) async fn read_records(
        &self,
        stream: &StreamName,
        from: Revision,
        count: u64,
    ) -> Result<Vec<Record>, StoreError> {
        let records = self.nodes.records(stream, from, count).await?;
        if let Some(last) = records.last() {
            self.remember(last);
        }
        Ok(records)
    }
}
