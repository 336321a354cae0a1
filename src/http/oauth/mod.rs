//! The OAuth endpoints: RFC 6749 (code grant), 6750, 7009, 7662, 7636, 8414, 9126, 9207.

pub mod assertion;
pub(crate) mod authorize;
pub(crate) mod bearer;
mod client;
mod consent;
pub mod documents;
pub(crate) mod error;
mod grants;
pub(crate) mod introspect;
pub(crate) mod leaked;
pub(crate) mod metadata;
mod named;
pub(crate) mod par;
mod posted;
mod pushed;
pub mod rate_limits;
mod redirect;
pub(crate) mod register;
mod requested;
pub(crate) mod revoke;
pub(crate) mod token;
pub(crate) mod userinfo;

use actix_web::http::header::{HeaderValue, PRAGMA};
use serde::Serialize;

use super::reply::Reply;
use error::OAuthError;

/// What the endpoints for forms answer.
type OAuthAnswer<T> = Result<Reply<T>, OAuthError>;

/// JSON that no cache keeps, old ones either (RFC 6749 section 5.1).
fn answer<T: Serialize>(body: T) -> Reply<T> {
    Reply::ok(body).with((PRAGMA, HeaderValue::from_static("no-cache")))
}
