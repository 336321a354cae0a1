//! The page of one person's installed apps. Knows: what it shows. Must not know: what uninstalling does.

use askama::Template;
use grantbook_events::Timestamp;

use super::consent::ScopeLine;
use super::filters;
use super::when;

/// Shows the apps installed on an account. Posts `csrf` to `/account/apps/{installation_id}/uninstall`
/// and `/account/tokens/{token_id}/revoke`.
#[derive(Debug, Clone, Template)]
#[template(path = "account-apps.html", config = ".askama.toml")]
pub struct AccountAppsPage {
    /// Who is signed in.
    pub user: String,
    /// The account they act for.
    pub account: String,
    /// The apps installed there.
    pub apps: Vec<AccountApp>,
    /// Whether the person who reads this may uninstall them.
    pub may_uninstall: bool,
    /// Proof that this server made the forms.
    pub csrf: String,
    /// What the last form did, such as "Example was uninstalled from acme."
    pub notice: Option<String>,
    /// Where the sign-out form posts `csrf` to.
    pub sign_out_action: Option<String>,
}

/// One installed app.
#[derive(Debug, Clone)]
pub struct AccountApp {
    /// Names the installation in the form's path.
    pub installation_id: String,
    /// As its maker wrote it.
    pub app_name: String,
    /// Who makes it.
    pub owner: String,
    /// What it may do.
    pub scopes: Vec<ScopeLine>,
    /// Since when; none while it is stopped.
    pub installed_since: Option<Timestamp>,
    /// Why it can do nothing for now, such as "suspended by the operator of this server"; none if it can.
    pub stopped: Option<&'static str>,
    /// By which tokens.
    pub tokens: Vec<TokenLine>,
}

/// One valid token, or one that is valid again once its app is no longer stopped; never the token itself.
#[derive(Debug, Clone)]
pub struct TokenLine {
    /// Names it in the form's path.
    pub token_id: String,
    /// Who approved it.
    pub user: String,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The names of its scopes.
    pub scopes: Vec<String>,
    /// Whether the person who reads this approved it, and so may revoke it.
    pub mine: bool,
}
