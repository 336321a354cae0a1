//! The handle on a double. Knows: all that a test may do with it. Must not know: how it is done.

use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::cluster::Cluster;
use crate::counts::Counts;
use crate::event::{Event, Proposed};
use crate::expectation::Expected;
use crate::faults::{AppendFault, Faults, ReadFault, ReadKind};
use crate::gates::{Gate, Passage};
use crate::node::{Node, Writer};
use crate::options::Options;
use crate::serving;

/// A cluster that runs in this process until this is dropped.
///
/// Nodes are numbered from 0. Naming one that is not there panics.
#[derive(Debug)]
pub struct Double {
    cluster: Arc<Cluster>,
}

impl Double {
    /// Starts all nodes, on ports that the system chooses, on the current runtime.
    ///
    /// # Errors
    /// If there is no port to be had.
    pub async fn start(options: Options) -> io::Result<Self> {
        let double = Self { cluster: Arc::new(Cluster::new(options)?) };
        for index in 0..double.cluster.nodes.len() {
            double.start_node(index).await?;
        }
        Ok(double)
    }

    /// The connection string with all nodes. More settings can be put behind it, such as
    /// `&discoveryInterval=10`.
    pub fn url(&self) -> String {
        url(&self.cluster.nodes)
    }

    /// The connection string with one node only.
    pub fn node_url(&self, index: usize) -> String {
        url(std::slice::from_ref(self.node(index)))
    }

    /// The port of a node. It stays the same while the node is stopped, and is nobody else's then.
    pub fn port(&self, index: usize) -> u16 {
        self.node(index).port
    }

    /// Stops a node as if it were killed: every connection breaks, its port refuses new ones, and what it had not
    /// written it never writes.
    pub async fn stop_node(&self, index: usize) {
        serving::stop(&self.cluster, index).await;
    }

    /// Starts a node again, on the same port with the same log. One that runs goes on.
    ///
    /// # Errors
    /// If its port cannot be listened on.
    #[expect(clippy::unused_async, reason = "it has to be called where there is a runtime")]
    pub async fn start_node(&self, index: usize) -> io::Result<()> {
        serving::start(&self.cluster, index)
    }

    /// Puts the cluster back to an older state, as from a backup: all nodes stop as if they were killed, what follows a
    /// position is dropped, and those that ran start again, with an election. What is appended then takes positions that
    /// other events may have had.
    ///
    /// # Errors
    /// If a port cannot be listened on.
    pub async fn cut_after(&self, position: u64) -> io::Result<()> {
        let ran: Vec<_> = self.cluster.nodes.iter().filter(|node| node.is_running()).collect();
        for node in &self.cluster.nodes {
            self.stop_node(node.index).await;
        }
        self.cluster.cut_after(position);
        self.elect(self.leader());
        for node in ran {
            self.start_node(node.index).await?;
        }
        Ok(())
    }

    /// Makes a node the leader. The others go on as followers, with all their connections.
    pub fn elect(&self, index: usize) {
        self.cluster.elect(self.node(index).index);
    }

    /// Who was elected last, whether it runs or not.
    pub fn leader(&self) -> usize {
        self.cluster.elected()
    }

    fn node(&self, index: usize) -> &Node {
        &self.cluster.nodes[index]
    }
}

/// What goes wrong.
impl Double {
    /// The next append at whichever node goes wrong so; those behind it in the queue befall those after it.
    pub fn next_append(&self, fault: AppendFault) {
        self.cluster.faults.queue_append(fault);
    }

    /// The next append at this node goes wrong so. Faults of a node come before those of whichever node.
    pub fn next_append_at(&self, index: usize, fault: AppendFault) {
        self.node(index).faults.queue_append(fault);
    }

    /// The next read of this kind at whichever node goes wrong so.
    pub fn next_read(&self, kind: ReadKind, fault: ReadFault) {
        self.cluster.faults.queue_read(kind, fault);
    }

    /// The next read of this kind at this node goes wrong so.
    pub fn next_read_at(&self, index: usize, kind: ReadKind, fault: ReadFault) {
        self.node(index).faults.queue_read(kind, fault);
    }

    /// How many faults have befallen nothing yet.
    pub fn faults_left(&self) -> usize {
        let of_nodes = self.cluster.nodes.iter().map(|node| &node.faults);
        of_nodes.chain([&self.cluster.faults]).map(Faults::len).sum()
    }
}

/// What is held up.
impl Double {
    /// A node does nothing, as if it were stopped by a signal: its port takes connections, and nothing is read from them
    /// or written to them. What was sent meanwhile is handled then. The leader stays the leader until another one is
    /// elected; appends that other nodes handed on to it then fail.
    pub fn freeze(&self, index: usize) -> Gate {
        self.node(index).frozen.close()
    }

