//! grantbook: a self-hosted OAuth 2.0 authorization server on an event-sourced installation ledger.
//!
//! The rooms and the borders between them are drawn in `docs/architecture.md`.

pub mod clock;
pub mod decisions;
pub mod http;
pub mod ledger;
pub mod secrets;
pub mod store;
pub mod telemetry;
