//! What may happen next. Knows: events, the folded state of the stream it decides on, a given `now`. Must
//! not know: async, HTTP, stores, clocks, randomness, plain secrets.

pub mod scopes;
