//! The store against a cluster: a double of the server in this process, or a real one. Knows: the contract, and
//! what a cluster can do to us. Must not know: what the records mean.
//!
//! With `GRANTBOOK_TEST_EVENTSTORE=esdb://…` the contract is held against that cluster. Each test works on streams
//! of its own, and nothing is assumed to be empty.

mod batches;
mod evidence;
mod faults;
mod foreign;
mod put_back;
mod tls;

use std::io::Write as _;
use std::sync::Once;

use grantbook_eventstore_double::{Double, Options as DoubleOptions};

use super::*;
use crate::clock::SystemClock;
use crate::store::contract::store_contract;

/// Names a real cluster to hold the contract against.
const REAL: &str = "GRANTBOOK_TEST_EVENTSTORE";

#[expect(clippy::disallowed_methods, reason = "the environment of a test says where a cluster is")]
fn real() -> Option<String> {
    std::env::var(REAL).ok()
}

/// Opens the ledger in a cluster, to serve it.
pub(crate) fn open_at(url: &str) -> Arc<EventStore> {
    let target = Arc::new(Target::parse(url).unwrap());
    let serve = Some(crate::secrets::new_ledger_identity());
    EventStore::open(target, serve, Arc::new(SystemClock)).unwrap()
}

async fn fresh() -> (Arc<dyn Store>, Option<Double>) {
    static SAID: Once = Once::new();
    let (store, double) = match real() {
        Some(url) => (open_at(&url), None),
        None => {
            let double = Double::start(DoubleOptions { stats_every: 3, ..DoubleOptions::default() });
            let double = double.await.unwrap();
            (open_at(&double.url()), Some(double))
        }
    };
    SAID.call_once(|| {
        let what = if double.is_some() { "a double of the server" } else { "a real cluster" };
        // Not by a macro, whose words the test runner keeps to itself.
        let _ = writeln!(std::io::stderr(), "the contract of EventStoreDB is held against {what} ({REAL})");
    });
    (store, double)
}

store_contract!(fresh);
