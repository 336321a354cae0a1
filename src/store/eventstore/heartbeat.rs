//! Heartbeats: events on a stream of their own by which every node knows how old what it has folded is. Knows:
//! when the next is due, and who writes it. Must not know: who looks at them.
//!
//! A heartbeat says when it was about to be written. Whoever has been handed it has been handed everything that
//! was acknowledged before that time, for it stands before the heartbeat in `$all`. One node at a time is
//! enough: each writes when none has been seen for a while, at the revision it saw last, so that of those
//! who try at once one succeeds. The stream keeps the last few ([`KEPT`]); the cluster's scavenging removes the rest.

use std::time::Duration;

use eventstore::{EventData, ExpectedRevision, StreamMetadataBuilder};
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

/// Writes heartbeats for as long as it is let, when nobody else does.
pub(super) async fn beat(shared: &Shared) {
    let mut seen = shared.heartbeat_seen.subscribe();
    let mut is_bounded = false;
    let mut last = None;
    let mut due = Instant::now();
    loop {
        // One that somebody else wrote puts ours off.
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            changed = seen.changed() => {
                if changed.is_err() {
                    return;
                }
                let revision = *seen.borrow_and_update();
                if revision > last {
                    last = revision;
                    due = Instant::now() + EVERY + GRACE;
                }
                continue;
            }
        }
        due = Instant::now() + EVERY;
        if !is_bounded {
            is_bounded = bound(shared).await.is_ok();
        }
        let heartbeat = Heartbeat { at: shared.clock.now() };
        match append(shared, STREAM, TYPE, &heartbeat, last).await {
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
    match append(shared, &format!("$${STREAM}"), "$metadata", &metadata, None).await {
        Ok(_) | Err(Failure::Conflict(_)) => Ok(()),
        Err(failure) => Err(failure),
    }
}

async fn append(
    shared: &Shared,
    stream: &str,
    type_name: &str,
    data: &impl Serialize,
    last: Option<u64>,
) -> Result<u64, Failure> {
    let event = EventData::json(type_name, data).map_err(|error| Failure::Refused(error.to_string()))?;
    let event = event.id(*crate::secrets::new_event_id().as_uuid());
    let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
    Ok(shared.client.append(stream, expected, vec![event]).await?.next_expected_version)
}
