//! What happens to one app on one account: stream `installation-{installation_id}`.

use serde::{Deserialize, Serialize};

use crate::{AccountId, ClientId, GrantId, SecretDigest, SecretId, Timestamp, TokenId, UserId};

/// One event of an installation's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InstallationEvent {
    /// A user approved; a code was issued.
    AccessGranted(AccessGranted),
    /// The code became a token.
    CodeExchanged(CodeExchanged),
    /// A spent code was presented again by the right app.
    CodeReplayed(CodeReplayed),
    /// A refresh token became a new access token and a new refresh token.
    TokenRefreshed(TokenRefreshed),
    /// A spent refresh token was presented again by the right app.
    RefreshReplayed(RefreshReplayed),
    /// One access token ended.
    TokenRevoked(TokenRevoked),
    /// An approval ended, and with it all its tokens.
    GrantRevoked(GrantRevoked),
    /// The epoch ended, and with it every code and token of the installation.
    Uninstalled(AppUninstalled),
}

impl InstallationEvent {
    /// Which app on which account it is about.
    pub const fn installation(&self) -> (ClientId, &AccountId) {
        match self {
            Self::AccessGranted(event) => (event.client_id, &event.account_id),
            Self::CodeExchanged(event) => (event.client_id, &event.account_id),
            Self::CodeReplayed(event) => (event.client_id, &event.account_id),
            Self::TokenRefreshed(event) => (event.client_id, &event.account_id),
            Self::RefreshReplayed(event) => (event.client_id, &event.account_id),
            Self::GrantRevoked(event) => (event.client_id, &event.account_id),
            Self::TokenRevoked(event) => (event.client_id, &event.account_id),
            Self::Uninstalled(event) => (event.client_id, &event.account_id),
        }
    }

    /// The one user it is about; none if it may be about several.
    pub const fn user(&self) -> Option<&UserId> {
        match self {
            Self::AccessGranted(event) => Some(&event.user_id),
            Self::CodeExchanged(event) => Some(&event.user_id),
            Self::CodeReplayed(event) => Some(&event.user_id),
            Self::TokenRefreshed(event) => Some(&event.user_id),
            Self::RefreshReplayed(event) => Some(&event.user_id),
            Self::GrantRevoked(event) => Some(&event.user_id),
            Self::TokenRevoked(event) => Some(&event.user_id),
            Self::Uninstalled(_) => None,
        }
    }

    /// The one approval it is about; none if it may be about several.
    pub const fn grant(&self) -> Option<GrantId> {
        match self {
            Self::AccessGranted(event) => Some(event.grant_id),
            Self::CodeExchanged(event) => Some(event.grant_id),
            Self::CodeReplayed(event) => Some(event.grant_id),
            Self::TokenRefreshed(event) => Some(event.grant_id),
            Self::RefreshReplayed(event) => Some(event.grant_id),
            Self::GrantRevoked(event) => Some(event.grant_id),
            Self::TokenRevoked(_) | Self::Uninstalled(_) => None,
        }
    }

    /// Whether it ends tokens or codes.
    pub const fn is_end(&self) -> bool {
        match self {
            Self::AccessGranted(_) | Self::CodeExchanged(_) | Self::TokenRefreshed(_) => false,
            Self::CodeReplayed(_)
            | Self::RefreshReplayed(_)
            | Self::TokenRevoked(_)
            | Self::GrantRevoked(_)
            | Self::Uninstalled(_) => true,
        }
    }

    /// The tokens that it issues, an access token first: each with its digest.
    pub fn issued_tokens(&self) -> Vec<(TokenId, SecretDigest)> {
        let (access, refresh) = match self {
            Self::CodeExchanged(event) => ((event.token_id, event.token_digest), event.refresh.as_ref()),
            Self::TokenRefreshed(event) => ((event.token_id, event.token_digest), Some(&event.refresh)),
            Self::AccessGranted(_)
            | Self::CodeReplayed(_)
            | Self::RefreshReplayed(_)
            | Self::TokenRevoked(_)
            | Self::GrantRevoked(_)
            | Self::Uninstalled(_) => return Vec::new(),
        };
        std::iter::once(access).chain(refresh.map(|token| (token.token_id, token.digest))).collect()
    }

    /// The tokens that it ends, each with its user. A refresh token that is used ends with that.
    pub fn ended_tokens(&self) -> Vec<(TokenId, &UserId)> {
        fn listed(tokens: &[EndedToken]) -> Vec<(TokenId, &UserId)> {
            tokens.iter().map(|token| (token.token_id, &token.user_id)).collect()
        }
        match self {
            Self::AccessGranted(_) | Self::CodeExchanged(_) => Vec::new(),
            Self::TokenRefreshed(event) => vec![(event.spent_token_id, &event.user_id)],
            Self::CodeReplayed(event) => listed(&event.tokens),
            Self::RefreshReplayed(event) => listed(&event.tokens),
            Self::GrantRevoked(event) => listed(&event.tokens),
            Self::TokenRevoked(event) => vec![(event.token_id, &event.user_id)],
            Self::Uninstalled(event) => listed(&event.tokens),
        }
    }
}

