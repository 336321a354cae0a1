//! What every store must do, as tests. Knows: the trait. Must not know: which store it tests.
//!
//! A store may be shared and full of other records: every test works on streams of its own with random
//! names, assumes nothing to be empty, and does no arithmetic on positions. `store_contract!(factory)`
//! makes one test of each function; the factory is an `async fn() -> (Arc<dyn Store>, Guard)` whose guard
//! lives as long as the test.

mod appends;
mod crowds;
mod reads;
mod subscriptions;

use std::sync::Arc;

use grantbook_events::{EventId, InstallationId, Position, Revision, StreamKind, StreamName, Timestamp};
use uuid::Uuid;

use crate::store::{
    Append, ChainDigest, Expected, Found, MAX_APPEND_BYTES, MAX_APPEND_EVENTS, MAX_EVENT_BYTES, NewRecord,
    Record, SeenMark, SeenRecord, Signal, Store, StoreError, Subscription,
};

macro_rules! store_contract {
    ($factory:path) => {
        $crate::store::contract::store_contract!($factory:
            exact_revision, conflict_names_the_actual_revision, all_or_nothing, retry_is_harmless,
            retry_after_later_appends, partial_overlap_is_a_conflict, reads_a_stream_from_a_revision,
            reads_all_in_pages, has_what_was_seen_in_it,
            nothing_up_to_a_position_follows_it, subscription_hands_over_history_then_live, subscription_from_the_head,
            slow_subscriber_loses_nothing, dropped_subscription_harms_nobody,
            one_winner_for_each_revision, one_of_many_creates_the_stream, no_position_appears_late,
            one_writer_records_nothing_before_its_last_record, limits_are_checked, digests_chain, text_comes_back_as_it_was, closed_refuses_appends
        );
    };
    ($factory:path: $($name:ident),*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let (store, _guard) = $factory().await;
                $crate::store::contract::$name(store).await;
            }
        )*
    };
}
pub(crate) use appends::*;
pub(crate) use crowds::*;
pub(crate) use reads::*;
pub(crate) use store_contract;
pub(crate) use subscriptions::*;

/// A stream nobody else has.
#[expect(clippy::disallowed_methods, reason = "streams of a shared store must not meet")]
pub(crate) fn fresh_stream() -> StreamName {
    StreamKind::Installation(InstallationId::new(Uuid::new_v4())).into()
}

/// A record nobody else has, with a payload.
#[expect(clippy::disallowed_methods, reason = "event ids are random per attempt")]
pub(crate) fn new_record(payload: &str) -> NewRecord {
    NewRecord {
        event_id: EventId::new(Uuid::new_v4()),
        type_name: "token-revoked".to_owned(),
        version: 1,
        recorded_at: Timestamp::from_micros(1_767_323_045_000_006),
        metadata: r#"{"actor":{"kind":"system","id":"contract"}}"#.to_owned(),
        payload: payload.to_owned(),
        moved: false,
    }
}

/// Some records with payloads that tell them apart.
pub(crate) fn new_records(count: usize) -> Vec<NewRecord> {
    (0..count).map(|number| new_record(&format!(r#"{{"number":{number}}}"#))).collect()
}

async fn must_append(
    store: &dyn Store,
    stream: &StreamName,
    expected: Expected,
    records: Vec<NewRecord>,
) -> (Revision, Position) {
    match store.append(stream, expected, records).await {
        Ok(Append::Appended { revision, position, .. }) => (revision, position),
        other => panic!("expected to append at {expected:?}: {other:?}"),
    }
}

fn ids(records: &[Record]) -> Vec<EventId> {
    records.iter().map(|record| record.event_id).collect()
}

fn new_ids(records: &[NewRecord]) -> Vec<EventId> {
    records.iter().map(|record| record.event_id).collect()
}

async fn stream_ids(store: &dyn Store, stream: &StreamName) -> Vec<EventId> {
    ids(&store.read_stream(stream, Revision::FIRST).await.unwrap())
}

const fn at(revision: u64) -> Expected {
    Expected::Exactly(Revision::new(revision))
}

async fn all_after(store: &dyn Store, mut after: Position, limit: usize) -> Vec<Record> {
    let mut all = Vec::new();
    loop {
        let page = store.read_all(after, limit).await.unwrap();
        assert!(page.len() <= limit);
        let Some(last) = page.last() else { return all };
        after = last.position;
        all.extend(page);
    }
}

/// Reads a subscription until it has given as many records of a stream as asked for; counts `CaughtUp`.
async fn take(subscription: &mut Subscription, stream: &StreamName, count: usize) -> (Vec<Record>, usize) {
    let (mut taken, mut caught_up) = (Vec::new(), 0);
    while taken.len() < count {
        match subscription.next().await {
            Signal::Records(records) => {
                taken.extend(records.iter().filter(|record| record.stream == *stream).cloned());
            }
            Signal::CaughtUp => caught_up += 1,
            Signal::UpTo(_) => {}
            Signal::Lost(error) => panic!("lost: {error}"),
        }
    }
    (taken, caught_up)
}
