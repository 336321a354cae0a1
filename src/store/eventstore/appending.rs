//! One append, and its outcome. Knows: the exact revision, the chain, the cluster's limits, and which outcomes are
//! not known. Must not know: why it is made.

use eventstore::{EventData, ExpectedRevision, WriteResult};
use grantbook_events::{Position, Revision, StreamName};
use serde::Serialize;

use super::failure::{Failure, retry};
use super::{Shared, record};
use crate::store::{Append, ChainDigest, Expected, NewRecord, Record, StoreError, check_size};

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
        let events: Vec<EventData> = encoded.into_iter().map(|(event, _)| event).collect();
        let at = || match expected {
            Expected::NoStream => ExpectedRevision::NoStream,
            Expected::Exactly(revision) => ExpectedRevision::Exact(revision.as_u64()),
        };
        // Only a node that says it did nothing is asked again: any other failure may have appended.
        let sent = retry(
            |failure| matches!(failure, Failure::NotLeader(_)),
            || self.client.append(stream.as_str(), at(), events.clone()),
        );
        match sent.await {
            Ok(written) => Ok(self.appended(stream, &placed, &written).await),
            Err(Failure::Conflict(actual)) => Ok(Append::Conflict { actual }),
            Err(Failure::Broken(reason)) => Ok(Append::Unknown { reason }),
            Err(Failure::Refused(why)) => Err(StoreError::CannotWrite(why)),
            Err(
                failure
                @ (Failure::NotLeader(_) | Failure::Dead(_) | Failure::Deleted | Failure::Unusable(_)),
            ) => Err(failure.into_error()),
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
    async fn appended(&self, stream: &StreamName, placed: &[Record], written: &WriteResult) -> Append {
        let unknown = |reason: String| Append::Unknown { reason };
        let Some(last) = placed.last() else { return unknown("nothing was sent".to_owned()) };
        if written.next_expected_version != last.revision.as_u64() {
            return unknown(format!("the cluster says revision {}", written.next_expected_version));
        }
        self.remember(last);
        let at = |position, recorded_at| Append::Appended { revision: last.revision, position, recorded_at };
        // Versions of the server differ in the position they give for several events, and for an append that was
        // made before.
        if placed.len() == 1 && written.position.commit > 0 {
            return at(Position::new(written.position.commit), last.recorded_at);
        }
        match self.read_records(stream, last.revision, 1).await {
            Ok(there) => match there.first() {
                Some(there) if there.event_id == last.event_id => at(there.position, there.recorded_at),
                _ => unknown("the accepted append cannot be read yet".to_owned()),
            },
            Err(error) => unknown(error.to_string()),
        }
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
