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
    /// One token ended.
    TokenRevoked(TokenRevoked),
    /// The epoch ended, and with it every code and token of the installation.
    Uninstalled(AppUninstalled),
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
}

/// `code-exchanged`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeExchanged {
    /// The approval whose code was exchanged.
    pub grant_id: GrantId,
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
    /// Which client secret authenticated the app; none for a public client.
    pub secret_id: Option<SecretId>,
}

/// `code-replayed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CodeReplayed {
    /// The approval whose spent code was presented again.
    pub grant_id: GrantId,
    /// The tokens that this ended.
    pub token_ids: Vec<TokenId>,
}

/// `token-revoked`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRevoked {
    /// The token that ended.
    pub token_id: TokenId,
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
    /// A newer token of the same user took its place.
    Superseded,
    /// It was seen where it should not be.
    Leaked,
}

/// `app-uninstalled`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppUninstalled {
    /// Why.
    pub reason: UninstallReason,
    /// The tokens that this ended.
    pub token_ids: Vec<TokenId>,
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
