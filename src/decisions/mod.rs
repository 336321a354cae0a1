//! What may happen next. Knows: events, the folded state of the stream a command decides on, and a given
//! `now`. Must not know: async, HTTP, stores, clocks, randomness, or any secret in plain form.
//!
//! One command, one file: the command, its rule, and its tests beside it.

pub mod app_profile;
pub mod approval;
pub mod authorization_request;
pub mod client_authentication;
pub mod client_keys;
pub mod client_metadata;
mod code_time;
mod create_operator_key;
mod delete_app;
mod exchange_code;
mod grant_access;
mod issue;
pub mod key_set;
pub mod metadata_document;
mod readable;
mod record_document;
pub mod redirect_uri;
mod refresh_token;
mod refusal;
mod register_app;
pub mod resources;
mod resume_app;
mod retire_operator_key;
mod retire_secret;
mod revoke_token;
mod rotate_secret;
pub mod scopes;
pub mod self_registration;
mod suspend_app;
mod uninstall_app;
mod update_app;

#[cfg(test)]
mod testing;

use grantbook_events::{Event, StreamKind, Timestamp};
use grantbook_projections::live::State;

pub use create_operator_key::CreateOperatorKey;
pub use delete_app::DeleteApp;
pub use exchange_code::ExchangeCode;
pub use grant_access::GrantAccess;
pub use issue::{Issued, NewRefresh, RefreshRules, TokenRules};
pub use record_document::RecordDocument;
pub use refresh_token::RefreshToken;
pub use refusal::{AppRefusal, InstallationRefusal, KeyRefusal};
pub use register_app::{RegisterApp, Registration};
pub use resume_app::ResumeApp;
pub use retire_operator_key::RetireOperatorKey;
pub use retire_secret::RetireSecret;
pub use revoke_token::{RevokeToken, TokenHolder, WhichToken};
pub use rotate_secret::{MAX_LIVE_SECRETS, RotateSecret};
pub use suspend_app::SuspendApp;
pub use uninstall_app::{UninstallApp, Uninstalled};
pub use update_app::{Changes, UpdateApp};

/// What a caller wants to happen, with everything a pure rule needs to answer.
pub trait Command: Clone + Send + Sync + 'static {
    /// Its name, for counting commands.
    const NAME: &'static str;
    /// The state of the one stream the command decides on.
    type State: State;
    /// What is answered if it is granted.
    type Answer: Send + 'static;
    /// Why it may be refused.
    type Refusal: std::error::Error + Send + 'static;

    /// The stream the command decides on.
    fn stream(&self) -> StreamKind;

    /// It is recorded no earlier than this, so that its time and the time of what it rests on in another stream are in
    /// the right order, also where nodes disagree about the time.
    fn not_before(&self) -> Timestamp {
        Timestamp::from_micros(i64::MIN)
    }

    /// What happens, and what is answered.
    fn decide(&self, state: Option<&Self::State>, now: Timestamp) -> Decided<Self>;
}

/// A decision, or a refusal with which nothing happens.
pub type Decided<C> =
    Result<Decision<<C as Command>::Answer, <C as Command>::Refusal>, <C as Command>::Refusal>;

/// What happens, and what is answered. A refusal can have consequences: replaying a spent code revokes
/// its tokens *and* is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision<A, R> {
    /// What happens; it must be durable before the answer leaves.
    pub events: Vec<Event>,
    /// What is answered.
    pub answer: Result<A, R>,
}

impl<A, R> Decision<A, R> {
    /// This happens, and the answer is yes.
    pub fn granted(answer: A, events: impl IntoIterator<Item = impl Into<Event>>) -> Self {
        Self { events: events.into_iter().map(Into::into).collect(), answer: Ok(answer) }
    }

    /// Nothing has to happen for the answer to be yes.
    pub const fn already(answer: A) -> Self {
        Self { events: Vec::new(), answer: Ok(answer) }
    }

    /// Nothing happens, and the answer is no.
    pub const fn refused(refusal: R) -> Self {
        Self { events: Vec::new(), answer: Err(refusal) }
    }

    /// The answer is no, and this happens because of the attempt.
    pub fn refused_with(refusal: R, event: impl Into<Event>) -> Self {
        Self { events: vec![event.into()], answer: Err(refusal) }
    }
}
