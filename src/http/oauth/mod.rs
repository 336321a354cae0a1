//! The OAuth endpoints: RFC 6749 (code grant), 7009, 7662, 7636, 8414, 9207.

pub mod approvals;
pub(crate) mod authorize;
mod client;
pub(crate) mod error;
mod exchange;
mod grants;
pub(crate) mod introspect;
pub(crate) mod metadata;
mod posted;
mod reply;
pub(crate) mod revoke;
pub(crate) mod seldom;
pub(crate) mod token;

pub use posted::post_only;
