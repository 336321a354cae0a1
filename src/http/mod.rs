//! What callers say and hear. Knows: wire forms, commands and rendering. Must not know: stores, or the
//! rules that commands are decided by.

mod account;
pub(crate) mod audit;
pub(crate) mod browser;
mod context;
mod cors;
pub(crate) mod endpoint;
pub(crate) mod endpoints;
mod form;
pub(crate) mod input;
mod limits;
mod manage;
pub mod oauth;
pub(crate) mod observe;
mod openapi;
pub(crate) mod operator;
pub(crate) mod prefix;
mod probes;
mod problem;
mod projections;
mod reason;
mod reply;
pub mod service;
mod sign_in;
#[cfg(test)]
pub(crate) mod testing;
mod unread;
mod waiting;

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
