//! One append, and what became of it. Knows: the exact revision, the chain, the cluster's limits, and which
//! outcomes are not known. Must not know: why it is made.

use std::sync::Arc;

use eventstore::{ExpectedRevision, WriteResult};
use grantbook_events::{Position, Revision, StreamName};

use super::clients::again;
use super::failure::Failure;
use super::{Shared, record};
use crate::store::{Append, ChainDigest, Expected, NewRecord, Record, StoreError};

/// The largest append, in bytes as they are sent: under the cluster's 1 MiB.
const MAX_SENT_BYTES: usize = 1024 * 1024 - 16 * 1024;

/// What the record before an append is like.
enum Before {
    Chained(ChainDigest),
    Elsewhere(Option<Revision>),
}

impl Shared {
    pub(super) async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        let previous = match self.before(stream, expected).await? {
            Before::Chained(digest) => digest,
            Before::Elsewhere(actual) => return Ok(Append::Conflict { actual }),
        };
        let placed = place(stream, expected, previous, records);
        let encoded = placed.iter().map(record::to_event).collect::<Result<Vec<_>, _>>()?;
        let size = encoded.iter().map(|(_, size)| size).sum();
        if size > MAX_SENT_BYTES {
            let what = "an append with what the cluster keeps beside it";
            return Err(StoreError::TooLarge { what, size, limit: MAX_SENT_BYTES });
        }
        let events: Arc<Vec<_>> = Arc::new(encoded.into_iter().map(|(event, _)| event).collect());
        // Only a node that says it did nothing is asked again: what else fails may have been done.
        let sent = again(
            |failure| *failure == Failure::NotLeader,
            || self.send(stream, expected, Arc::clone(&events)),
        );
        match sent.await {
            Ok(written) => Ok(self.written(stream, &placed, &written).await),
            Err(failure) => outcome(failure),
        }
    }

    async fn send(
        &self,
        stream: &StreamName,
        expected: Expected,
        events: Arc<Vec<eventstore::EventData>>,
    ) -> Result<WriteResult, Failure> {
        let options = self.append_options(match expected {
            Expected::NoStream => ExpectedRevision::NoStream,
            Expected::Exactly(revision) => ExpectedRevision::Exact(revision.as_u64()),
        });
        let stream = stream.as_str().to_owned();
        self.clients
            .call(move |lease| async move {
                lease.client.append_to_stream(stream, &options, events.to_vec()).await
            })
            .await
    }

    /// Where the last record of an append that was accepted is.
    async fn written(&self, stream: &StreamName, placed: &[Record], written: &WriteResult) -> Append {
        let Some(last) = placed.last() else { return unknown("nothing was sent".to_owned()) };
        if written.next_expected_version != last.revision.as_u64() {
            return unknown(format!("the cluster says revision {}", written.next_expected_version));
        }
        self.heads.remember(last);
        // Of several events, and of what was there already, versions of the server differ in what they say.
        let said = written.position.commit;
        if placed.len() == 1 && said > 0 {
            return Append::Appended {
                revision: last.revision,
                position: Position::new(said),
                recorded_at: last.recorded_at,
            };
        }
        match self.read_records(stream, last.revision, 1).await {
            Ok(there) => match there.first() {
                Some(there) if there.event_id == last.event_id => Append::Appended {
                    revision: last.revision,
                    position: there.position,
                    recorded_at: there.recorded_at,
                },
                _ => unknown("what was accepted cannot be read yet".to_owned()),
            },
            Err(error) => unknown(error.to_string()),
        }
    }

    /// The digest that an append is chained to. Read, if it is not remembered.
    async fn before(&self, stream: &StreamName, expected: Expected) -> Result<Before, StoreError> {
        let revision = match expected {
            Expected::NoStream => return Ok(Before::Chained(ChainDigest::NONE)),
            Expected::Exactly(revision) => revision,
        };
        if let Some(digest) = self.heads.digest_at(stream, revision) {
            return Ok(Before::Chained(digest));
        }
        if let Some(record) = self.read_records(stream, revision, 1).await?.first() {
            return Ok(Before::Chained(record.digest));
        }
        // It ends before that, if it is there at all.
        let all = self.read_records(stream, Revision::FIRST, usize::MAX).await?;
        match all.iter().rev().find(|record| record.revision <= revision) {
            Some(record) if record.revision == revision => Ok(Before::Chained(record.digest)),
            _ => Ok(Before::Elsewhere(all.last().map(|last| last.revision))),
        }
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

/// How an append ended that was not accepted.
fn outcome(failure: Failure) -> Result<Append, StoreError> {
    match failure {
        Failure::Conflict(actual) => Ok(Append::Conflict { actual }),
        Failure::Broken(reason) => Ok(Append::Unknown { reason }),
        Failure::Refused(why) => Err(StoreError::CannotWrite(why)),
        failure @ (Failure::NotLeader | Failure::Dead(_) | Failure::Deleted | Failure::NotFound) => {
            Err(failure.into_error())
        }
    }
}

fn unknown(reason: String) -> Append {
    Append::Unknown { reason }
}
