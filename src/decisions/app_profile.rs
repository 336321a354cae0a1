//! What an app says of itself: its name, owner, homepage, redirect URIs, scopes and token policy, checked
//! once so that everything behind can rely on it.

use grantbook_events::TokenPolicy;
use url::Url;

use super::readable::is_readable;
use super::redirect_uri::{self, RedirectUriError};
use super::scopes::ScopeCatalogue;

/// The most characters of an app's or owner's name.
pub const NAME_MAX: usize = 100;
/// The most redirect URIs of an app.
pub const REDIRECT_URIS_MAX: usize = 20;
/// The longest token lifetime an app may opt in to, in seconds: a year.
pub const TOKEN_LIFETIME_MAX_SECONDS: u64 = 366 * 24 * 60 * 60;
/// The longest an app's refresh tokens may live, in seconds: ten years.
pub const REFRESH_LIFETIME_MAX_SECONDS: u64 = 3650 * 24 * 60 * 60;
/// The longest homepage, in bytes.
const HOMEPAGE_MAX: usize = 500;

/// Why a profile cannot be taken, naming the field and saying what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {detail}")]
pub struct ProfileError {
    /// The field of the registration.
    pub field: &'static str,
    /// What would be right.
    pub detail: String,
}

pub(super) fn wrong<T>(field: &'static str, detail: impl Into<String>) -> Result<T, ProfileError> {
    Err(ProfileError { field, detail: detail.into() })
}

/// A name that people read on the consent page: something that can be seen, and nothing hidden, which could make one
/// app look like another.
pub fn check_name(field: &'static str, text: &str) -> Result<String, ProfileError> {
    let text = text.trim();
    if text.chars().count() > NAME_MAX || !is_readable(text) {
        return wrong(
            field,
            format!(
                "must be 1 to {NAME_MAX} characters that can be seen, without control, direction or invisible \
                 characters (joiners are taken within emoji and in scripts that need them)"
            ),
        );
    }
    Ok(text.to_owned())
}

/// A homepage: an https address, or http for a loopback one; empty text for none.
pub fn check_homepage(text: &str) -> Result<String, ProfileError> {
    if text.is_empty() {
        return Ok(String::new());
    }
    let url = Url::parse(text).ok().filter(|_| text.len() <= HOMEPAGE_MAX);
    let is_web = |url: &Url| match url.scheme() {
        "https" => url.has_host(),
        "http" => redirect_uri::is_loopback(url),
        _ => false,
    };
    let names_nobody = |url: &Url| url.username().is_empty() && url.password().is_none();
    let Some(url) = url.filter(|url| is_web(url) && names_nobody(url)) else {
        return wrong(
            "homepage",
            format!(
                "must be an https address without a user name, of at most {HOMEPAGE_MAX} bytes, such as \
                 https://app.example/ (http on a loopback host only)"
            ),
        );
    };
    Ok(url.into())
}

/// Redirect URIs: at least one, no two alike, each registrable.
pub fn check_redirect_uris(uris: &[String]) -> Result<Vec<String>, ProfileError> {
    if uris.is_empty() || uris.len() > REDIRECT_URIS_MAX {
        return wrong("redirect_uris", format!("must be 1 to {REDIRECT_URIS_MAX} URIs"));
    }
    for (at, uri) in uris.iter().enumerate() {
        redirect_uri::check_registrable(uri).or_else(|error: RedirectUriError| {
            let shown: String = uri.chars().take(100).collect();
            wrong("redirect_uris", format!("{shown:?}: {error}"))
        })?;
        if uris.iter().take(at).any(|earlier| redirect_uri::is_same(earlier, uri)) {
            return wrong("redirect_uris", format!("{uri} is there twice"));
        }
    }
    Ok(uris.to_vec())
}

