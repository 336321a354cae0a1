//! What is read from the cluster: pages of `$all`, its end, single streams, and how a subscription begins. Knows:
//! what to ask for. Must not know: how a node is reached, or what is done with what was read.
//!
//! `$all` holds whatever is in the cluster. The cluster leaves out other streams than grantbook's by their prefixes;
//! what has such a prefix and is not grantbook's is left out here.

use std::time::Duration;

use grantbook_events::{Position, Revision, StreamName};
use tonic::Streaming;

use super::failure::{Failure, retry};
use super::heartbeat;
use super::nodes::Nodes;
use super::record;
use super::wire::{
    AllOptions, Empty, Expression, FilterOptions, Options, ReadResp, RecordedEvent, StreamIdentifier,
    StreamOptions, WirePosition,
};
use crate::store::{ChainDigest, Found, MAX_PAGE, Record, SeenMark, SeenRecord, StoreError};

/// How many events the cluster looks at before it says how far it is.
const WINDOW: u32 = 256;
/// The first and the last pause before a record that is not there is looked for again; each is twice the one before.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(100);
const LAST_LOOK_AGAIN: Duration = Duration::from_millis(800);
/// How many events are read at once to find one from the end.
const SEARCHED_AT_ONCE: u64 = 512;
/// The last position and revision that the cluster, which counts with a sign, can have.
const LAST: u64 = i64::MAX as u64;

impl Nodes {
    /// The next records after a position, at most `limit`; empty only at the end.
    pub(super) async fn after(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        let limit = limit.min(MAX_PAGE);
        let mut from = after.as_u64();
        while from < LAST && limit > 0 {
            // The event at the position is read, too.
            let events = self.page(at(from), false, limit as u64 + 1).await?;
            let is_last_page = events.len() <= limit;
            let new = events.iter().filter(|event| event.commit_position > from);
            let records: Vec<_> = new.filter_map(record::from_event).take(limit).collect();
            if !records.is_empty() || is_last_page {
                return Ok(records);
            }
            from = events.last().map_or(LAST, |event| event.commit_position);
        }
        Ok(Vec::new())
    }

    /// A page of events from a position on, this one included.
    pub(super) async fn events_from(&self, from: Position) -> Result<Vec<RecordedEvent>, StoreError> {
        self.page(at(from.as_u64()), false, MAX_PAGE as u64 + 1).await
    }

    /// The position of the last record, searched from the end.
    pub(super) async fn last(&self) -> Result<Position, StoreError> {
        let mut from = end();
        loop {
            let events = self.page(from, true, 16).await?;
            let Some(first) = events.last() else { return Ok(Position::START) };
            if let Some(last) = events.iter().filter_map(record::from_event).next() {
                return Ok(last.position);
            }
            from = at(first.commit_position);
        }
    }

