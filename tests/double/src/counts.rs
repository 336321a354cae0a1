//! What has happened so far, to be looked at and waited for. Knows: numbers. Must not know: what they are numbers
//! of. Tests wait for these instead of for time to pass.

use std::sync::Arc;

use tokio::sync::watch;

/// What has happened at one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NodeCounts {
    /// Appends that arrived in whole.
    pub appends: usize,
    /// Appends held up by a gate before they are written, now.
    pub waiting_appends: usize,
    /// Appends that are written while a gate holds up their reply, now.
    pub waiting_replies: usize,
    /// Calls of `BatchAppend` that more may arrive over, now.
    pub open_batches: usize,
    /// Reads of streams that were asked for.
    pub stream_reads: usize,
    /// Reads of `$all` that were asked for.
    pub all_reads: usize,
    /// Subscriptions that were asked for.
    pub subscriptions: usize,
    /// Reads and subscriptions held up by a gate before they begin, now.
    pub waiting_reads: usize,
    /// Subscriptions that are being served, now.
    pub open_subscriptions: usize,
    /// Subscriptions that have said they are caught up, each time they did.
    pub caught_up: usize,
    /// Connections that were accepted.
    pub connections: usize,
    /// Questions who is in the cluster.
    pub gossips: usize,
}

/// What has happened so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// One of each node, in their order.
    pub nodes: Vec<NodeCounts>,
}

impl Counts {
    /// A number of all nodes together, such as `counts.sum(|node| node.appends)`.
    pub fn sum(&self, number: impl Fn(&NodeCounts) -> usize) -> usize {
        self.nodes.iter().map(number).sum()
    }
}

/// Counts that can be waited for.
#[derive(Debug, Clone)]
pub(crate) struct Counters(Arc<watch::Sender<Counts>>);

impl Counters {
    pub fn new(nodes: usize) -> Self {
        Self(Arc::new(watch::Sender::new(Counts { nodes: vec![NodeCounts::default(); nodes] })))
    }

    pub fn now(&self) -> Counts {
        self.0.borrow().clone()
    }

    /// Counts something at a node.
    pub fn count(&self, node: usize, change: impl FnOnce(&mut NodeCounts)) {
        self.0.send_modify(|counts| {
            if let Some(node) = counts.nodes.get_mut(node) {
                change(node);
            }
        });
    }

    /// Counts something for as long as it is kept.
    pub fn during(&self, node: usize, number: fn(&mut NodeCounts) -> &mut usize) -> Counted {
        self.count(node, |counts| *number(counts) += 1);
        Counted { counters: self.clone(), node, number }
    }

    pub async fn wait_for(&self, mut is_so: impl FnMut(&Counts) -> bool) -> Counts {
        match self.0.subscribe().wait_for(|counts| is_so(counts)).await {
            Ok(counts) => counts.clone(),
            // It cannot be: we hold the sender.
            Err(_) => self.now(),
        }
    }
}

/// Something that is so now, and is counted.
#[derive(Debug)]
pub(crate) struct Counted {
    counters: Counters,
    node: usize,
    number: fn(&mut NodeCounts) -> &mut usize,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.counters.count(self.node, |counts| {
            let number = (self.number)(counts);
            *number = number.saturating_sub(1);
        });
    }
}
