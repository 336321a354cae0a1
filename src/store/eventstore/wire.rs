//! The messages of `Streams.Read` and `Gossip.Read` that are used here. Knows: their fields and numbers, from
//! the published protocol of EventStoreDB. Must not know: why they are sent.
//!
//! Names and numbers are the protocol's. What is never sent or looked at is left out, such as the messages of a read
//! that say "no such stream", "caught up" or "confirmed". Of a `oneof` one field is set at a time.

use bytes::Bytes;
use prost::Message;

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
