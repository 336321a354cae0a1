//! An event as it rests in the log, and as it is proposed. Knows: what the protocol carries of one. Must not
//! know: who may append it.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

/// The content type of data that is JSON.
pub(crate) const JSON: &str = "application/json";
/// The content type of all other data: the server remembers no more than whether it is JSON.
pub(crate) const NOT_JSON: &str = "application/octet-stream";

/// An event in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub id: Uuid,
    pub stream: Arc<str>,
    /// Of the stream, from 0.
    pub revision: u64,
    /// Commit and prepare position, which are the same here.
    pub position: u64,
    /// In units of 100 ns since the Unix epoch.
    pub created: u64,
    pub event_type: String,
    pub content_type: &'static str,
    pub data: Bytes,
    pub custom_metadata: Bytes,
}

/// An event that somebody wants to have in a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proposed {
    pub id: Uuid,
    pub event_type: String,
    pub content_type: &'static str,
    pub data: Bytes,
    pub custom_metadata: Bytes,
}

impl Proposed {
    /// An event that no client sent.
    #[expect(clippy::disallowed_methods, reason = "nothing depends on which id a planted event has")]
    pub fn planted(event_type: &str, data: Bytes, custom_metadata: Bytes) -> Self {
        let (id, event_type) = (Uuid::new_v4(), event_type.to_owned());
        Self { id, event_type, content_type: JSON, data, custom_metadata }
    }

    /// What counts against the limit of an append, in bytes: the server counts its type in UTF-16.
    pub fn size(&self) -> usize {
        self.data.len() + self.custom_metadata.len() + 2 * self.event_type.len()
    }
}
