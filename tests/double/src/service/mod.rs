//! What a node answers. Knows: who may ask, and which service answers what. Must not know: sockets.
#![allow(clippy::result_large_err, reason = "a status is what a call ends with here, once")]

mod append;
mod appending;
mod batch;
mod delete;
mod features;
mod filter;
mod gossip;
mod read;
mod replies;
mod streams;
mod subscription;
mod wire;

use std::sync::Arc;

use tonic::metadata::MetadataMap;
use tonic::service::Routes;
use tonic::{Code, Status};

use crate::cluster::Cluster;
use crate::node::Node;
use crate::protocol::gossip::gossip_server::GossipServer;
use crate::protocol::server_features::server_features_server::ServerFeaturesServer;
use crate::protocol::streams::streams_server::StreamsServer;

/// The largest message that is taken, in bytes. An append's own limit is lower, and said in another way.
const MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// A node as its services see it.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    pub cluster: Arc<Cluster>,
    pub index: usize,
}

impl Seat {
    pub fn node(&self) -> &Node {
        &self.cluster.nodes[self.index]
    }

    /// All that the node serves.
    pub fn routes(self) -> Routes {
        let streams = StreamsServer::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Routes::new(streams)
            .add_service(GossipServer::new(self.clone()))
            .add_service(ServerFeaturesServer::new(self))
    }

    /// Refuses requests that name no user, or another one.
    fn authenticate(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let Some(wanted) = &self.cluster.authorization else { return Ok(()) };
        let is_right = metadata.get("authorization").is_some_and(|said| said.as_bytes() == wanted.as_bytes());
        is_right.then_some(()).ok_or_else(denied)
    }

    /// Refuses requests that name another user, and takes those that name none.
    fn authenticate_if_named(&self, metadata: &MetadataMap) -> Result<(), Status> {
        if metadata.contains_key("authorization") { self.authenticate(metadata) } else { Ok(()) }
    }

    /// Refuses what only the leader is to do, if this node is not the leader.
    fn check_leader(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let requires = metadata.get("requires-leader").is_some_and(|said| said.as_bytes() == b"true");
        if !requires {
            return Ok(());
        }
        let is_leader = self.cluster.leader().is_some_and(|leader| leader.index == self.index);
        if is_leader { Ok(()) } else { Err(self.sent_to_leader()) }
    }

    /// What is said to a request that only the leader serves.
    fn sent_to_leader(&self) -> Status {
        self.cluster.leader().map_or_else(not_ready, not_leader)
    }
}

fn denied() -> Status {
    Status::unauthenticated("Unauthenticated")
}

fn not_ready() -> Status {
    Status::unavailable("Server Is Not Ready")
}

fn not_leader(leader: &Node) -> Status {
    let mut trailers = MetadataMap::new();
    let address = leader.address();
    put(&mut trailers, "exception", "not-leader");
    put(&mut trailers, "leader-endpoint-host", &address.ip().to_string());
    put(&mut trailers, "leader-endpoint-port", &address.port().to_string());
    Status::with_metadata(Code::NotFound, "Leader info available", trailers)
}

fn stream_deleted(stream: &str) -> Status {
    let mut trailers = MetadataMap::new();
    put(&mut trailers, "exception", "stream-deleted");
    put(&mut trailers, "stream-name", stream);
    let message = format!("Event stream '{stream}' is deleted.");
    Status::with_metadata(Code::FailedPrecondition, message, trailers)
}

fn put(trailers: &mut MetadataMap, name: &'static str, text: &str) {
    if let Ok(value) = text.parse() {
        trailers.insert(name, value);
    }
}
