//! What is true now: folds of grantbook's events into the states that decisions look at and the read
//! models that the endpoints ask.
//!
//! Knows: events. Must not know: the clock (every question takes `now`), stores, HTTP, or why anything
//! may happen. Every fold is total over the events: there is no wildcard arm, and an event that cannot
//! follow from what came before is an error that names its position.

mod app;
mod fold;
pub mod history;
mod installation;
pub mod live;
mod operator_key;
mod text;

pub use app::{App, AppStatus, ClientSecret, Suspension};
pub use fold::{Effects, FoldError, Head, TokenEffect, TokenKind};
pub use installation::{
    CodeChallenge, CodeState, Family, GRANT_MEMORY, Grant, Held, HeldToken, Installation, LiveToken,
    MAX_PENDING_PER_USER, SpentRefresh,
};
pub use operator_key::OperatorKey;
pub use text::{Names, Resources, Scopes, SharedText};