/// Scopes: at least one of the catalogue, by canonical name or alias.
pub fn check_scopes(catalogue: &ScopeCatalogue, scopes: &[String]) -> Result<Vec<String>, ProfileError> {
    if scopes.iter().any(|scope| scope.contains(' ')) {
        return wrong("scopes", "must be a list of scope names, one name an entry");
    }
    catalogue.resolve(&scopes.join(" ")).or_else(|error| {
        let known: Vec<_> = catalogue.names().collect();
        wrong("scopes", format!("{error}; known scopes are {}", known.join(", ")))
    })
}

/// The scopes an app gets if it asks for none: some of those it may ask for, by canonical name or alias.
pub fn check_default_scopes(
    catalogue: &ScopeCatalogue,
    defaults: &[String],
) -> Result<Vec<String>, ProfileError> {
    if defaults.is_empty() {
        return Ok(Vec::new());
    }
    check_scopes(catalogue, defaults).map_err(|error| ProfileError { field: "default_scopes", ..error })
}

/// A token policy: tokens that do not expire, or a lifetime of up to a year; with refresh tokens, if they do.
pub fn check_token_policy(policy: TokenPolicy) -> Result<TokenPolicy, ProfileError> {
    check_seconds("token_policy.lifetime_seconds", policy.lifetime_seconds, TOKEN_LIFETIME_MAX_SECONDS)?;
    if let Some(refresh) = policy.refresh {
        if policy.lifetime_seconds.is_none() {
            return wrong(
                "token_policy.refresh",
                "needs a token_policy.lifetime_seconds: tokens that do not expire need no refresh token",
            );
        }
        let (idle, lifetime) = (refresh.idle_seconds, refresh.lifetime_seconds);
        check_seconds("token_policy.refresh.idle_seconds", idle, REFRESH_LIFETIME_MAX_SECONDS)?;
        check_seconds("token_policy.refresh.lifetime_seconds", lifetime, REFRESH_LIFETIME_MAX_SECONDS)?;
    }
    Ok(policy)
}

fn check_seconds(field: &'static str, seconds: Option<u64>, most: u64) -> Result<(), ProfileError> {
    match seconds {
        Some(0) => wrong(field, "must be at least 1; leave it out for no such limit"),
        Some(seconds) if seconds > most => wrong(field, format!("must be at most {most}")),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_visible() {
        assert_eq!(check_name("name", "  Widgets ").as_deref(), Ok("Widgets"));
        let family = "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}";
        assert_eq!(check_name("name", family).as_deref(), Ok(family));
        for wrong in ["", "   ", "a\u{202e}b", "a\nb", "\u{200b}", "\u{3164}", "\u{2800}", &"x".repeat(101)] {
            assert!(check_name("name", wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn homepages_are_web_addresses() {
        assert!(check_homepage("https://app.example/").is_ok());
        assert_eq!(check_homepage("").as_deref(), Ok(""));
        for loopback in ["http://127.0.0.1:8700/", "http://[::1]/", "http://localhost/app"] {
            assert_eq!(check_homepage(loopback).as_deref(), Ok(loopback));
        }
        for wrong in [
            "javascript:alert(1)",
            "app.example",
            "data:text/html,x",
            "http://app.example/",
            "https://ana@app.example/",
            "https://ana:hush@app.example/",
            "https://accounts.example@evil.example/",
            "http://127.0.0.1.evil.example/",
        ] {
            assert!(check_homepage(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn redirect_uris_are_named_with_what_would_be_right() {
        let error = check_redirect_uris(&["http://app.example/".to_owned()]).unwrap_err();
        assert_eq!(error.field, "redirect_uris");
        assert!(error.detail.contains("http://app.example/") && error.detail.contains("https"), "{error}");
        let twice = vec!["https://a.example/".to_owned(); 2];
        assert!(check_redirect_uris(&twice).unwrap_err().detail.contains("twice"));
        let same = ["https://a.example".to_owned(), "https://a.example/".to_owned()];
        assert!(check_redirect_uris(&same).unwrap_err().detail.contains("twice"));
        assert!(check_redirect_uris(&[]).is_err());
    }
}
