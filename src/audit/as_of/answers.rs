//! What is said of the past. Knows: facts, as the fold gives them. Must not know: where they come from.

use std::collections::BTreeSet;

use grantbook_events::{AccountId, ClientId, GrantId, InstallationId, Position, Timestamp, TokenId, UserId};
use grantbook_projections::live::{InstallationFacts, Live, TokenFacts};
use grantbook_projections::{AppStatus, TokenKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::timeline::Moment;
use crate::store::Record;

/// Where the ledger was cut, and the time that expiry is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cut {
    /// The last event that counts.
    pub position: Position,
    /// What had expired by then did not count.
    pub time: Timestamp,
    /// Whether events before `position` were recorded after `time`, because the clocks of several nodes disagreed:
    /// these do not count. `GET /audit/events?until=` gives those that do.
    pub out_of_order: bool,
}

impl Cut {
    /// Whether a record counts. In one stream these are the first ones, whatever clocks did: there, recorded time never
    /// runs back.
    pub(super) fn takes(&self, record: &Record) -> bool {
        record.position <= self.position && (!self.out_of_order || record.recorded_at <= self.time)
    }
}

/// One app on the account, as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct InstallationThen {
    /// Names the installation.
    pub installation_id: InstallationId,
    /// The app.
    pub client_id: ClientId,
    /// What the app was called.
    pub app_name: String,
    /// Whether at least one token was valid.
    pub installed: bool,
    /// Since when, without a break.
    pub installed_since: Option<Timestamp>,
    /// When the last token had ended, if none was left.
    pub ended_at: Option<Timestamp>,
    /// When a user of the account first approved the app.
    pub first_granted_at: Timestamp,
    /// What its valid tokens could do, taken together.
    pub scopes: Vec<String>,
    /// Its valid tokens, oldest first.
    pub tokens: Vec<TokenThen>,
    /// Its tokens that did not count while their app was suspended and had neither ended nor expired: oldest first.
    pub dormant: Vec<TokenThen>,
    /// What its app was: `active`, `suspended`, `deleted`, `quarantined` or `unknown`.
    pub app_status: &'static str,
    /// Why nothing was known of it, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub quarantined: Option<String>,
    /// Why no token could be valid, in words, if so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// A token that was valid, or was as soon as its app was resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenThen {
    /// Names the token.
    pub token_id: TokenId,
    pub kind: TokenKind,
    /// The approval that it came of: tokens of one approval that can be refreshed have the same.
    pub grant_id: GrantId,
    /// Who had approved.
    pub user_id: UserId,
    /// What it could do.
    pub scopes: Vec<String>,
    /// The resources it was for (RFC 8707); none for any.
    pub resources: Vec<String>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// From when on it is refused; null if it does not expire.
    pub expires_at: Option<Timestamp>,
}

impl From<&TokenFacts> for TokenThen {
    fn from(facts: &TokenFacts) -> Self {
        Self {
            token_id: facts.token_id,
            kind: facts.kind,
            grant_id: facts.grant_id,
            user_id: facts.user_id.clone(),
            scopes: facts.scopes.to_vec(),
            resources: facts.resources.to_vec(),
            issued_at: facts.issued_at,
            expires_at: facts.expires_at,
        }
    }
}

/// The installations on an account, as they were.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AccountThen {
    /// The account.
    pub account_id: AccountId,
    /// As of when.
    pub as_of: Cut,
    /// Those that anybody had approved by then, in the order of first approval.
    pub items: Vec<InstallationThen>,
}

/// Whether a token was valid, and why or why not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TokenAnswer {
    /// Names the token.
    pub token_id: TokenId,
    /// The installation it belongs to.
    pub installation_id: InstallationId,
    /// The app it was issued to.
    pub client_id: Option<ClientId>,
    /// The account.
    pub account_id: Option<AccountId>,
    /// Who had approved.
    pub user_id: Option<UserId>,
    /// As of when.
    pub as_of: Cut,
    /// Whether it was valid.
    pub valid: bool,
    /// In one word: `valid`, `not_issued`, `never_valid`, `ended`, `expired`, `app_inactive` or `quarantined`.
    pub state: &'static str,
    /// Why or why not, in a sentence.
    pub why: String,
    /// The event that says so, if it is one event.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub event: Option<Moment>,
}

