//! How events are written down and read back. Knows: the stored names and versions, which are a contract
//! independent of Rust names. Must not know: what an event makes true.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::upcast::{UPCASTS, upcast};
use crate::{Actor, AppEvent, Event, EventId, InstallationEvent, LedgerEvent, OperatorKeyEvent, RequestId};

/// An event as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The stored type name, such as `code-exchanged`.
    pub type_name: &'static str,
    /// The version of the payload.
    pub version: u16,
    /// The payload, a JSON object.
    pub payload: String,
}

/// Why an event could not be written down.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {type_name} as JSON")]
pub struct EncodeError {
    type_name: &'static str,
    source: serde_json::Error,
}

/// Why stored bytes are not an event.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The type name is not one of ours: the ledger was written by a newer grantbook, or is damaged.
    #[error("event type {0:?} is unknown to this version of grantbook: use a newer grantbook")]
    UnknownType(String),
    /// It is not an event of grantbook at all, or not the one that was written. The text says why.
    #[error("{0}")]
    NotWritten(String),
    /// The type is known in older versions only.
    #[error(
        "{type_name} version {version} is newer than version {newest}, the newest known here: use a newer grantbook"
    )]
    NewerVersion {
        /// The stored type name.
        type_name: &'static str,
        /// The stored version.
        version: u16,
        /// The version in force.
        newest: u16,
    },
    /// Version 0 was never stored, or no chain of upcasts leads to the version in force.
    #[error("{type_name} version {version} cannot be brought up to date: {reason}")]
    Upcast {
        /// The stored type name.
        type_name: &'static str,
        /// The stored version.
        version: u16,
        /// What the upcast said.
        reason: String,
    },
    /// The payload does not have the shape of its type and version.
    #[error("the payload of {type_name} version {version} does not have its shape")]
    Payload {
        /// The stored type name.
        type_name: &'static str,
        /// The stored version.
        version: u16,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// The one list of stored names and versions. The order means nothing; an entry is never taken out.
macro_rules! stored {
    ($($name:literal v $version:literal => $group:ident :: $inner:ident :: $variant:ident;)*) => {
        /// Every stored type name with the version in force.
        pub const STORED_TYPES: &[(&str, u16)] = &[$(($name, $version)),*];

        /// The stored name of an event's type.
        pub fn type_name(event: &Event) -> &'static str {
            match event {
                $(Event::$group($inner::$variant(_)) => $name,)*
            }
        }

        /// Writes an event in the version in force.
        pub fn encode(event: &Event) -> Result<Encoded, EncodeError> {
            match event {
                $(Event::$group($inner::$variant(payload)) => write($name, $version, payload),)*
            }
        }

        /// An event's stored name, the version in force, and its payload as a JSON value.
        pub(crate) fn encode_value(event: &Event) -> Result<(&'static str, u16, Value), EncodeError> {
            match event {
                $(Event::$group($inner::$variant(payload)) => {
                    let value = serde_json::to_value(payload);
                    Ok(($name, $version, value.map_err(|source| EncodeError { type_name: $name, source })?))
                })*
            }
        }

        /// Reads an event of any version ever stored.
        pub fn decode(type_name: &str, version: u16, payload: &str) -> Result<Event, DecodeError> {
            match type_name {
                $($name => Ok(Event::$group($inner::$variant(read($name, $version, version, payload)?))),)*
                _ => Err(DecodeError::UnknownType(type_name.to_owned())),
            }
        }
    };
}

stored! {
    "app-registered" v 1 => App::AppEvent::Registered;
    "app-updated" v 1 => App::AppEvent::Updated;
    "app-secret-added" v 1 => App::AppEvent::SecretAdded;
    "app-secret-retired" v 1 => App::AppEvent::SecretRetired;
    "app-suspended" v 1 => App::AppEvent::Suspended;
    "app-resumed" v 1 => App::AppEvent::Resumed;
    "app-deleted" v 1 => App::AppEvent::Deleted;
    "access-granted" v 1 => Installation::InstallationEvent::AccessGranted;
    "code-exchanged" v 1 => Installation::InstallationEvent::CodeExchanged;
    "code-replayed" v 1 => Installation::InstallationEvent::CodeReplayed;
    "token-refreshed" v 1 => Installation::InstallationEvent::TokenRefreshed;
    "refresh-replayed" v 1 => Installation::InstallationEvent::RefreshReplayed;
    "token-revoked" v 1 => Installation::InstallationEvent::TokenRevoked;
    "grant-revoked" v 1 => Installation::InstallationEvent::GrantRevoked;
    "app-uninstalled" v 1 => Installation::InstallationEvent::Uninstalled;
    "operator-key-created" v 1 => OperatorKey::OperatorKeyEvent::Created;
    "operator-key-retired" v 1 => OperatorKey::OperatorKeyEvent::Retired;
    "loss-accepted" v 1 => Ledger::LedgerEvent::LossAccepted;
}

fn write<T: Serialize>(type_name: &'static str, version: u16, payload: &T) -> Result<Encoded, EncodeError> {
    let payload = serde_json::to_string(payload).map_err(|source| EncodeError { type_name, source })?;
    Ok(Encoded { type_name, version, payload })
}

fn read<T: DeserializeOwned>(
    type_name: &'static str,
    newest: u16,
    version: u16,
    payload: &str,
) -> Result<T, DecodeError> {
    let shape = |source| DecodeError::Payload { type_name, version, source };
    if version == newest {
        return serde_json::from_str(payload).map_err(shape);
    }
    if version > newest {
        return Err(DecodeError::NewerVersion { type_name, version, newest });
    }
    let payload = serde_json::from_str(payload).map_err(shape)?;
    let payload = upcast(UPCASTS, type_name, version, newest, payload)
        .map_err(|reason| DecodeError::Upcast { type_name, version, reason })?;
    serde_json::from_value(payload).map_err(shape)
}

/// The part of the envelope that only the writer knows, as it is stored. The two names with a dollar
/// sign are the ones EventStoreDB reserves for these meanings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metadata {
    /// Who did it.
    pub actor: Actor,
    /// Through which request.
    #[serde(rename = "$correlationId")]
    pub request_id: RequestId,
    /// The event this one follows from, if any.
    #[serde(rename = "$causationId", default, skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<EventId>,
}

impl Metadata {
    /// Writes it as a JSON object.
    pub fn to_json(&self) -> Result<String, EncodeError> {
        serde_json::to_string(self).map_err(|source| EncodeError { type_name: "metadata", source })
    }
}
