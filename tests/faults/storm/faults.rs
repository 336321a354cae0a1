//! What goes wrong, one after the other, as the seed says. Knows: how a cluster and its nodes are killed and frozen. Must not
//! know: what callers do meanwhile.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use grantbook_eventstore_double::Gate;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom as _, SliceRandom as _};
use rand::{RngExt as _, SeedableRng as _};

use super::node::Node;
use crate::cluster::Cluster;

/// How many nodes there are, of the cluster and of grantbook.
pub const NODES: usize = 3;
/// How many of a hundred nodes of grantbook that are killed are killed again while they start.
const KILLED_STARTING: u32 = 25;

/// For how long a node is frozen, in milliseconds.
const FROZEN: Range<u64> = 500..4000;
/// For how long followers get nothing new, in milliseconds: longer than data may be old.
const LAG: Range<u64> = 3000..6000;

/// What befalls the cluster.
#[derive(Debug, Clone, Copy)]
enum OfCluster {
    KillLeader,
    /// It comes back as the leader.
    KillLeaderWithoutElection,
    KillFollower,
    FreezeLeader,
    FreezeLeaderWithoutElection,
    FreezeFollower,
    /// The followers lag, and the node that was the leader is one of them.
    StopReplication,
    Elect,
    KillAll,
}

/// What befalls a node of grantbook.
#[derive(Debug, Clone, Copy)]
enum OfNode {
    Kill,
    Freeze,
}

/// Draws from a set until all of it was drawn, and begins again: a short run has as much variety as it can.
struct Bag<T: 'static> {
    all: &'static [T],
    left: Vec<T>,
}

/// The faults of a run until it is over.
pub struct Faults<'a> {
    pub seed: u64,
    pub length: Duration,
    pub began: Instant,
    /// Whether the test has failed.
    pub is_over: &'a AtomicBool,
    /// What was done when.
    pub done: Mutex<Vec<(Duration, String)>>,
}

const OF_CLUSTER: &[OfCluster] = &[
    OfCluster::KillLeader,
    OfCluster::KillLeader,
    OfCluster::KillLeaderWithoutElection,
    OfCluster::KillFollower,
    OfCluster::FreezeLeader,
    OfCluster::FreezeLeader,
    OfCluster::FreezeLeaderWithoutElection,
    OfCluster::FreezeFollower,
    OfCluster::StopReplication,
    OfCluster::StopReplication,
    OfCluster::Elect,
    OfCluster::KillAll,
];
const OF_NODE: &[OfNode] = &[OfNode::Kill, OfNode::Freeze];

impl<T: Copy> Bag<T> {
    const fn of(all: &'static [T]) -> Self {
        Self { all, left: Vec::new() }
    }

    fn draw(&mut self, random: &mut StdRng) -> T {
        if self.left.is_empty() {
            self.left = self.all.to_vec();
            self.left.shuffle(random);
        }
        self.left.pop().unwrap()
    }
}

impl Faults<'_> {
    /// Lets faults befall the cluster until the end. At most one of its nodes is down at once, or all for a moment.
    pub fn of_cluster(&self, cluster: &Cluster) {
        let (mut random, mut bag) = (StdRng::seed_from_u64(self.seed), Bag::of(OF_CLUSTER));
        while !self.is_at_end() {
            pause(&mut random, 200..1500);
            let fault = bag.draw(&mut random);
            self.befall_cluster(fault, cluster, &mut random);
        }
    }

    /// Lets faults befall grantbook's nodes until the end, one node at a time.
    pub fn of_nodes(&self, nodes: &[Node]) {
        let (mut random, mut bag) = (StdRng::seed_from_u64(!self.seed), Bag::of(OF_NODE));
        while !self.is_at_end() {
            pause(&mut random, 200..1500);
            let number = random.random_range(0..nodes.len());
            let (fault, node) = (bag.draw(&mut random), &nodes[number]);
            self.note(format_args!("{fault:?} node {number}"));
            match fault {
                OfNode::Kill => {
                    node.kill();
                    pause(&mut random, 0..500);
                    if random.random_ratio(KILLED_STARTING, 100) {
                        node.site.killed_when("node.lock");
                    }
                    node.serve();
                }
                OfNode::Freeze => {
                    node.freeze();
                    pause(&mut random, FROZEN);
                    node.thaw();
                }
            }
            self.note(format_args!("{fault:?} node {number} is over"));
        }
    }

    fn befall_cluster(&self, fault: OfCluster, cluster: &Cluster, random: &mut StdRng) {
        let (double, leader) = (cluster.held(), cluster.held().leader());
        let others: Vec<usize> = (0..NODES).filter(|node| *node != leader).collect();
        let other = *others.choose(random).unwrap();
        self.note(format_args!("{fault:?}, leader {leader}, other {other}"));
        match fault {
            OfCluster::KillLeader => {
                // What it wrote last is not answered any more.
                let unanswered = double.hold_replies();
                pause(random, 50..400);
                cluster.stop_node(leader);
                unanswered.open();
                pause(random, 0..500);
                double.elect(other);
                pause(random, 200..2000);
                cluster.start_node(leader);
            }
            OfCluster::KillLeaderWithoutElection => {
                cluster.stop_node(leader);
                pause(random, 200..1000);
                cluster.start_node(leader);
            }
            OfCluster::KillFollower => {
                cluster.stop_node(other);
                pause(random, 200..3000);
                cluster.start_node(other);
            }
            OfCluster::FreezeLeader => {
                let frozen = double.freeze(leader);
                pause(random, 0..1000);
                double.elect(other);
                frozen_for(frozen, random);
            }
            OfCluster::FreezeLeaderWithoutElection => frozen_for(double.freeze(leader), random),
            OfCluster::FreezeFollower => frozen_for(double.freeze(other), random),
            OfCluster::StopReplication => {
                double.elect(other);
                let followers = (0..NODES).filter(|node| *node != other);
                let held: Vec<Gate> = followers.map(|node| double.hold_replication(node)).collect();
                pause(random, LAG);
                drop(held);
            }
            OfCluster::Elect => double.elect(other),
            OfCluster::KillAll => {
                (0..NODES).for_each(|node| cluster.stop_node(node));
                pause(random, 200..1000);
                double.elect(other);
                (0..NODES).for_each(|node| cluster.start_node(node));
            }
        }
        self.note(format_args!("{fault:?} is over"));
    }

    fn is_at_end(&self) -> bool {
        self.began.elapsed() >= self.length || self.is_over.load(Ordering::SeqCst)
    }

    fn note(&self, what: fmt::Arguments<'_>) {
        self.done.lock().unwrap().push((self.began.elapsed(), what.to_string()));
    }

    /// How many faults there were.
    pub fn count(&self) -> usize {
        self.done.lock().unwrap().iter().filter(|(_, what)| !what.ends_with("is over")).count()
    }

    /// What was done when.
    pub fn story(&self) -> String {
        self.done.lock().unwrap().iter().fold(String::new(), |mut story, (at, what)| {
            let _ = writeln!(story, "{:>8.3} s  {what}", at.as_secs_f64());
            story
        })
    }
}

fn frozen_for(gate: Gate, random: &mut StdRng) {
    pause(random, FROZEN);
    gate.open();
}

fn pause(random: &mut StdRng, millis: Range<u64>) {
    thread::sleep(Duration::from_millis(random.random_range(millis)));
}
