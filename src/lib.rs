//! grantbook: a self-hosted OAuth 2.0 authorization server on an event-sourced installation ledger.
//!
//! The rooms and the borders between them are drawn in `docs/architecture.md`.

#![cfg_attr(test, allow(clippy::too_many_lines))]

pub mod audit;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod connections;
pub mod decisions;
pub mod dev;
pub mod files;
pub mod http;
pub mod identity;
pub mod ledger;
pub mod outbound;
pub mod pages;
pub mod replay;
pub mod secrets;
pub mod server;
pub mod single_use;
pub mod store;
pub mod tasks;
pub mod telemetry;
pub mod unapproved;
