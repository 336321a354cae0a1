//! Why something may not happen: one enum for each kind of stream. An expected value, not a fault: the edges map it to
//! what their standards say, by one exhaustive match each.

use grantbook_events::{GrantId, SecretId};

use super::app_profile::ProfileError;
use super::readable::is_readable;

/// Why a command on an app is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppRefusal {
    /// No app has this client id, or it was deleted.
    #[error("no such app")]
    Unknown,
    /// The client id is taken; ids are random, so this is a fault of the caller.
    #[error("an app with this client id exists")]
    Exists,
    #[error("the app is suspended already")]
    Suspended,
    #[error("the app is not suspended")]
    NotSuspended,
    #[error(transparent)]
    Profile(#[from] ProfileError),
    #[error("the app is a public client: it was registered without a secret")]
    PublicClient,
    #[error("the app has {live} live secrets, and may have {limit}: retire one first")]
    TooManySecrets { live: usize, limit: usize },
    #[error("the app has no live secret {0}")]
    SecretUnknown(SecretId),
    #[error("the secret is the app's last one: rotate it instead, or delete the app")]
    LastSecret,
    #[error(transparent)]
    Text(#[from] UnreadableText),
}

/// Why a command on an installation is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstallationRefusal {
    /// The app was never approved on this account.
    #[error("no such installation")]
    Unknown,
    /// The consent form was sent before.
    #[error("this form was sent before: start again from the app")]
    FormUsed,
    /// No such code, or it belongs to another app.
    #[error("the code is unknown")]
    CodeUnknown,
    #[error("the code has expired")]
    CodeExpired,
    /// The code was exchanged before, and its token has ended.
    #[error("the code was presented before: it is good for one exchange")]
    CodeSpent,
    /// The code was exchanged before, and its tokens ended with this.
    #[error("the token was revoked because its code was presented twice")]
    CodeReplayed {
        grant_id: GrantId,
        /// How many tokens ended.
        tokens: usize,
    },
    /// The code died with an uninstall, a suspension or a deletion.
    #[error("the code was ended before it was exchanged")]
    CodeEnded,
    #[error("redirect_uri is required: the authorization request named one")]
    RedirectUriMissing,
    #[error("redirect_uri differs from the authorization request")]
    RedirectUriMismatch,
    #[error("code_verifier is required: the authorization request had a code_challenge")]
    VerifierMissing,
    #[error("code_verifier does not match the code_challenge")]
    VerifierMismatch,
    #[error("code_verifier without a code_challenge in the authorization request")]
    VerifierUnexpected,
    /// No such refresh token, or it belongs to another app, or its grant ended.
    #[error("the refresh token is unknown")]
    RefreshUnknown,
    #[error("the refresh token has expired")]
    RefreshExpired,
    /// It was used a moment ago, and what it was used for is not there any more.
    #[error("the refresh token was used before: it is good for one use")]
    RefreshSpent,
    /// It was used a moment ago, for other scopes or resources.
    #[error(
        "the refresh token was used a moment ago for another scope or resource: use the refresh token of that reply"
    )]
    RefreshedOtherwise,
    /// It was used before, and the tokens of its grant ended with this.
    #[error("the tokens of this grant were revoked because a refresh token was used twice")]
    RefreshReplayed {
        grant_id: GrantId,
        /// How many tokens ended.
        tokens: usize,
    },
    /// More is wanted than the user approved.
    #[error(
        "scope is more than was granted, which is {granted:?}: send the user to the authorization endpoint for more"
    )]
    ScopeNotGranted { granted: String },
    #[error("resource was not granted: name one of those of the authorization request")]
    ResourceNotGranted,
    /// No such live token here.
    #[error("no such token")]
    TokenUnknown,
    #[error(transparent)]
    Text(#[from] UnreadableText),
}

/// Why a command on an operator key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// No operator key has this id, or it was retired before.
    #[error("no such operator key")]
    Unknown,
    /// The key id is taken; ids are random, so this is a fault of the caller.
    #[error("an operator key with this id exists")]
    Exists,
    #[error(transparent)]
    Text(#[from] UnreadableText),
}

/// A text for people is missing, too long, or has characters that cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} must be 1 to {limit} characters that can be seen, none of them a control or invisible character"
)]
pub struct UnreadableText {
    /// Which text.
    pub what: &'static str,
    /// The most characters it may have.
    pub limit: usize,
}

/// The most characters of a reason in an operator's words.
pub const REASON_MAX: usize = 500;

/// Checks what an operator may say or leave out.
pub(super) fn check_note(note: Option<&String>) -> Result<(), UnreadableText> {
    note.map_or(Ok(()), |note| check_text("note", note, REASON_MAX))
}

/// Checks a text for people.
pub(super) fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), UnreadableText> {
    if text.chars().count() > limit || !is_readable(text) {
        return Err(UnreadableText { what, limit });
    }
    Ok(())
}
