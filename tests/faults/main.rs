//! The faults: what a killed process, a full disk, a harmed file, a clock or a rude caller may do to the
//! real executable, and what they must not. One module a family of faults.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

// The callers of the stories, who speak HTTP and read forms as browsers do.
#[allow(dead_code, reason = "the stories ask for more than the faults do")]
#[path = "../stories/client.rs"]
mod client;
#[allow(dead_code, reason = "the stories ask for more than the faults do")]
#[path = "../stories/html.rs"]
mod html;

mod ledger;
mod process;
mod site;
mod wanted;

mod access;
mod clock;
#[cfg(feature = "eventstore")]
mod cluster;
mod connections;
mod crowding;
mod damage;
mod deploy;
mod derived;
mod exports;
mod full_disk;
mod index;
mod killed;
mod logs;
mod lost_lines;
mod lost_tail;
mod newer;
#[cfg(feature = "eventstore")]
mod put_back;
#[cfg(feature = "eventstore")]
mod races;
mod read_only;
mod refusals;
mod rude_clients;
mod stopping;
#[cfg(feature = "eventstore")]
mod storm;
#[cfg(feature = "eventstore")]
mod too_slow;
mod wrong_copy;
