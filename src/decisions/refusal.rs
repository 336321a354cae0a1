//! Why something may not happen. An expected value, not a fault: the edges map it to what their
//! standards say, by one exhaustive match each.

use grantbook_events::{GrantId, SecretId};

use super::app_profile::ProfileError;
use super::readable::is_readable;

/// Why a command is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No app has this client id, or it was deleted.
    #[error("no such app")]
    AppUnknown,
    /// The client id is taken; ids are random, so this is a fault of the caller.
    #[error("an app with this client id exists")]
    AppExists,
    /// The app is suspended already.
    #[error("the app is suspended already")]
    AppSuspended,
    /// The app is not suspended, so it cannot be resumed.
    #[error("the app is not suspended")]
    AppNotSuspended,
    /// The app's profile does not hold together.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// The app is a public client and has no secrets.
    #[error("the app is a public client: it was registered without a secret")]
    PublicClient,
    /// No more secrets may be live at once.
    #[error("the app has {live} live secrets, and may have {limit}: retire one first")]
    TooManySecrets {
        /// How many are live.
        live: usize,
        /// How many may be.
        limit: usize,
    },
    /// The app has no such live secret.
    #[error("the app has no live secret {0}")]
    SecretUnknown(SecretId),
    /// The secret is the app's last one.
    #[error("the secret is the app's last one: rotate it instead, or delete the app")]
    LastSecret,

    /// The consent form was sent before.
    #[error("this form was sent before: start again from the app")]
    FormUsed,
    /// No such code, or it belongs to another app.
    #[error("the code is unknown")]
    CodeUnknown,
    /// The code was not exchanged in time.
    #[error("the code has expired")]
    CodeExpired,
    /// The code was exchanged before, and no token that came of it is left.
    #[error("the code was presented before: it is good for one exchange")]
    CodeSpent,
    /// The code was exchanged before, and what came of it ended with this.
    #[error("the token was revoked because its code was presented twice")]
    CodeReplayed {
        /// The approval that the code was made for.
        grant_id: GrantId,
        /// How many tokens ended.
        tokens: usize,
    },
    /// The code died with an uninstall, a suspension or a deletion.
    #[error("the code was ended before it was exchanged")]
    CodeEnded,
    /// The authorization request named a redirect URI, the exchange does not.
    #[error("redirect_uri is required: the authorization request named one")]
    RedirectUriMissing,
    /// The exchange names another redirect URI than the authorization request.
    #[error("redirect_uri differs from the authorization request")]
    RedirectUriMismatch,
    /// The authorization request had a code challenge, the exchange has no verifier.
    #[error("code_verifier is required: the authorization request had a code_challenge")]
    VerifierMissing,
    /// The verifier is not the one behind the challenge.
    #[error("code_verifier does not match the code_challenge")]
    VerifierMismatch,
    /// The exchange has a verifier, the authorization request had no challenge.
    #[error("code_verifier without a code_challenge in the authorization request")]
    VerifierUnexpected,

    /// No such live token here.
    #[error("no such token")]
    TokenUnknown,
    /// Nobody ever approved the app on this account.
    #[error("no such installation")]
    InstallationUnknown,

    /// The key id is taken; ids are random, so this is a fault of the caller.
    #[error("an operator key with this id exists")]
    KeyExists,
    /// No operator key has this id, or it was retired before.
    #[error("no such operator key")]
    KeyUnknown,
    /// A text that people are to read is missing, too long, or has what cannot be seen.
    #[error(
        "{what} must be 1 to {limit} characters that can be seen, none of them a control or invisible character"
    )]
    Text {
        /// Which text.
        what: &'static str,
        /// The most characters it may have.
        limit: usize,
    },
}

/// The most characters of a reason in an operator's words.
pub const REASON_MAX: usize = 500;

/// Checks what an operator may say or leave out.
pub(super) fn check_note(note: Option<&String>) -> Result<(), Refusal> {
    note.map_or(Ok(()), |note| check_text("note", note, REASON_MAX))
}

/// Checks a text that people are to read.
pub(super) fn check_text(what: &'static str, text: &str, limit: usize) -> Result<(), Refusal> {
    if text.chars().count() > limit || !is_readable(text) {
        return Err(Refusal::Text { what, limit });
    }
    Ok(())
}
