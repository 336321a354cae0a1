//! What the live projection answers. Knows: ids and times. Must not know: tables.

use std::sync::Arc;

use grantbook_events::{
    AccountId, ClientId, EventId, GrantId, InstallationId, Position, Timestamp, TokenId, UserId,
};
use serde::{Deserialize, Serialize};

use super::quarantine::Poison;
use crate::fold::TokenKind;
use crate::text::{Resources, Scopes};

/// What is true of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenFacts {
    /// Names the token.
    pub token_id: TokenId,
    pub kind: TokenKind,
    /// The approval that it came of.
    pub grant_id: GrantId,
    /// When that was recorded.
    pub granted_at: Timestamp,
    /// The app it was issued to.
    pub client_id: ClientId,
    /// The installation it belongs to.
    pub installation_id: InstallationId,
    /// The account the app is installed on.
    pub account_id: AccountId,
    /// The user who approved.
    pub user_id: UserId,
    /// Canonical names of its scopes.
    pub scopes: Scopes,
    /// The resources it is for (RFC 8707); none for any.
    pub resources: Resources,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is refused; `None` never.
    pub expires_at: Option<Timestamp>,
}

impl TokenFacts {
    /// Whether it is for all of these resources, or for any if these are none.
    pub fn is_for(&self, resources: &[String]) -> bool {
        let is_for_all = || resources.iter().all(|resource| self.resources.contains(resource));
        self.resources.is_empty() || (!resources.is_empty() && is_for_all())
    }
}

/// What is true of one app on one account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallationFacts {
    /// Names the installation.
    pub installation_id: InstallationId,
    /// The app.
    pub client_id: ClientId,
    /// The account.
    pub account_id: AccountId,
    /// When a user of the account first approved the app.
    pub first_granted_at: Timestamp,
    /// Since when at least one token has been there without a break, if one is.
    pub installed_since: Option<Timestamp>,
    /// When the last token ended, if none is left but one was there.
    pub ended_at: Option<Timestamp>,
    /// Counts uninstalls.
    pub epoch: u32,
    /// Its valid access and refresh tokens, oldest first.
    pub tokens: Vec<TokenFacts>,
    /// Its tokens that have neither ended nor expired and do not count while their app is suspended: they are valid
    /// again once it is resumed. Oldest first.
    pub dormant: Vec<TokenFacts>,
    /// Why nothing is known of it any more, if so: then no token of it counts.
    pub quarantined: Option<Arc<Poison>>,
}

impl InstallationFacts {
    /// An app is installed while at least one of its tokens is valid, be it an access or a refresh token (R6).
    pub fn is_installed(&self) -> bool {
        !self.tokens.is_empty()
    }
}

/// How much is in the live projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Apps, deleted ones too.
    pub apps: usize,
    /// Installations, ended ones too.
    pub installations: usize,
    /// Access tokens neither revoked nor ended.
    pub tokens: usize,
    /// Operator keys, retired ones too.
    pub operator_keys: usize,
    /// Streams in quarantine.
    pub quarantined: usize,
}

/// Where a state is: at its last event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Where its last event is.
    pub position: Position,
    /// The id of its last event.
    pub event_id: EventId,
    /// Where the event before that one is; [`Position::START`] if there was none.
    pub previous: Position,
}
