//! What callers say and hear. Knows: wire forms, commands and rendering. Must not know: stores, or the
//! rules that commands are decided by.

pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod browser;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod endpoint;
pub(crate) mod endpoints;
pub(crate) mod form;
pub(crate) mod input;
pub(crate) mod limits;
pub(crate) mod manage;
pub mod oauth;
pub(crate) mod observe;
pub(crate) mod openapi;
pub(crate) mod operator;
pub(crate) mod prefix;
pub(crate) mod probes;
pub(crate) mod problem;
pub(crate) mod projections;
pub(crate) mod reason;
pub(crate) mod reply;
pub mod service;
pub(crate) mod sign_in;
#[cfg(test)]
pub(crate) mod testing;
mod unread;

// What every room of handlers uses.
pub(crate) use browser::{PageError, Visit, see_other};
pub(crate) use context::{Caller, Context};
pub(crate) use form::Form;
pub(crate) use input::{Body, Text, accepted, read_whole};
pub(crate) use operator::Operator;
pub(crate) use problem::Problem;
pub(crate) use reason::Reason;
pub(crate) use reply::{Answer, Reply, ShownOnce};
pub(crate) use service::Service;