/// What changed on an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Changes {
    /// The account.
    pub account_id: AccountId,
    /// From when.
    pub from: Cut,
    /// To when.
    pub to: Cut,
    /// What is different, in the order of first approval.
    pub items: Vec<Change>,
}

/// What changed of one installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Change {
    /// Names the installation.
    pub installation_id: InstallationId,
    /// The app.
    pub client_id: ClientId,
    /// What the app was called in the end.
    pub app_name: String,
    /// `installed`, `ended`, or `changed` if it was installed before and after, or neither.
    pub change: &'static str,
    /// What it could do in the end and not in the beginning.
    pub scopes_added: Vec<String>,
    /// What it could do in the beginning and not in the end.
    pub scopes_removed: Vec<String>,
    /// Tokens that were valid in the end and not in the beginning.
    pub tokens_added: Vec<TokenId>,
    /// Tokens that were valid in the beginning and not in the end.
    pub tokens_ended: Vec<TokenId>,
    /// Why no token could be valid in the end, in words, if so; or else in the beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub reason: Option<String>,
}

/// What an app was in one word, and why its tokens could not be valid, if they could not.
pub(super) fn app_then(status: Option<&AppStatus>) -> (&'static str, Option<String>) {
    match status {
        Some(AppStatus::Active) => ("active", None),
        Some(AppStatus::Suspended { reason }) => {
            ("suspended", Some(format!("its app was suspended: {reason}")))
        }
        Some(AppStatus::Deleted { reason }) => ("deleted", Some(format!("its app was deleted: {reason}"))),
        Some(AppStatus::Quarantined { reason }) => {
            ("quarantined", Some(format!("nothing was known of its app: {reason}")))
        }
        None => ("unknown", Some("its app was not known".to_owned())),
    }
}

impl InstallationThen {
    pub(super) fn of(facts: &InstallationFacts, live: &Live) -> Self {
        let scopes: BTreeSet<String> = facts.tokens.iter().flat_map(|token| token.scopes.to_vec()).collect();
        let app = live.app(&facts.client_id);
        let (app_status, of_app) = app_then(app.as_ref().map(|app| &app.status));
        let quarantined = facts.quarantined.as_ref().map(|poison| poison.reason.clone());
        let of_installation = quarantined.as_ref().map(|why| format!("nothing was known of it: {why}"));
        Self {
            installation_id: facts.installation_id,
            client_id: facts.client_id,
            app_name: app.map(|app| app.name.clone()).unwrap_or_default(),
            installed: facts.is_installed(),
            installed_since: facts.installed_since,
            ended_at: facts.ended_at,
            first_granted_at: facts.first_granted_at,
            scopes: scopes.into_iter().collect(),
            tokens: facts.tokens.iter().map(TokenThen::from).collect(),
            dormant: facts.dormant.iter().map(TokenThen::from).collect(),
            app_status,
            quarantined,
            reason: of_installation.or(of_app),
        }
    }
}

impl Change {
    /// What changed of one installation; `None` if nothing did.
    pub(super) fn between(
        before: Option<&InstallationThen>,
        after: Option<&InstallationThen>,
    ) -> Option<Self> {
        let one = after.or(before)?;
        let parts = |then: Option<&InstallationThen>| {
            let scopes: BTreeSet<String> = then.iter().flat_map(|then| then.scopes.iter().cloned()).collect();
            let tokens: BTreeSet<TokenId> =
                then.iter().flat_map(|then| then.tokens.iter().map(|token| token.token_id)).collect();
            (scopes, tokens)
        };
        let ((scopes_before, tokens_before), (scopes_after, tokens_after)) = (parts(before), parts(after));
        if scopes_before == scopes_after && tokens_before == tokens_after {
            return None;
        }
        let was = |then: Option<&InstallationThen>| then.is_some_and(|then| then.installed);
        Some(Self {
            installation_id: one.installation_id,
            client_id: one.client_id,
            app_name: one.app_name.clone(),
            change: match (was(before), was(after)) {
                (false, true) => "installed",
                (true, false) => "ended",
                (true, true) | (false, false) => "changed",
            },
            scopes_added: scopes_after.difference(&scopes_before).cloned().collect(),
            scopes_removed: scopes_before.difference(&scopes_after).cloned().collect(),
            tokens_added: tokens_after.difference(&tokens_before).copied().collect(),
            tokens_ended: tokens_before.difference(&tokens_after).copied().collect(),
            reason: [after, before].into_iter().flatten().find_map(|then| then.reason.clone()),
        })
    }
}
