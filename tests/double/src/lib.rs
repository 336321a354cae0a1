//! A test double of EventStoreDB: the parts of its gRPC protocol that grantbook uses, answered from memory within
//! this process. Knows: the published protocol and what the real server does with it. Must not know: grantbook.
//!
//! It fails when and how it is told to ([`AppendFault`], [`ReadFault`]), waits where it is held up ([`Gate`]), and
//! counts what it is asked ([`Counts`]), so that a test needs no sleeps: it queues a fault or closes a gate, waits
//! for a count, and looks at what was written.
//!
//! Streams are deleted, truncated and scavenged ([`Double::soft_delete`], [`Double::hard_delete`],
//! [`Double::scavenge`]), nodes are killed and frozen ([`Double::stop_node`], [`Double::freeze`]), and a cluster is put
//! back to an older state ([`Double::cut_after`]).
//!
//! One deadline of `BatchAppend` holds until the answer. The real server keeps the one that is asked for until the append
//! has arrived in whole, and its own write timeout from then on. What the double leaves out: access lists, transactions, links, persistent subscriptions,
//! subscriptions to streams, filters by regular expressions, and metadata that is written over a deletion.
//!
//! ```no_run
//! # async fn story() -> std::io::Result<()> {
//! use grantbook_eventstore_double::{AppendFault, Double, Options};
//!
//! let double = Double::start(Options { nodes: 3, ..Options::default() }).await?;
//! double.next_append(AppendFault::CommitThenBreak);
//! // …an append to `double.url()` ends with a broken connection…
//! double.wait_for(|counts| counts.sum(|node| node.appends) == 1).await;
//! assert_eq!(double.events_of("a-stream").len(), 1);
//! # Ok(())
//! # }
//! ```

mod cluster;
mod connection;
mod counts;
mod double;
mod event;
mod expectation;
mod faults;
mod gates;
mod log;
mod node;
mod options;
pub mod protocol;
mod retention;
mod service;
mod serving;

pub use counts::{Counts, NodeCounts};
pub use double::Double;
pub use event::Event;
pub use faults::{AppendFault, ReadFault, ReadKind};
pub use gates::Gate;
pub use options::{Clock, Options};
