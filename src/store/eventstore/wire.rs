//! The messages of `Streams.Read`, `Streams.BatchAppend` and `Gossip.Read` that are used here. Knows: their fields and numbers, from
//! the published protocol of EventStoreDB. Must not know: why they are sent.
//!
//! Names and numbers are the protocol's. What is never sent or looked at is left out, such as the messages of a read
//! that say "no such stream", "caught up" or "confirmed". Of a `oneof` one field is set at a time.

use bytes::Bytes;
use prost::Message;
use uuid::Uuid;

/// The method that reads streams and `$all`, once or for ever.
pub(super) const READ: &str = "/event_store.client.streams.Streams/Read";
/// The method that appends, many times in one call.
pub(super) const BATCH_APPEND: &str = "/event_store.client.streams.Streams/BatchAppend";
/// The method that says who is in the cluster.
pub(super) const GOSSIP: &str = "/event_store.client.gossip.Gossip/Read";

#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadReq {
    #[prost(message, optional, tag = "1")]
    pub options: Option<Options>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Options {
    #[prost(message, optional, tag = "1")]
    pub stream: Option<StreamOptions>,
    #[prost(message, optional, tag = "2")]
    pub all: Option<AllOptions>,
    /// In the protocol a number: 0 is forwards, 1 backwards.
    #[prost(bool, tag = "3")]
    pub backwards: bool,
    #[prost(uint64, optional, tag = "5")]
    pub count: Option<u64>,
    #[prost(message, optional, tag = "6")]
    pub subscription: Option<Empty>,
    #[prost(message, optional, tag = "7")]
    pub filter: Option<FilterOptions>,
    #[prost(message, optional, tag = "8")]
    pub no_filter: Option<Empty>,
    #[prost(message, optional, tag = "9")]
    pub uuid_option: Option<UuidOption>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamOptions {
    #[prost(message, optional, tag = "1")]
    pub stream_identifier: Option<StreamIdentifier>,
    #[prost(uint64, optional, tag = "2")]
    pub revision: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AllOptions {
    #[prost(message, optional, tag = "1")]
    pub position: Option<WirePosition>,
    #[prost(message, optional, tag = "2")]
    pub start: Option<Empty>,
    #[prost(message, optional, tag = "3")]
    pub end: Option<Empty>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WirePosition {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct FilterOptions {
    #[prost(message, optional, tag = "1")]
    pub stream_identifier: Option<Expression>,
    #[prost(uint32, tag = "3")]
    pub max: u32,
    #[prost(uint32, tag = "5")]
    pub checkpoint_interval_multiplier: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Expression {
    #[prost(string, repeated, tag = "2")]
    pub prefix: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct UuidOption {
    #[prost(message, optional, tag = "2")]
    pub string: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadResp {
    #[prost(message, optional, tag = "1")]
    pub event: Option<ReadEvent>,
    #[prost(message, optional, tag = "3")]
    pub checkpoint: Option<WirePosition>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ReadEvent {
    #[prost(message, optional, tag = "1")]
    pub event: Option<RecordedEvent>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct RecordedEvent {
    #[prost(message, optional, tag = "1")]
    pub id: Option<WireUuid>,
    #[prost(message, optional, tag = "2")]
    pub stream_identifier: Option<StreamIdentifier>,
    #[prost(uint64, tag = "3")]
    pub stream_revision: u64,
    #[prost(uint64, tag = "5")]
    pub commit_position: u64,
    #[prost(map = "string, string", tag = "6")]
    pub metadata: std::collections::HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "7")]
    pub custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "8")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireUuid {
    #[prost(message, optional, tag = "1")]
    pub structured: Option<StructuredUuid>,
    #[prost(string, tag = "2")]
    pub string: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct StructuredUuid {
    #[prost(int64, tag = "1")]
    pub most_significant_bits: i64,
    #[prost(int64, tag = "2")]
    pub least_significant_bits: i64,
}

impl From<Uuid> for WireUuid {
    fn from(id: Uuid) -> Self {
        let (most, least) = id.as_u64_pair();
        let (most_significant_bits, least_significant_bits) = (most.cast_signed(), least.cast_signed());
        let structured = Some(StructuredUuid { most_significant_bits, least_significant_bits });
        Self { structured, string: String::new() }
    }
}

impl WireUuid {
    /// The id, if it has the form of one.
    pub(super) fn id(&self) -> Option<Uuid> {
        match self.structured {
            Some(StructuredUuid { most_significant_bits: most, least_significant_bits: least }) => {
                Some(Uuid::from_u64_pair(most.cast_unsigned(), least.cast_unsigned()))
            }
            None => Uuid::parse_str(&self.string).ok(),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub stream_name: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchAppendReq {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: Option<WireUuid>,
    #[prost(message, optional, tag = "2")]
    pub options: Option<BatchOptions>,
    #[prost(message, repeated, tag = "3")]
    pub proposed: Vec<Proposed>,
    #[prost(bool, tag = "4")]
    pub is_final: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchOptions {
    #[prost(message, optional, tag = "1")]
    pub stream_identifier: Option<StreamIdentifier>,
    /// The revision that the stream must end with.
    #[prost(uint64, optional, tag = "2")]
    pub revision: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub no_stream: Option<Empty>,
    #[prost(message, optional, tag = "7")]
    pub deadline: Option<WireDuration>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WireDuration {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
}

/// An event on its way.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Proposed {
    #[prost(message, optional, tag = "1")]
    pub id: Option<WireUuid>,
    #[prost(map = "string, string", tag = "2")]
    pub metadata: std::collections::HashMap<String, String>,
    #[prost(bytes = "bytes", tag = "3")]
    pub custom_metadata: Bytes,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BatchAppendResp {
    #[prost(message, optional, tag = "1")]
    pub correlation_id: Option<WireUuid>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<AppendError>,
    #[prost(message, optional, tag = "3")]
    pub success: Option<Success>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Success {
    #[prost(uint64, optional, tag = "1")]
    pub current_revision: Option<u64>,
    #[prost(message, optional, tag = "3")]
    pub position: Option<WirePosition>,
}

/// `google.rpc.Status`, with one detail.
#[derive(Clone, PartialEq, Message)]
pub(super) struct AppendError {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, optional, tag = "3")]
    pub details: Option<Details>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Details {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    pub value: Bytes,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WrongExpectedVersion {
    /// None if there is no such stream.
    #[prost(uint64, optional, tag = "1")]
    pub current_revision: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct BadRequest {
    #[prost(string, tag = "1")]
    pub message: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterInfo {
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<Member>,
}

pub(super) const FOLLOWER: i32 = 6;
pub(super) const LEADER: i32 = 8;
pub(super) const READ_ONLY_REPLICA: i32 = 14;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Member {
    /// One of [`LEADER`] and so on, or a state in which it cannot be read from.
    #[prost(int32, tag = "3")]
    pub state: i32,
    #[prost(bool, tag = "4")]
    pub is_alive: bool,
    #[prost(message, optional, tag = "5")]
    pub http_end_point: Option<WireEndpoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireEndpoint {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}
