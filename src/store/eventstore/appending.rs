//! One append, and its outcome. Knows: the exact revision, the chain, the cluster's limits, and which outcomes are
//! not known. Must not know: why it is made.

use std::sync::atomic::{AtomicBool, Ordering};

use eventstore::{EventData, ExpectedRevision};
use grantbook_events::{Position, Revision, StreamName};
use serde::Serialize;

use super::batches::{Message, Written};
use super::failure::{Failure, retry};
use super::{Shared, record};
use crate::store::{Append, ChainDigest, Expected, NewRecord, Record, Run, StoreError, check_size};

/// The largest append, in bytes as they are sent: under the cluster's 1 MiB.
const MAX_SENT_BYTES: usize = 1024 * 1024 - 16 * 1024;

impl Shared {
    pub(super) async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        let Some(previous) = self.digest_before(stream, expected).await? else {
            let all = self.read_records(stream, Revision::FIRST, u64::MAX).await?;
            return Ok(Append::Conflict { actual: all.last().map(|last| last.revision) });
        };
        let placed = place(stream, expected, previous, records);
        let encoded = placed.iter().map(record::to_event).collect::<Result<Vec<_>, _>>()?;
        let size = encoded.iter().map(|(_, size)| size).sum();
        check_size("an append with the cluster's metadata", size, MAX_SENT_BYTES)?;
        let events: Vec<_> = encoded.into_iter().map(|(event, _)| event).collect();
        let (name, last) = (stream.to_string(), expected.last());
        let message = || Message { stream: name.clone(), last, events: events.clone() };
        // A node that is not the leader any more may have appended before it said so.
        let may_be_done = AtomicBool::new(false);
        // Only one that did nothing is asked again: any other failure may have appended.
        let again = |failure: &Failure| {
            may_be_done.fetch_or(matches!(failure, Failure::NotLeader(_)), Ordering::Relaxed);
            matches!(failure, Failure::NotLeader(_) | Failure::NotDone(_))
        };
        let sent = retry(again, || self.batches.append(&self.nodes, message())).await;
        let is_open = may_be_done.into_inner();
        match sent {
            Ok(written) => self.appended(stream, &placed, written).await,
            Err(Failure::Conflict(_)) if is_open => {
                Ok(Append::Unknown { reason: "the leader changed meanwhile".to_owned() })
            }
            Err(Failure::Conflict(actual)) => Ok(Append::Conflict { actual }),
            Err(failure @ (Failure::NotLeader(_) | Failure::NotDone(_))) if !is_open => {
                Err(failure.into_error())
            }
            Err(failure @ (Failure::NotLeader(_) | Failure::NotDone(_) | Failure::Broken(_))) => {
                Ok(Append::Unknown { reason: failure.into_error().to_string() })
            }
            Err(Failure::Refused(why)) => Err(StoreError::CannotWrite(why)),
            Err(failure @ (Failure::Deleted | Failure::Unusable(_))) => Err(failure.into_error()),
        }
    }

    /// Appends an event of the store's own to a stream whose last revision is this, and returns its revision.
    pub(super) async fn append_own(
        &self,
        stream: &str,
        type_name: &str,
        data: &impl Serialize,
        last: Option<u64>,
    ) -> Result<u64, Failure> {
        let event = EventData::json(type_name, data).map_err(|error| Failure::Refused(error.to_string()))?;
        let event = event.id(*crate::secrets::new_event_id().as_uuid());
        let expected = last.map_or(ExpectedRevision::NoStream, ExpectedRevision::Exact);
        Ok(self.client.append(stream, expected, vec![event]).await?.next_expected_version)
    }

    /// Where the last record of an append that was accepted is.
    async fn appended(
        &self,
        stream: &StreamName,
        placed: &[Record],
        written: Written,
    ) -> Result<Append, StoreError> {
        let unknown = |reason: &str| Ok(Append::Unknown { reason: reason.to_owned() });
        let Some(last) = placed.last() else { return unknown("nothing was sent") };
        if written.revision != last.revision.as_u64() {
            return Err(elsewhere(last, written));
        }
        self.remember(last);
        let at = |position, recorded_at| Append::Appended { revision: last.revision, position, recorded_at };
        // Versions of the server differ in the position they give for several events, and for an append that was
        // made before.
        if let Some(position) = written.position.filter(|position| *position > 0 && placed.len() == 1) {
            return Ok(at(Position::new(position), last.recorded_at));
        }
        match self.read_records(stream, last.revision, 1).await {
            Ok(there) => match there.first() {
                Some(there) if there.event_id == last.event_id => Ok(at(there.position, there.recorded_at)),
                _ => unknown("the accepted append cannot be read yet"),
            },
            Err(error) => unknown(&error.to_string()),
        }
    }

    /// Appends records of another ledger as they are, over one call.
    pub(super) async fn copy_in(&self, runs: Vec<Run>) -> Result<(), StoreError> {
        let message = |Run { stream, expected, records }: &Run| {
            let events = records.iter().map(|record| Ok(record::to_event(record)?.0));
            let events = events.collect::<Result<_, StoreError>>()?;
            Ok(Message { stream: stream.to_string(), last: expected.last(), events })
        };
        let messages = runs.iter().map(message).collect::<Result<Vec<_>, StoreError>>()?;
        let outcomes = self.batches.append_all(&self.nodes, messages).await;
        // The first that failed says why: those after it may have failed because of it.
        for (outcome, last) in outcomes.into_iter().zip(runs.iter().filter_map(|run| run.records.last())) {
            match outcome {
                Ok(written) if written.revision == last.revision.as_u64() => self.remember(last),
                Ok(written) => return Err(elsewhere(last, written)),
                Err(Failure::Conflict(_)) => return Err(StoreError::changed_meanwhile(&last.stream)),
                Err(Failure::Refused(why)) => return Err(StoreError::CannotWrite(why)),
                Err(failure) => return Err(failure.into_error()),
            }
        }
        Ok(())
    }

    /// The digest that an append is chained to. Read, if it is not remembered; `None` if the stream ends before that.
    async fn digest_before(
        &self,
        stream: &StreamName,
        expected: Expected,
    ) -> Result<Option<ChainDigest>, StoreError> {
        let Expected::Exactly(revision) = expected else { return Ok(Some(ChainDigest::NONE)) };
        if let Some(digest) = self.remembered(stream, revision) {
            return Ok(Some(digest));
        }
        Ok(self.read_records(stream, revision, 1).await?.first().map(|record| record.digest))
    }
}

/// An append was accepted at another revision than it was for, as those to streams are that were deleted before.
fn elsewhere(last: &Record, written: Written) -> StoreError {
    let Record { stream, revision, .. } = last;
    let position = Position::new(written.position.unwrap_or_default());
    let detail = format!(
        "stream {stream} was deleted: the event for revision {revision} is its revision {}",
        written.revision
    );
    StoreError::Damaged { position, detail }
}

fn place(
    stream: &StreamName,
    expected: Expected,
    previous: ChainDigest,
    records: Vec<NewRecord>,
) -> Vec<Record> {
    let (mut revision, mut digest) = (expected.next_revision(), previous);
    let mut placed = Vec::with_capacity(records.len());
    for record in records {
        // The digest does not cover the position, which is not known yet.
        let record = record.place(stream.clone(), revision, Position::START, digest);
        (revision, digest) = (revision.next(), record.digest);
        placed.push(record);
    }
    placed
}
