//! What callers say and hear. Knows: wire forms, commands, rendering, and the one list of URLs. Must not
//! know: stores, or the rules that commands are decided by.

pub mod context;
pub mod fault;
pub mod form;
pub mod manage;
pub mod openapi;
pub mod operator;
pub mod probes;
pub mod problem;
pub mod service;