    /// Whether a record is where it was seen.
    ///
    /// That it is not is believed if it is said for a while: a node that was elected a moment ago may not show all it has
    /// yet, and one that is not the leader any more may not know that.
    pub(super) async fn has(&self, seen: &SeenRecord) -> Result<Found, StoreError> {
        let mut pause = FIRST_LOOK_AGAIN;
        loop {
            let found = self.look_for(seen).await?;
            if found == Found::There || pause > LAST_LOOK_AGAIN {
                return Ok(found);
            }
            self.forget();
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }

    /// A cluster that was put back and has grown again may have no event that begins at the position before. It answers a
    /// read from there with an error, or with anything. So unless that read shows the record, it is searched from the end.
    async fn look_for(&self, seen: &SeenRecord) -> Result<Found, StoreError> {
        let next = self.after(seen.previous, 1).await.unwrap_or_default();
        if next.first().is_some_and(|record| seen.is(record)) {
            return Ok(Found::There);
        }
        let (mut from, mut last) = (end(), Position::START);
        loop {
            let events = self.page(from, true, SEARCHED_AT_ONCE).await?;
            let Some(first) = events.last() else { return Ok(Found::of(seen, None, last)) };
            for record in events.iter().filter_map(record::from_event) {
                last = last.max(record.position);
                if record.position <= seen.position {
                    let there = Some(&record).filter(|record| record.position == seen.position);
                    return Ok(Found::of(seen, there, last));
                }
            }
            from = at(first.commit_position);
        }
    }

    /// Takes note of records that came from the cluster, after others up to a position.
    pub(super) fn saw(&self, after: Position, records: &[Record]) {
        let Some((last, before)) = records.split_last() else { return };
        let previous = before.last().map_or(after, |before| before.position);
        let mark = SeenMark::Event(last.event_id);
        let mut seen = self.seen.lock();
        if seen.is_none_or(|seen| seen.position < last.position) {
            *seen = Some(SeenRecord { position: last.position, previous, mark });
        }
    }

    /// Whether the cluster still has the last record that came from it. Asked whenever a connection is made again: one
    /// that was put back to an older state breaks all of them first.
    ///
    /// # Errors
    /// `EndsEarly` if it has not.
    pub(super) async fn still_has_what_was_seen(&self) -> Result<(), Failure> {
        let Some(seen) = *self.seen.lock() else { return Ok(()) };
        let at = seen.position;
        let found = self.has(&seen).await.map_err(|error| Failure::NotDone(error.to_string()))?;
        let instead = match found {
            Found::There => return Ok(()),
            Found::EndsBefore(end) => format!("ends at position {end}, but this node has seen position {at}"),
            Found::Another => format!("has another event at position {at} than this node has seen there"),
        };
        Err(Failure::Unusable(StoreError::EndsEarly(format!(
            "the cluster {instead}: it was put back to an older state, and events that were acknowledged are missing. \
             Nothing was changed. Put the newer state back and restart this node; or restart it without what is \
             missing: grantbook serve --accept-loss"
        ))))
    }

    /// Where `$all` ends now, whatever is there.
    pub(super) async fn end(&self) -> Result<Position, StoreError> {
        let options = Options {
            all: Some(end()),
            backwards: true,
            count: Some(1),
            no_filter: Some(Empty {}),
            ..Options::default()
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
        let no_filter = Some(Empty {});
        let options = Options { stream: Some(stream), count: Some(count), no_filter, ..Options::default() };
        self.read(options).await
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
        let records: Vec<_> = events.iter().filter_map(record::from_event).collect();
        check_chain(from, &records)?;
        Ok(records)
    }

    /// Starts a subscription after a position, to heartbeats, too.
    pub(super) async fn subscribe(&self, after: Position) -> Result<Streaming<ReadResp>, Failure> {
        let options = Options {
            all: Some(at(after.as_u64())),
            subscription: Some(Empty {}),
            filter: Some(filter([heartbeat::STREAM.to_owned()].into_iter().chain(prefixes()))),
            ..Options::default()
        };
        self.start_read(options, false).await
    }

    /// Events with grantbook's prefixes, from a position on, this one included.
    async fn page(
        &self,
        from: AllOptions,
        backwards: bool,
        count: u64,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let (all, filter) = (Some(from), Some(filter(prefixes())));
        self.read(Options { all, backwards, count: Some(count), filter, ..Options::default() }).await
    }

    async fn read(&self, options: Options) -> Result<Vec<RecordedEvent>, StoreError> {
        retry(Failure::is_transient, || self.read_all(options.clone())).await.map_err(Failure::into_error)
    }
}

fn at(position: u64) -> AllOptions {
    let known = WirePosition { commit_position: position, prepare_position: position };
    match position {
        0 => AllOptions { start: Some(Empty {}), ..AllOptions::default() },
        _ => AllOptions { position: Some(known), ..AllOptions::default() },
    }
}

fn end() -> AllOptions {
    AllOptions { end: Some(Empty {}), ..AllOptions::default() }
}

/// What the streams of grantbook's begin with, and those with their metadata.
fn prefixes() -> impl Iterator<Item = String> {
    let with_metadata = |prefix: &str| [prefix.to_owned(), format!("{}{prefix}", record::METADATA_STREAM)];
    StreamName::PREFIXES.into_iter().flat_map(with_metadata)
}

fn filter(prefixes: impl Iterator<Item = String>) -> FilterOptions {
    FilterOptions {
        stream_identifier: Some(Expression { prefix: prefixes.collect() }),
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
        StoreError::of_fault(record)?;
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
