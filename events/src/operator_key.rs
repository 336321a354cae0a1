//! What happens to an operator key: stream `key-{key_id}`.

use serde::{Deserialize, Serialize};

use crate::{OperatorKeyId, SecretDigest};

/// One event of an operator key's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperatorKeyEvent {
    /// The key is accepted from here on.
    Created(OperatorKeyCreated),
    /// The key is refused from here on.
    Retired(OperatorKeyRetired),
}

/// `operator-key-created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorKeyCreated {
    /// Names the key in events and answers.
    pub key_id: OperatorKeyId,
    /// What it is for, in the operator's words.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// SHA-256 of the key.
    pub digest: SecretDigest,
}

/// `operator-key-retired`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorKeyRetired {
    /// In the operator's words.
    pub reason: String,
}

/// What an operator key may do.
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Everything.
    Admin,
    /// Reads everything, changes nothing.
    Auditor,
    /// Introspects tokens, nothing else.
    Resource,
    /// Registers apps at `/oauth/register`, nothing else: its key is an initial access token (RFC 7591 section 3).
    Registrar,
}
