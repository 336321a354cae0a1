//! What the double does, seen by the `eventstore` client, and by a bare one where that client sees too little.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod appends;
mod asking;
mod batches;
mod batching;
mod deletes;
mod faults;
mod gates;
mod losses;
mod nodes;
mod reads;
mod subscriptions;
