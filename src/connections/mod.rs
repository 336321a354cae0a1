//! Connections: how many there are, how long each may wait for its client, and the threads that serve them. Knows:
//! sockets, descriptors, threads. Must not know: what is asked or answered on a connection.
//!
//! One task accepts, while there is room, and hands each connection to one of a few threads, where actix-http
//! speaks HTTP/1.1 on it. A connection that waits for its client for too long is closed; where there is no room
//! for a new one, the one that has waited longest makes room.

mod accept;
mod descriptors;
mod guarded;
mod open;
mod serve;

pub use descriptors::raise_limit;
pub use open::{Limits, Open};
pub use serve::Connections;
