//! All that the nodes share: the log, who leads, and what is counted. Knows: what is written when, and who sees
//! it. Must not know: messages.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use crate::counts::Counters;
use crate::event::{Event, Proposed};
use crate::expectation::{Expected, Outcome, Verdict, judge};
use crate::faults::{AppendFault, Faults, ReadFault, ReadKind};
use crate::gates::Passage;
use crate::log::Log;
use crate::node::{Node, Writer};
use crate::options::{Clock, Options};
use crate::retention::{METADATA_TYPE, continuing, deleting, metadata_stream_of};

/// Where the system says who leads, and with which events.
const EPOCHS: (&str, &str) = ("$epoch-information", "$epoch-information");
/// Where the system says how it is, and with which events.
const STATS: (&str, &str) = ("$stats-127.0.0.1", "$statsCollected");

/// A cluster of nodes with one log.
#[derive(Debug)]
pub(crate) struct Cluster {
    pub nodes: Vec<Node>,
    pub counters: Counters,
    pub version: String,
    /// What a request must send as `authorization`, if anything.
    pub authorization: Option<String>,
    pub live_buffer: usize,
    pub acknowledges_at_once: bool,
    pub write_timeout: Duration,
    replays_say_position: bool,
    pub clock: Clock,
    /// Closed while appends wait to be written.
    pub appends: Passage,
    /// Closed while replies to what is written wait.
    pub replies: Passage,
    /// Faults of whichever node is the first.
    pub faults: Faults,
    written: RwLock<Written>,
    leader: AtomicUsize,
    stats_every: usize,
}

#[derive(Debug, Default)]
struct Written {
    log: Log,
    appends: usize,
}

impl Cluster {
    /// A cluster of which no node runs yet.
    pub fn new(options: Options) -> io::Result<Self> {
        let nodes = (0..options.nodes.max(1)).map(Node::new).collect::<io::Result<Vec<_>>>()?;
        let basic = |(user, password)| format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
        let cluster = Self {
            counters: Counters::new(nodes.len()),
            nodes,
            version: options.version,
            authorization: options.credentials.map(basic),
            live_buffer: options.live_buffer,
            acknowledges_at_once: options.acknowledges_at_once,
            write_timeout: options.write_timeout,
            replays_say_position: options.replays_say_position,
            clock: options.clock,
            appends: Passage::default(),
            replies: Passage::default(),
            faults: Faults::default(),
            written: RwLock::default(),
            leader: AtomicUsize::new(0),
            stats_every: options.stats_every,
        };
        cluster.elect(0);
        Ok(cluster)
    }

    /// Makes a node the leader, which it writes down as the real one does.
    pub fn elect(&self, index: usize) {
        let mut written = self.write();
        let before = self.leader.swap(index, Ordering::SeqCst);
        if let Some(before) = self.nodes.get(before).filter(|before| before.index != index) {
            before.is_replaced();
        }
        let data = Bytes::from(format!("{{\"leader\":{index}}}"));
        self.system_event(&mut written.log, EPOCHS, data);
        self.publish(&written.log);
    }

    /// Who was elected last, whether it runs or not.
    pub fn elected(&self) -> usize {
        self.leader.load(Ordering::SeqCst)
    }

    /// The leader, if it runs.
    pub fn leader(&self) -> Option<&Node> {
        self.nodes.get(self.elected()).filter(|node| node.is_running())
    }

    /// Appends, unless the node that would write it has stopped.
    pub fn append(
        &self,
        writer: &Writer,
        stream: &str,
        expected: Expected,
        proposed: Vec<Proposed>,
    ) -> Option<Outcome> {
        let mut written = self.write();
        if writer.has_ended() {
            return None;
        }
        Some(match judge(&written.log, stream, expected, &proposed) {
            Verdict::Answer(Outcome::Written { revision, .. }) if !self.replays_say_position => {
                Outcome::Replayed { revision }
            }
            Verdict::Answer(outcome) => outcome,
            Verdict::Write => {
                let mut outcome = Outcome::Nothing { current: None };
                let continued = written.log.retention(stream).is_deleted();
                let first = written.log.last_revision(stream).map_or(0, |last| last + 1);
                for new in proposed {
                    let event = written.log.push(stream, new, self.clock.ticks());
                    outcome = Outcome::Written { revision: event.revision, position: event.position };
                }
                if continued {
                    let metadata = metadata_stream_of(stream);
                    let last = written.log.events_of(&metadata).last();
                    let data = continuing(last.map_or(&[], |event| &event.data), first);
                    self.system_event(&mut written.log, (&metadata, METADATA_TYPE), data);
                }
                self.appended(&mut written);
                outcome
            }
        })
    }

