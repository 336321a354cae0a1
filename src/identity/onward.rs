//! Where a person goes once signed in. Knows: the two pages of ours that ask for a person. Must not know:
//! what those pages do.
//!
//! The way through the host's login page leads out of this server and back, and what comes back was in
//! other hands. So it never says *where* to go: it is at most the query of our own authorize page, and
//! cannot become an open redirect.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest query carried through a sign-in, in bytes: a `state` of 4 KB, percent-encoded, and room
/// for the rest.
pub const MAX_QUERY_BYTES: usize = 16 * 1024;

/// A page of ours that asked who is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    /// Back to `/oauth/authorize` with the query it was asked with.
    Authorize {
        /// The raw query, without `?`, in the characters a query may have.
        query: String,
    },
    /// To `/account/apps`.
    AccountApps,
}

/// A parameter that [`Onward::to_param`] did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`continue` must be what grantbook put there: base64url of at most {MAX_QUERY_BYTES} bytes")]
pub struct OnwardError;

impl Onward {
    /// Back to the authorize page with the raw query of the request that came without a session.
    pub fn authorize(raw_query: &str) -> Result<Self, OnwardError> {
        if raw_query.is_empty() || raw_query.len() > MAX_QUERY_BYTES {
            return Err(OnwardError);
        }
        Ok(Self::Authorize { query: as_query(raw_query.as_bytes()) })
    }

    /// The value of the `continue` parameter; empty for the account page.
    ///
    /// The query is base64url and not percent-encoded once more: it grows by a third instead of nearly
    /// doubling at each nesting, and a login page that decodes once too often cannot change it.
    pub fn to_param(&self) -> String {
        match self {
            Self::Authorize { query } => URL_SAFE_NO_PAD.encode(query),
            Self::AccountApps => String::new(),
        }
    }

    /// Reads the value of a `continue` parameter; absent is the same as empty.
    pub fn from_param(param: &str) -> Result<Self, OnwardError> {
        if param.is_empty() {
            return Ok(Self::AccountApps);
        }
        // Encoding a byte takes three, and base64 turns three into four.
        if param.len() > MAX_QUERY_BYTES * 4 {
            return Err(OnwardError);
        }
        let query = URL_SAFE_NO_PAD.decode(param).map_err(|_| OnwardError)?;
        Ok(Self::Authorize { query: as_query(&query) })
    }

    /// The path and query to send the browser to: always one of the two pages, on this server.
    pub fn location(&self) -> String {
        match self {
            Self::Authorize { query } => format!("/oauth/authorize?{query}"),
            Self::AccountApps => "/account/apps".to_owned(),
        }
    }
}

/// The same bytes in the characters a query may have (RFC 3986 section 3.4). Whatever else is in there is
/// percent-encoded, which reads back as the same bytes, and cannot end the query or the header line.
fn as_query(raw: &[u8]) -> String {
    let mut query = String::with_capacity(raw.len());
    for &byte in raw {
        if byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte) {
            query.push(char::from(byte));
        } else {
            query.push_str(&format!("%{byte:02X}"));
        }
    }
    query
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_survives_the_way_out_and_back_byte_for_byte() {
        let state = "%C3%A9+%2B%25%20%zz'%22/?:@!$()*,;~".repeat(100);
        let query = format!("client_id=abc&scope=a+b&state={state}");
        let onward = Onward::authorize(&query).unwrap();
        let param = onward.to_param();
        assert!(param.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert_eq!(Onward::from_param(&param).unwrap(), onward);
        assert_eq!(onward.location(), format!("/oauth/authorize?{query}"));
    }

    #[test]
    fn what_a_query_may_not_hold_is_encoded_and_means_the_same() {
        let onward = Onward::authorize("state={\"é\"}").unwrap();
        assert_eq!(onward.location(), "/oauth/authorize?state=%7B%22%C3%A9%22%7D");
    }

    #[test]
    fn nothing_a_browser_brings_leads_off_this_server() {
        for hostile in [
            "//evil.example/",
            "https://evil.example/",
            "/\\evil.example",
            "\r\nLocation: https://evil.example",
            "#//evil.example",
            "javascript:alert(1)",
            "\0",
            "@evil.example",
            "../../evil",
        ] {
            let location = Onward::from_param(&URL_SAFE_NO_PAD.encode(hostile)).unwrap().location();
            assert!(location.starts_with("/oauth/authorize?"), "{location}");
            let ours = url::Url::parse("https://grantbook.example").unwrap();
            let landed = ours.join(&location).unwrap();
            assert_eq!(landed.host_str(), Some("grantbook.example"), "{location}");
            assert_eq!(landed.path(), "/oauth/authorize", "{location}");
            assert_eq!(landed.fragment(), None, "{location}");
            assert!(location.bytes().all(|byte| byte.is_ascii_graphic()), "{location}");
        }
    }

    #[test]
    fn an_absent_parameter_is_the_account_page_and_nonsense_is_refused() {
        assert_eq!(Onward::from_param("").unwrap().location(), "/account/apps");
        assert_eq!(Onward::AccountApps.to_param(), "");
        assert_eq!(Onward::from_param("https://evil.example/"), Err(OnwardError));
        assert_eq!(Onward::from_param(&"A".repeat(200_000)), Err(OnwardError));
        assert_eq!(Onward::authorize(&"a".repeat(MAX_QUERY_BYTES + 1)), Err(OnwardError));
        assert_eq!(Onward::authorize(""), Err(OnwardError));
    }
}
