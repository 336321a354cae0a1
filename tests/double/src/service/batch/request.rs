//! What the options of an append in a `BatchAppend` say. Knows: their shape. Must not know: the call.

use std::time::Duration;

use super::super::wire;
use super::answer;
use crate::expectation::Expected;
use crate::options::Clock;
use crate::protocol::streams::batch_append_req::Options;
use crate::protocol::streams::batch_append_req::options::{DeadlineOption, ExpectedStreamPosition};
use crate::protocol::streams::batch_append_resp::Result as Answer;
use crate::retention::TICKS_PER_SECOND;

const NANOS_PER_TICK: i128 = 1_000_000_000 / TICKS_PER_SECOND as i128;

/// The stream and what it is expected to be like.
pub(super) fn target(options: &Options) -> Result<(String, Expected), Answer> {
    let expected = match options.expected_stream_position {
        Some(ExpectedStreamPosition::StreamPosition(revision)) => Expected::Exactly(revision),
        Some(ExpectedStreamPosition::NoStream(_)) => Expected::NoStream,
        Some(ExpectedStreamPosition::Any(_)) => Expected::Any,
        Some(ExpectedStreamPosition::StreamExists(_)) => Expected::StreamExists,
        None => return Err(answer::bad_request("no expected stream position is named")),
    };
    let stream = wire::stream_name(options.stream_identifier.clone());
    let stream = stream.map_err(|status| answer::bad_request(status.message()))?;
    Ok((stream, expected))
}

/// How long the append may take: what is asked for, and at most what the server takes for any.
pub(super) fn timeout(options: &Options, at_most: Duration, clock: &Clock) -> Duration {
    let asked = match &options.deadline_option {
        Some(DeadlineOption::Deadline(asked)) => nanos(asked.seconds, asked.nanos),
        Some(DeadlineOption::Deadline21100(at)) => {
            nanos(at.seconds, at.nanos) - i128::from(clock.ticks()) * NANOS_PER_TICK
        }
        None => return at_most,
    };
    Duration::from_nanos(u64::try_from(asked.max(0)).unwrap_or(u64::MAX)).min(at_most)
}

fn nanos(seconds: i64, nanos: i32) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}
