//! What callers say and hear. Knows: wire forms, commands and rendering. Must not know: stores, or the
//! rules that commands are decided by.

pub mod account;
pub mod audit;
pub mod browser;
pub mod context;
pub mod cors;
pub mod fault;
pub mod form;
pub mod home;
pub mod limits;
pub mod manage;
pub mod node;
mod notice;
pub mod oauth;
pub mod observe;
pub mod openapi;
pub mod operator;
pub mod path;
pub mod prefix;
pub mod probes;
pub mod problem;
pub mod projections;
pub mod reason;
pub mod routes;
pub mod service;
pub mod sign_in;
mod unread;
mod whole_body;
