//! The keys that an app authenticates by: as a set, or where the set is (RFC 7591 section 2). Must not know: who registers them.

use grantbook_events::ClientKeys;
use url::Url;

use super::app_profile::{ProfileError, wrong};
use super::key_set::KeySet;
use super::redirect_uri::is_loopback;

/// The longest URL of a key set, in bytes.
const URL_MAX_BYTES: usize = 500;

/// The keys of an app, of which there is a set, a URL, or nothing.
///
/// # Errors
/// What would be right.
pub fn check_keys(jwks: Option<&str>, jwks_uri: Option<&str>) -> Result<ClientKeys, ProfileError> {
    match (jwks, jwks_uri) {
        (None, None) => Ok(ClientKeys::None),
        (Some(_), Some(_)) => wrong("jwks", "must not be there beside jwks_uri"),
        (Some(set), None) => match KeySet::parse(set.as_bytes()) {
            Ok(_) => Ok(ClientKeys::Jwks(set.to_owned())),
            Err(error) => wrong("jwks", error.to_string()),
        },
        (None, Some(url)) => Ok(ClientKeys::JwksUri(check_url(url)?)),
    }
}

/// An https URL, or http on loopback; whether such a one is fetched is for the configuration to say.
fn check_url(text: &str) -> Result<String, ProfileError> {
    let is_web = |url: &Url| url.scheme() == "https" || url.scheme() == "http" && is_loopback(url);
    let is_plain =
        |url: &Url| url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    let url = Url::parse(text).ok().filter(|url| is_web(url) && is_plain(url));
    match url.filter(|_| text.len() <= URL_MAX_BYTES) {
        Some(url) => Ok(url.into()),
        None => wrong(
            "jwks_uri",
            format!("must be an https URL without user name and fragment, of at most {URL_MAX_BYTES} bytes"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_a_set_or_a_url_or_nothing() {
        let set =
            r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#;
        assert_eq!(check_keys(None, None), Ok(ClientKeys::None));
        assert_eq!(check_keys(Some(set), None), Ok(ClientKeys::Jwks(set.to_owned())));
        for right in
            ["https://keys.example/jwks.json?a=b", "https://keys.example:8443/", "http://localhost:4000/"]
        {
            assert_eq!(check_keys(None, Some(right)), Ok(ClientKeys::JwksUri(right.to_owned())));
        }
        let long = format!("https://keys.example/{}", "a".repeat(500));
        for wrong in [
            "http://keys.example/",
            "https://ana@keys.example/",
            "https://keys.example/#a",
            "keys",
            "",
            &long,
        ] {
            let refused = check_keys(None, Some(wrong)).unwrap_err();
            assert!(
                refused.field == "jwks_uri" && refused.detail.contains("https URL"),
                "{wrong}: {refused}"
            );
        }
        assert!(check_keys(Some("{}"), None).unwrap_err().detail.contains("an array of objects called keys"));
        assert!(
            check_keys(Some(set), Some("https://keys.example/"))
                .unwrap_err()
                .detail
                .contains("beside jwks_uri")
        );
    }
}
