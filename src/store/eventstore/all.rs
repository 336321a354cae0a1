//! The whole ledger, read from `$all`. Knows: pages, the end, how a subscription begins. Must not know: how a
//! node is reached, or what is done with what was read.
//!
//! `$all` holds whatever is in the cluster. The cluster leaves out what is in other streams than grantbook's by
//! their prefixes; what has such a prefix and is not grantbook's is left out here.

use std::sync::Arc;

use eventstore::{ReadAllOptions, StreamPosition};
use grantbook_events::{Position, StreamName};
use tonic::Streaming;

use super::clients::{CALL_WITHIN, Clients, again};
use super::failure::Failure;
use super::nodes::Nodes;
use super::record;
use super::wire::{
    AllOption, AllOptions, Content, Count, Direction, Empty, Expression, FilterOptions, Options, ReadResp,
    RecordedEvent, UuidOption, WirePosition,
};
use crate::store::{MAX_PAGE, Record, StoreError};

/// How many events the cluster looks at before it says how far it is.
const WINDOW: u32 = 256;
/// The last position that the cluster, which counts with a sign, can have.
const LAST: u64 = i64::MAX as u64;

/// `$all` of a cluster.
#[derive(Debug)]
pub(super) struct All {
    nodes: Nodes,
    clients: Arc<Clients>,
}

impl All {
    pub(super) fn new(clients: Arc<Clients>) -> Self {
        Self { nodes: Nodes::new(Arc::clone(&clients)), clients }
    }

    pub(super) fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// The next records after a position, at most `limit`; empty only at the end.
    pub(super) async fn after(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let limit = limit.min(MAX_PAGE);
        let mut from = after.as_u64();
        while from < LAST && limit > 0 {
            // The event at the position comes, too.
            let events = self.page(at(from), Direction::Forwards, limit as u64 + 1).await?;
            let is_last_page = events.len() <= limit;
            let mut records = Vec::new();
            for event in events.iter().filter(|event| event.commit_position > from) {
                match record::from_wire(event) {
                    Ok(record) => records.extend(record),
                    // What comes before a damaged one is handed over first.
                    Err(error) if records.is_empty() => return Err(error),
                    Err(_) => break,
                }
            }
            records.truncate(limit);
            if !records.is_empty() || is_last_page {
                return Ok(records);
            }
            from = events.last().map_or(LAST, |event| event.commit_position);
        }
        Ok(Vec::new())
    }

    /// The position of the last record, looked for from the end.
    pub(super) async fn last(&self) -> Result<Position, StoreError> {
        let mut from = AllOption::End(Empty {});
        loop {
            let events = self.page(from, Direction::Backwards, 16).await?;
            let Some(first) = events.last() else { return Ok(Position::START) };
            let ours = events.iter().find(|event| is_ours(event));
            if let Some(last) = ours {
                return Ok(Position::new(last.commit_position));
            }
            from = position(first.commit_position);
        }
    }

    /// Where `$all` ends now, whatever is there.
    pub(super) async fn end(&self) -> Result<Position, StoreError> {
        let options = ReadAllOptions::default()
            .position(StreamPosition::End)
            .backwards()
            .max_count(1)
            .requires_leader(true)
            .deadline(CALL_WITHIN);
        let options = self.clients.signed(options, ReadAllOptions::authenticated);
        let read = self.clients.call_again(|lease| {
            let options = options.clone();
            async move {
                let mut events = lease.client.read_all(&options).await?;
                Ok(events.next().await?.map_or(0, |event| event.get_original_event().position.commit))
            }
        });
        Ok(Position::new(read.await.map_err(Failure::into_error)?))
    }

    /// Starts a subscription behind a position. Streams named here come, too.
    pub(super) async fn subscribe(&self, after: Position, and: &str) -> Result<Streaming<ReadResp>, Failure> {
        let mut options = options(at(after.as_u64()), Direction::Forwards, Count::Subscription(Empty {}));
        if let Some(expression) = options.filter.as_mut().and_then(|filter| filter.stream_identifier.as_mut())
        {
            expression.prefix.push(and.to_owned());
        }
        self.nodes.read(options, false).await
    }

    /// Events that the prefixes let through, from a position on, this one included.
    async fn page(
        &self,
        from: AllOption,
        direction: Direction,
        count: u64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        // A node that failed was forgotten by whoever saw it fail.
        let page = again(
            |failure| !matches!(failure, Failure::Refused(_)),
            || self.read_page(options(from.clone(), direction, Count::Count(count))),
        );
        page.await.map_err(Failure::into_error)
    }

    async fn read_page(&self, options: Options) -> Result<Vec<RecordedEvent>, Failure> {
        let mut replies = self.nodes.read(options, true).await?;
        let mut events = Vec::new();
        while let Some(reply) = self.nodes.next(&mut replies, CALL_WITHIN).await? {
            if let Some(Content::Event(event)) = reply.content {
                events.extend(event.event);
            }
        }
        Ok(events)
    }
}

/// Whether an event that the prefixes let through is in a stream of grantbook's.
fn is_ours(event: &RecordedEvent) -> bool {
    record::stream_of(event).is_some_and(|stream| stream.parse::<StreamName>().is_ok())
}

fn at(after: u64) -> AllOption {
    if after == 0 { AllOption::Start(Empty {}) } else { position(after) }
}

fn position(position: u64) -> AllOption {
    AllOption::Position(WirePosition { commit_position: position, prepare_position: position })
}

fn options(at: AllOption, direction: Direction, count: Count) -> Options {
    let prefix = StreamName::PREFIXES.map(str::to_owned).to_vec();
    Options {
        all: Some(AllOptions { at: Some(at) }),
        read_direction: direction.into(),
        resolve_links: false,
        count: Some(count),
        filter: Some(FilterOptions {
            stream_identifier: Some(Expression { prefix }),
            max: WINDOW,
            checkpoint_interval_multiplier: 1,
        }),
        uuid_option: Some(UuidOption { string: Some(Empty {}) }),
    }
}