/// `access-granted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessGranted {
    /// Names this approval.
    pub grant_id: GrantId,
    /// The app.
    pub client_id: ClientId,
    /// The account it is installed on.
    pub account_id: AccountId,
    /// Who approved.
    pub user_id: UserId,
    /// Canonical names of the scopes approved.
    pub scopes: Vec<String>,
    /// Where the code was sent.
    pub redirect_uri: String,
    /// Whether the authorization request named the redirect URI; if so the exchange must name it too.
    pub redirect_uri_sent: bool,
    /// SHA-256 of the code.
    pub code_digest: SecretDigest,
    /// From when on the code is refused.
    pub code_expires_at: Timestamp,
    /// The S256 code challenge (RFC 7636), if one was sent.
    pub code_challenge: Option<String>,
    /// The resources that its tokens are for (RFC 8707); none for any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
}

/// `code-exchanged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeExchanged {
    /// The approval whose code was exchanged.
    pub grant_id: GrantId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// When that approval was recorded.
    pub granted_at: Timestamp,
    /// Names the token.
    pub token_id: TokenId,
    /// SHA-256 of the token.
    pub token_digest: SecretDigest,
    /// Whose token it is: the user who approved.
    pub user_id: UserId,
    /// Canonical names of its scopes.
    pub scopes: Vec<String>,
    /// From when on it is refused; `None` is a token that does not expire.
    pub expires_at: Option<Timestamp>,
    /// Which client secret authenticated the app; none for a public client, and for one with keys.
    pub secret_id: Option<SecretId>,
    /// The resources that the token is for (RFC 8707): those of the approval, or some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The refresh token that was issued with it, if the app has these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<RefreshIssued>,
}

/// A refresh token that starts being accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshIssued {
    /// Names the token.
    pub token_id: TokenId,
    /// SHA-256 of the token.
    pub digest: SecretDigest,
    /// SHA-256 of the part that all refresh tokens of the grant have alike. It tells a spent one from one that never was.
    pub family_digest: SecretDigest,
    /// From when on it is refused if it is not used; `None` never.
    pub expires_at: Option<Timestamp>,
    /// From when on no refresh token of the grant is accepted; `None` never.
    pub ends_at: Option<Timestamp>,
}

/// `token-refreshed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRefreshed {
    /// The approval that all these tokens are of.
    pub grant_id: GrantId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// Whose tokens they are: the user who approved.
    pub user_id: UserId,
    /// The refresh token that was used, and is spent.
    pub spent_token_id: TokenId,
    /// Names the new access token.
    pub token_id: TokenId,
    /// SHA-256 of the new access token.
    pub token_digest: SecretDigest,
    /// Canonical names of the access token's scopes: those of the approval, or some of them.
    pub scopes: Vec<String>,
    /// From when on the access token is refused; `None` is one that does not expire.
    pub expires_at: Option<Timestamp>,
    /// Which client secret authenticated the app; none for a public client, and for one with keys.
    pub secret_id: Option<SecretId>,
    /// The resources that the access token is for (RFC 8707).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// The new refresh token.
    pub refresh: RefreshIssued,
}

/// `refresh-replayed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RefreshReplayed {
    /// The approval whose spent refresh token was presented again.
    pub grant_id: GrantId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// The user who approved.
    pub user_id: UserId,
    /// The tokens that this ended.
    pub tokens: Vec<EndedToken>,
}

/// `code-replayed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeReplayed {
    /// The approval whose spent code was presented again.
    pub grant_id: GrantId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// The user who approved.
    pub user_id: UserId,
    /// The tokens that this ended.
    pub tokens: Vec<EndedToken>,
}

/// A token that an event ends, and whose it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndedToken {
    pub token_id: TokenId,
    /// The user who approved.
    pub user_id: UserId,
}

/// `token-revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    /// The token that ended.
    pub token_id: TokenId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// Whose token it was.
    pub user_id: UserId,
    /// Why.
    pub reason: RevocationReason,
    /// Why, in an operator's words, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// `grant-revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantRevoked {
    /// The approval that ended.
    pub grant_id: GrantId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// The user who had approved.
    pub user_id: UserId,
    /// The tokens that this ended: its refresh token and its access tokens.
    pub tokens: Vec<EndedToken>,
    /// Why.
    pub reason: RevocationReason,
    /// Why, in an operator's words, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why a token ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevocationReason {
    /// The installing user wanted it.
    User,
    /// The app gave it back (RFC 7009).
    App,
    /// An operator ended it.
    Operator,
    /// A newer one of the same user took its place.
    Superseded,
    /// It was seen where it should not be.
    Leaked,
}

impl RevocationReason {
    pub const ALL: [Self; 5] = [Self::User, Self::App, Self::Operator, Self::Superseded, Self::Leaked];

    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::App => "app",
            Self::Operator => "operator",
            Self::Superseded => "superseded",
            Self::Leaked => "leaked",
        }
    }
}

/// `app-uninstalled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppUninstalled {
    pub client_id: ClientId,
    pub account_id: AccountId,
    /// Why.
    pub reason: UninstallReason,
    /// The tokens that this ended.
    pub tokens: Vec<EndedToken>,
    /// The epoch that this ended; the first is 0.
    pub epoch: u32,
    /// Why, in an operator's words, if they said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// Why an app was uninstalled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UninstallReason {
    /// A user of the account wanted it.
    User,
    /// An operator ended it.
    Operator,
}

impl UninstallReason {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Operator => "operator",
        }
    }
}
