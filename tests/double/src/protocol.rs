//! The messages and services of the published protocol, with clients to speak it in tests. Knows: what was made of
//! `protos/`. Must not know: anything.
#![allow(
    missing_debug_implementations,
    clippy::all,
    clippy::too_many_lines,
    reason = "made by the protocol compiler"
)]

tonic::include_proto!("event_store.client");

/// Reading and appending.
pub mod streams {
    tonic::include_proto!("event_store.client.streams");
}

/// Who is in the cluster.
pub mod gossip {
    tonic::include_proto!("event_store.client.gossip");
}

/// What the server can do.
pub mod server_features {
    tonic::include_proto!("event_store.client.server_features");
}
