//! What happened: the vocabulary of grantbook's ledger and its stored JSON.
//!
//! Knows: the events, the identifiers they carry, their envelope, and how each is written down and
//! read back, for every version ever stored. Must not know: what an event makes true (that is
//! `grantbook-projections`), what may happen next, where records rest, or any secret in plain form.

mod app;
pub mod codec;
mod digest;
mod envelope;
mod ids;
mod installation;
mod ledger;
mod operator_key;
mod place;
#[cfg(feature = "schema")]
mod schema;
mod shown;
mod stream;
mod text;
mod time;
mod upcast;

pub use app::{
    AppDeleted, AppEvent, AppRegistered, AppResumed, AppSecretAdded, AppSecretRetired, AppSource,
    AppSuspended, AppUpdated, ClientKeys, NewSecret, RefreshPolicy, TokenPolicy,
};
pub use digest::{DigestError, SecretDigest};
pub use envelope::{Actor, ActorKind, Envelope, Event, Recorded};
pub use ids::{
    AccountId, ClientId, EventId, GrantId, IdError, InstallationId, LedgerId, OperatorKeyId, RequestId,
    SecretId, TokenId, UserId,
};
pub use installation::{
    AccessGranted, AppUninstalled, CodeExchanged, CodeReplayed, EndedToken, GrantRevoked, InstallationEvent,
    RefreshIssued, RefreshReplayed, RevocationReason, TokenRefreshed, TokenRevoked, UninstallReason,
};
pub use ledger::{LedgerEvent, LossAccepted};
pub use operator_key::{OperatorKeyCreated, OperatorKeyEvent, OperatorKeyRetired, Role};
pub use place::{Position, Revision};
pub use shown::ShownEvent;
pub use stream::{StreamKind, StreamName, StreamNameError};
pub use time::{Timestamp, TimestampError};
