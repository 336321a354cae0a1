//! Questions about history. Knows: the ledger, events. Must not know: how to change anything, or HTTP.

mod sentences;
mod timeline;

pub use timeline::{Moment, timeline};
