//! What stands for the store of a cluster in a build without the cargo feature `eventstore`. Knows: that no connection
//! string is accepted. Must not know: what one looks like.

use std::sync::Arc;

use uuid::Uuid;

use super::{Evidence, Store, StoreError};
use crate::clock::Clock;

/// No value of it exists, because no text can be parsed as one.
#[derive(Debug)]
pub enum Target {}

#[derive(Debug, thiserror::Error)]
#[error(
    "is not supported by this grantbook, which was built without the cargo feature `eventstore`: leave it out, or build \
     grantbook with its default features"
)]
pub struct TargetError;

impl Target {
    /// # Errors
    /// Always.
    pub fn parse(_text: &str) -> Result<Self, TargetError> {
        Err(TargetError)
    }

    pub fn without_password(&self) -> &str {
        match *self {}
    }
}

#[derive(Debug)]
pub enum EventStore {}

impl EventStore {
    /// # Errors
    /// Never, because there is no target.
    pub fn open_checked(
        target: Arc<Target>,
        _serve: Option<Uuid>,
        _clock: Arc<dyn Clock>,
        _evidence: Evidence,
    ) -> Result<Arc<dyn Store>, StoreError> {
        match *target {}
    }
}