    /// Appends wait before they are written: a slow leader. They are written later also if the client has gone.
    pub fn hold_appends(&self) -> Gate {
        self.cluster.appends.close()
    }

    /// Appends are written, and their replies wait.
    pub fn hold_replies(&self) -> Gate {
        self.cluster.replies.close()
    }

    /// Subscriptions at a node hand over nothing.
    pub fn hold_subscriptions(&self, index: usize) -> Gate {
        self.node(index).subscriptions.close()
    }

    /// Subscriptions at a node hand over checkpoints, and no events. They stop in front of the first event that is
    /// wanted, so no checkpoint is ahead of it.
    pub fn checkpoints_only(&self, index: usize) -> Gate {
        self.node(index).events.close()
    }

    /// Reads of this kind, at all nodes, wait before they begin. Those that have begun go on.
    pub fn hold_reads(&self, kind: ReadKind) -> Gate {
        Gate::all(self.cluster.nodes.iter().map(|node| node.reads(kind).close()))
    }

    /// Reads of this kind at one node wait before they begin.
    pub fn hold_reads_at(&self, index: usize, kind: ReadKind) -> Gate {
        self.node(index).reads(kind).close()
    }

    /// Nothing new of the log reaches a node: its reads and subscriptions answer from what it has, a follower that
    /// lags. What it is told to append it hands on to the leader.
    pub fn hold_replication(&self, index: usize) -> Gate {
        let cluster = Arc::clone(&self.cluster);
        let replication: &Passage = &self.node(index).replication;
        // Under the lock, so that an append is either before this or behind it.
        self.cluster.with_log(|_| replication.close_and(move || cluster.catch_up()))
    }
}

/// What has happened.
impl Double {
    /// What has happened so far.
    pub fn counts(&self) -> Counts {
        self.cluster.counters.now()
    }

    /// Waits until something is so, and says how it was then.
    pub async fn wait_for(&self, is_so: impl FnMut(&Counts) -> bool) -> Counts {
        self.cluster.counters.wait_for(is_so).await
    }

    /// Waits until at least so many appends wait at [`Self::hold_appends`] or [`Self::hold_replies`].
    pub async fn waiting_appends(&self, number: usize) {
        self.wait_for(|counts| counts.sum(|node| node.waiting_appends + node.waiting_replies) >= number)
            .await;
    }

    /// Every event of a stream, also those that its metadata hides, and its tombstone.
    pub fn events_of(&self, stream: &str) -> Vec<Arc<Event>> {
        self.cluster.log().events_of(stream).cloned().collect()
    }

    /// Every event there is, those of the system among them.
    pub fn all(&self) -> Vec<Arc<Event>> {
        self.cluster.log().page(0..usize::MAX, usize::MAX).iter().flatten().cloned().collect()
    }

    /// Appends an event to a stream as somebody else would. Its content type is JSON, whatever the data is.
    pub fn append_foreign(
        &self,
        stream: &str,
        event_type: &str,
        data: impl Into<Bytes>,
        custom_metadata: impl Into<Bytes>,
    ) -> Arc<Event> {
        self.cluster.plant(stream, Proposed::planted(event_type, data.into(), custom_metadata.into()))
    }

    /// Deletes a stream so that it may be continued: it reads as if it were not there, and `$all` keeps its events until
    /// [`Self::scavenge`]. A stream that has ended for good stays so.
    pub fn soft_delete(&self, stream: &str) {
        self.cluster.delete(&Writer::unstoppable(), stream, Expected::Any, false);
    }

    /// Ends a stream for good, by a tombstone: nothing is read from it or appended to it any more, and `$all` keeps its
    /// events until [`Self::scavenge`].
    pub fn hard_delete(&self, stream: &str) {
        self.cluster.delete(&Writer::unstoppable(), stream, Expected::Any, true);
    }

    /// Takes from `$all` what can no longer be read from its stream: what metadata hides, and all of a stream that has
    /// ended for good, but for its tombstone. The last event of any other stream stays. Positions and revisions do not
    /// change.
    pub fn scavenge(&self) {
        self.cluster.scavenge();
    }

    /// Damages a stored event; says whether there is one at this revision. It stays in its place in the stream and
    /// in `$all`, whatever its fields say.
    pub fn tamper(&self, stream: &str, revision: u64, change: impl FnOnce(&mut Event)) -> bool {
        self.cluster.with_log(|log| log.tamper(stream, revision, change))
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        for node in &self.cluster.nodes {
            node.stop();
        }
    }
}

fn url(nodes: &[Node]) -> String {
    let hosts: Vec<_> = nodes.iter().map(|node| node.address().to_string()).collect();
    format!("esdb://{}?tls=false", hosts.join(","))
}
