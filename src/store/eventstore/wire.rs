//! The messages of `Streams.Read` and `Gossip.Read` that are used here. Knows: their fields and numbers, from
//! the published protocol of EventStoreDB. Must not know: why they are sent.
//!
//! Names and numbers are the protocol's; what is never sent or looked at is left out, such as the messages of a read that say
//! "no such stream", "caught up" or "confirmed".

use bytes::Bytes;
use prost::{Enumeration, Message, Oneof};

/// The method that reads streams and `$all`, once or for ever.
pub(super) const READ: &str = "/event_store.client.streams.Streams/Read";
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
    #[prost(enumeration = "Direction", tag = "3")]
    pub read_direction: i32,
    #[prost(oneof = "Count", tags = "5, 6")]
    pub count: Option<Count>,
    #[prost(message, optional, tag = "7")]
    pub filter: Option<FilterOptions>,
    #[prost(message, optional, tag = "8")]
    pub no_filter: Option<Empty>,
    #[prost(message, optional, tag = "9")]
    pub uuid_option: Option<UuidOption>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum Direction {
    Forwards = 0,
    Backwards = 1,
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
    #[prost(oneof = "AllOption", tags = "1, 2, 3")]
    pub at: Option<AllOption>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum AllOption {
    #[prost(message, tag = "1")]
    Position(WirePosition),
    #[prost(message, tag = "2")]
    Start(Empty),
    #[prost(message, tag = "3")]
    End(Empty),
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct WirePosition {
    #[prost(uint64, tag = "1")]
    pub commit_position: u64,
    #[prost(uint64, tag = "2")]
    pub prepare_position: u64,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Count {
    #[prost(uint64, tag = "5")]
    Count(u64),
    #[prost(message, tag = "6")]
    Subscription(Empty),
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
    #[prost(oneof = "Content", tags = "1, 3")]
    pub content: Option<Content>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Content {
    #[prost(message, tag = "1")]
    Event(ReadEvent),
    #[prost(message, tag = "3")]
    Checkpoint(WirePosition),
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
    #[prost(string, tag = "2")]
    pub string: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StreamIdentifier {
    #[prost(bytes = "bytes", tag = "3")]
    pub stream_name: Bytes,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ClusterInfo {
    #[prost(message, repeated, tag = "1")]
    pub members: Vec<Member>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Member {
    #[prost(enumeration = "NodeState", tag = "3")]
    pub state: i32,
    #[prost(bool, tag = "4")]
    pub is_alive: bool,
    #[prost(message, optional, tag = "5")]
    pub http_end_point: Option<WireEndpoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
#[repr(i32)]
pub(super) enum NodeState {
    /// Any of those that cannot be read from, or not yet.
    Initializing = 0,
    Follower = 6,
    Leader = 8,
    ReadOnlyReplica = 14,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WireEndpoint {
    #[prost(string, tag = "1")]
    pub address: String,
    #[prost(uint32, tag = "2")]
    pub port: u32,
}
