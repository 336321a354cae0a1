//! What the parts of the store have in common: the connections to the cluster, and what is known of it. Knows: all of the
//! parts that it holds. Must not know: who uses them for what.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use grantbook_events::{Revision, StreamName};
use tokio::sync::{OnceCell, RwLock, watch};
use uuid::Uuid;

use super::client::Client;
use super::heads::StreamHeads;
use super::nodes::Nodes;
use crate::clock::Clock;
use crate::store::{Record, StoreError};
use crate::tasks::Tasks;

pub(super) struct Shared {
    pub nodes: Nodes,
    pub client: Client,
    pub heads: StreamHeads,
    /// The revision of the last heartbeat that came here.
    pub heartbeat_seen: watch::Sender<Option<u64>>,
    pub clock: Arc<dyn Clock>,
    /// The identity that a ledger without one gets.
    pub minted: Option<Uuid>,
    pub identity: OnceCell<Uuid>,
    /// Whether appends are taken. Held by each that is under way.
    pub is_open: RwLock<bool>,
    pub closing: watch::Sender<bool>,
    pub tasks: Arc<Tasks>,
    pub silent_for: Duration,
    pub resubscribed: AtomicU64,
}

impl Shared {
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
            self.heads.remember(last);
        }
        Ok(records)
    }
}
