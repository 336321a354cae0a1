//! Who the person in the browser is. Knows: cookies, sign-in, and the platform that vouches for people.
//! Must not know: apps, tokens, stores, or what a person may do.
//!
//! People are never registered here. The host platform names them ([`handoff`]), or on a developer's own
//! machine the person picks a name ([`dev`]). Either way the browser that began the sign-in must be the one that
//! finishes it ([`pending`]). Who is signed in is kept in an encrypted cookie ([`session`]), and each form proves that
//! this server made it for this session ([`tickets`]).

pub mod cookies;
pub mod dev;
pub mod handoff;
mod key;
mod onward;
pub mod pending;
mod sealed;
pub mod session;
pub mod tickets;

use std::sync::Arc;

use dev::DevSignIn;
use handoff::Handoff;

pub use key::{SessionKey, SessionKeyError};
pub use onward::{Onward, OnwardError};
pub use sealed::Sealer;

/// How people sign in.
#[derive(Debug, Clone, Default)]
pub enum SignIn {
    /// Not at all: the operator has not configured it.
    #[default]
    NotConfigured,
    /// As anyone they like: for development, on loopback only.
    Dev(DevSignIn),
    /// At the host platform, which hands them over with a signed assertion.
    Handoff(Arc<Handoff>),
}