    /// Deletes a stream, so that it may be continued or has ended for good, unless the node that would write it has
    /// stopped.
    pub fn delete(
        &self,
        writer: &Writer,
        stream: &str,
        expected: Expected,
        is_for_good: bool,
    ) -> Option<Outcome> {
        let mut written = self.write();
        if writer.has_ended() {
            return None;
        }
        // The server judges it as an append that was not made before.
        let (log, now) = (&mut written.log, self.clock.ticks());
        let deletion = Proposed::planted(METADATA_TYPE, deleting(), Bytes::new());
        if let Verdict::Answer(outcome) = judge(log, stream, expected, std::slice::from_ref(&deletion)) {
            return Some(outcome);
        }
        let event = if is_for_good {
            log.bury(stream, now)
        } else {
            log.push(&metadata_stream_of(stream), deletion, now)
        };
        self.appended(&mut written);
        Some(Outcome::Written { revision: event.revision, position: event.position })
    }

    /// Takes away what can no longer be read from streams.
    pub fn scavenge(&self) {
        self.write().log.scavenge(self.clock.ticks());
    }

    /// Drops what follows a position, also from the nodes, of which none runs.
    pub fn cut_after(&self, position: u64) {
        let log = &mut self.write().log;
        log.cut(log.place_after(position));
        for node in &self.nodes {
            node.visible.send_modify(|visible| *visible = log.len().min(*visible));
        }
    }

    /// Appends an event, wherever its stream is.
    pub fn plant(&self, stream: &str, new: Proposed) -> Arc<Event> {
        let mut written = self.write();
        let event = written.log.push(stream, new, self.clock.ticks());
        self.appended(&mut written);
        event
    }

    /// Lets the nodes see an append, and now and then an event of the system behind it.
    fn appended(&self, written: &mut Written) {
        written.appends += 1;
        if self.stats_every > 0 && written.appends.is_multiple_of(self.stats_every) {
            let data = Bytes::from(format!("{{\"appends\":{}}}", written.appends));
            self.system_event(&mut written.log, STATS, data);
        }
        self.publish(&written.log);
    }

    fn system_event(&self, log: &mut Log, (stream, event_type): (&str, &str), data: Bytes) {
        log.push(stream, Proposed::planted(event_type, data, Bytes::new()), self.clock.ticks());
    }

    fn publish(&self, log: &Log) {
        for node in self.nodes.iter().filter(|node| node.replication.is_open()) {
            node.visible.send_replace(log.len());
        }
    }

    /// Lets all nodes see what is there that are not kept from it.
    pub fn catch_up(&self) {
        self.publish(&self.write().log);
    }

    /// Waits for whatever is just being written.
    pub fn settle(&self) {
        drop(self.write());
    }

    pub fn log(&self) -> impl std::ops::Deref<Target = Log> + '_ {
        ReadLog(self.written.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something with the log.
    pub fn with_log<T>(&self, action: impl FnOnce(&mut Log) -> T) -> T {
        action(&mut self.write().log)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Written> {
        self.written.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next fault of an append at a node.
    pub fn append_fault(&self, node: &Node) -> Option<AppendFault> {
        node.faults.take_append().or_else(|| self.faults.take_append())
    }

    /// The next fault of a read at a node.
    pub fn read_fault(&self, node: &Node, kind: ReadKind) -> Option<ReadFault> {
        node.faults.take_read(kind).or_else(|| self.faults.take_read(kind))
    }
}

struct ReadLog<'a>(RwLockReadGuard<'a, Written>);

impl std::ops::Deref for ReadLog<'_> {
    type Target = Log;

    fn deref(&self) -> &Log {
        &self.0.log
    }
}
