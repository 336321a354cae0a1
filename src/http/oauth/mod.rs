//! The OAuth endpoints: RFC 6749 (code grant), 7009, 7662, 7636, 8414, 9207.

pub mod approvals;
pub mod authorize;
mod client;
pub mod error;
mod forms;
pub mod introspect;
pub mod metadata;
mod posted;
pub mod revoke;
pub mod seldom;
pub mod token;

pub use posted::post_only;
