//! What is read from the cluster: pages of `$all`, its end, single streams, and how a subscription begins. Knows:
//! what to ask for. Must not know: how a node is reached, or what is done with what was read.
//!
//! `$all` holds whatever is in the cluster. The cluster leaves out other streams than grantbook's by their prefixes;
//! what has such a prefix and is not grantbook's is left out here.

use std::sync::Arc;

use grantbook_events::{Position, Revision, StreamName};
use tonic::Streaming;

use super::failure::{Failure, retry};
use super::heartbeat;
use super::nodes::Nodes;
use super::record;
use super::target::Target;
use super::wire::{
    AllOption, AllOptions, Count, Direction, Empty, Expression, FilterOptions, Options, ReadResp,
    RecordedEvent, StreamIdentifier, StreamOptions, UuidOption, WirePosition,
};
use crate::store::{ChainDigest, MAX_PAGE, Record, StoreError};

/// How many events the cluster looks at before it says how far it is.
const WINDOW: u32 = 256;
/// The last position and revision that the cluster, which counts with a sign, can have.
const LAST: u64 = i64::MAX as u64;

#[derive(Debug)]
pub(super) struct Reads {
    nodes: Nodes,
}

impl Reads {
    pub(super) fn new(target: Arc<Target>, tls: rustls::ClientConfig) -> Self {
        Self { nodes: Nodes::new(target, tls) }
    }

    /// The next records after a position, at most `limit`; empty only at the end.
    pub(super) async fn after(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let limit = limit.min(MAX_PAGE);
        let mut from = after.as_u64();
        while from < LAST && limit > 0 {
            // The event at the position is read, too.
            let events = self.page(at(from), Direction::Forwards, limit as u64 + 1).await?;
            let is_last_page = events.len() <= limit;
            let mut records = Vec::new();
            for event in events.iter().filter(|event| event.commit_position > from) {
                match record::from_event(event) {
                    Ok(record) => records.extend(record),
                    Err(error) if records.is_empty() => return Err(error),
                    // The records before a damaged one are returned first.
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

    /// The position of the last record, searched from the end.
    pub(super) async fn last(&self) -> Result<Position, StoreError> {
        let mut from = AllOption::End(Empty {});
        loop {
            let events = self.page(from, Direction::Backwards, 16).await?;
            let Some(first) = events.last() else { return Ok(Position::START) };
            if let Some(last) = events.iter().find(|event| record::stream_name(event).is_some()) {
                return Ok(Position::new(last.commit_position));
            }
            from = at(first.commit_position);
        }
    }

    /// Where `$all` ends now, whatever is there.
    pub(super) async fn end(&self) -> Result<Position, StoreError> {
        let options = Options {
            all: Some(AllOptions { at: Some(AllOption::End(Empty {})) }),
            no_filter: Some(Empty {}),
            ..options(Direction::Backwards, Count::Count(1))
        };
        Ok(Position::new(self.read(options).await?.first().map_or(0, |event| event.commit_position)))
    }

    /// Events of one stream from a revision on, as the leader has them. A stream that does not exist is empty.
    pub(super) async fn events(
        &self,
        stream: &str,
        from: u64,
        count: u64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let stream = StreamOptions {
            stream_identifier: Some(StreamIdentifier { stream_name: stream.to_owned().into() }),
            revision: Some(from),
        };
        self.read(Options {
            stream: Some(stream),
            no_filter: Some(Empty {}),
            ..options(Direction::Forwards, Count::Count(count))
        })
        .await
    }

    /// Records of one stream from a revision on: contiguous, intact, and chained.
    pub(super) async fn records(
        &self,
        stream: &StreamName,
        from: Revision,
        count: u64,
    ) -> Result<Vec<Record>, StoreError> {
        if from.as_u64() > LAST {
            return Ok(Vec::new());
        }
        let events = self.events(stream.as_str(), from.as_u64(), count).await?;
        let records = events.iter().filter_map(|event| record::from_event(event).transpose());
        let records = records.collect::<Result<Vec<_>, _>>()?;
        check_chain(from, &records)?;
        Ok(records)
    }

    /// Starts a subscription after a position, to heartbeats, too.
    pub(super) async fn subscribe(&self, after: Position) -> Result<Streaming<ReadResp>, Failure> {
        let mut options = Options {
            all: Some(AllOptions { at: Some(at(after.as_u64())) }),
            ..options(Direction::Forwards, Count::Subscription(Empty {}))
        };
        options.filter = Some(filter([heartbeat::STREAM].into_iter().chain(StreamName::PREFIXES)));
        self.nodes.read(options, false).await
    }

    /// The node that a subscription is read from failed.
    pub(super) fn failed(&self) {
        self.nodes.forget();
    }

    /// Events with grantbook's prefixes, from a position on, this one included.
    async fn page(
        &self,
        from: AllOption,
        direction: Direction,
        count: u64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        self.read(Options {
            all: Some(AllOptions { at: Some(from) }),
            filter: Some(filter(StreamName::PREFIXES)),
            ..options(direction, Count::Count(count))
        })
        .await
    }

    async fn read(&self, options: Options) -> Result<Vec<RecordedEvent>, StoreError> {
        retry(Failure::is_transient, || self.nodes.read_all(options.clone()))
            .await
            .map_err(Failure::into_error)
    }
}

fn at(position: u64) -> AllOption {
    match position {
        0 => AllOption::Start(Empty {}),
        _ => AllOption::Position(WirePosition { commit_position: position, prepare_position: position }),
    }
}

fn options(direction: Direction, count: Count) -> Options {
    Options {
        read_direction: direction.into(),
        count: Some(count),
        uuid_option: Some(UuidOption { string: Some(Empty {}) }),
        ..Options::default()
    }
}

fn filter<'a>(prefixes: impl IntoIterator<Item = &'a str>) -> FilterOptions {
    FilterOptions {
        stream_identifier: Some(Expression { prefix: prefixes.into_iter().map(str::to_owned).collect() }),
        max: WINDOW,
        checkpoint_interval_multiplier: 1,
    }
}

/// Nothing is missing between the records of one stream, read from a revision on.
fn check_chain(from: Revision, records: &[Record]) -> Result<(), StoreError> {
    let mut next = from;
    let mut previous = (from == Revision::FIRST).then_some(ChainDigest::NONE);
    for record in records {
        let damaged = |what: &str| {
            let detail = format!("stream {} {what} before revision {}", record.stream, record.revision);
            Err(StoreError::Damaged { position: record.position, detail })
        };
        if record.revision != next {
            return damaged("has a hole");
        }
        if previous.is_some_and(|digest| digest != record.previous_digest) {
            return damaged("is another than was written");
        }
        (next, previous) = (record.revision.next(), Some(record.digest));
    }
    Ok(())
}
