//! Deleting a stream, for good or not. Knows: how it is refused. Must not know: what is left of the stream.

use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::append::expected;
use super::{Seat, not_ready, put, stream_deleted, wire};
use crate::expectation::{Expected, Outcome};
use crate::gates::Passage;
use crate::protocol::streams::append_req::Options;
use crate::protocol::streams::append_resp::Position;

impl Seat {
    pub(super) async fn answer_delete(
        &self,
        metadata: &MetadataMap,
        options: Option<Options>,
        is_for_good: bool,
    ) -> Result<Position, Status> {
        self.authenticate(metadata)?;
        self.check_leader(metadata)?;
        let missing = || Status::invalid_argument("a deletion without options");
        let options = options.ok_or_else(missing)?;
        let expected = expected(&options);
        let stream = wire::stream_name(options.stream_identifier)?;
        let writer = self.cluster.leader().and_then(|leader| leader.writer()).ok_or_else(not_ready)?;
        writer.wait(&Passage::default()).await;
        let outcome = self.cluster.delete(&writer, &stream, expected, is_for_good).ok_or_else(not_ready)?;
        match outcome {
            Outcome::Written { position, .. } => {
                Ok(Position { commit_position: position, prepare_position: position })
            }
            Outcome::Conflict { current } => Err(conflict(&stream, expected, current)),
            Outcome::Deleted => Err(stream_deleted(&stream)),
            Outcome::Nothing { .. } | Outcome::Replayed { .. } => Err(Status::unknown("nothing was deleted")),
        }
    }
}

/// The server says revisions as numbers here, and what is none in negative ones.
fn conflict(stream: &str, expected: Expected, current: Option<u64>) -> Status {
    let expected = match expected {
        Expected::Exactly(revision) => revision.to_string(),
        Expected::NoStream => "-1".to_owned(),
        Expected::Any => "-2".to_owned(),
        Expected::StreamExists => "-4".to_owned(),
    };
    let actual = current.map_or("-1".to_owned(), |revision| revision.to_string());
    let mut trailers = MetadataMap::new();
    put(&mut trailers, "exception", "wrong-expected-version");
    put(&mut trailers, "stream-name", stream);
    put(&mut trailers, "expected-version", &expected);
    put(&mut trailers, "actual-version", &actual);
    let message = format!(
        "Delete failed due to WrongExpectedVersion. Stream: {stream}, Expected version: {expected}, Actual version: \
         {actual}"
    );
    Status::with_metadata(Code::FailedPrecondition, message, trailers)
}
