//! Heartbeats: events on a stream of their own by which every node knows how old its copy is. Knows: when the next
//! is due, and which node writes it. Must not know: what they are used for.
//!
//! A heartbeat says when it was about to be written. A node that has received it has received everything that was
//! acknowledged before that time, because that comes before the heartbeat in `$all`. One node at a time is enough:
//! each writes when it has seen none for a while, at the revision it saw last, so that only one of several succeeds.
//! The stream keeps the last few ([`KEPT`]); the cluster's scavenging removes the rest.

use std::time::Duration;

use eventstore::StreamMetadataBuilder;
use grantbook_events::{Revision, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Shared;
use super::failure::Failure;

/// The stream that heartbeats are in.
pub(super) const STREAM: &str = "grantbook-heartbeat";
/// The type of a heartbeat.
const TYPE: &str = "heartbeat";
/// How many heartbeats the stream keeps.
const KEPT: u64 = 16;
/// How long after the last heartbeat the next is due.
const EVERY: Duration = Duration::from_secs(1);
/// How much later a node that did not write the last one tries.
const GRACE: Duration = Duration::from_millis(250);

#[derive(Serialize, Deserialize)]
struct Heartbeat {
    at: Timestamp,
}

/// When a heartbeat was about to be written.
pub(super) fn time_of(data: &[u8]) -> Option<Timestamp> {
    Some(serde_json::from_slice::<Heartbeat>(data).ok()?.at)
}

/// Writes heartbeats while no other node does.
pub(super) async fn beat(shared: &Shared) {
    let mut seen = shared.heartbeat_seen.subscribe();
    let mut is_bounded = false;
    let mut last = None;
    let mut due = Instant::now();
    loop {
        // One of another node delays ours. The wait fails only when the store is gone.
        let newer = seen.wait_for(|revision| *revision > last);
        if let Ok(Ok(newer)) = tokio::time::timeout_at(due, newer).await {
            last = *newer;
            due = Instant::now() + EVERY + GRACE;
            continue;
        }
        due = Instant::now() + EVERY;
        if !is_bounded {
            is_bounded = bound(shared).await.is_ok();
        }
        let heartbeat = Heartbeat { at: shared.clock.now() };
        match shared.append_own(STREAM, TYPE, &heartbeat, last).await {
            Ok(revision) => last = Some(revision),
            Err(Failure::Conflict(actual)) => {
                last = actual.map(Revision::as_u64);
                due += GRACE;
            }
            Err(failure) => {
                let why = failure.into_error();
                tracing::debug!(%why, "no heartbeat could be written");
            }
        }
    }
}

/// Lets the cluster drop old heartbeats, unless it was already set what it keeps.
async fn bound(shared: &Shared) -> Result<(), Failure> {
    let metadata = StreamMetadataBuilder::new().max_count(KEPT).build();
    match shared.append_own(&format!("$${STREAM}"), "$metadata", &metadata, None).await {
        Ok(_) | Err(Failure::Conflict(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}
