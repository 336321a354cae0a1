//! Where a person goes after the sign-in. Knows: the two pages of ours that need a person. Must not know:
//! what those pages do.
//!
//! The way through the host's login page leads out of this server and back, and what comes back was in
//! other hands. So it never says *where* to go: it is at most the query of our own authorize page, and
//! cannot become an open redirect.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// The longest `continue` parameter, in bytes. With a host's answer of 8 KiB it fits into the 64 KiB that a URI
/// may have; and a `state` of 16 KiB fits into it whatever it is made of, with 8 KiB left for the rest.
const MAX_PARAM_BYTES: usize = 54 * 1024;
/// The longest query carried through a sign-in, in bytes, once it is packed.
const MAX_PACKED_BYTES: usize = MAX_PARAM_BYTES / 4 * 3;
/// Ends each name and each value in a packed query. No text in UTF-8 has this byte.
const END: u8 = 0xFF;
/// What may stand in a query (RFC 3986 section 3.4) and means nothing in a form. Everything else is percent-encoded, so that
/// it cannot end the query or the header line.
const ESCAPED: AsciiSet = {
    let mut set = NON_ALPHANUMERIC.remove(b'-');
    let mut plain: &[u8] = b"._~!$'()*,;:@/?";
    while let [byte, rest @ ..] = plain {
        set = set.remove(*byte);
        plain = rest;
    }
    set
};

/// A page of ours that needs to know who the person is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Onward {
    /// Back to `/oauth/authorize` with the query it was asked with.
    Authorize {
        /// Without `?`, in the characters a query may have.
        query: String,
    },
    /// To `/account/apps`.
    AccountApps,
}

/// A parameter that [`Onward::to_param`] did not make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`continue` must be what grantbook put there: base64url of at most {MAX_PACKED_BYTES} bytes")]
pub struct OnwardError;

impl Onward {
    /// Back to the authorize page with the raw query of the request that came without a session.
    pub fn authorize(raw_query: &str) -> Result<Self, OnwardError> {
        let packed = packed(raw_query).filter(|packed| packed.len() <= MAX_PACKED_BYTES);
        packed.and_then(|packed| Self::packed(&packed)).ok_or(OnwardError)
    }

    fn packed(packed: &[u8]) -> Option<Self> {
        unpacked(packed).filter(|_| !packed.is_empty()).map(|query| Self::Authorize { query })
    }

    /// The value of the `continue` parameter; empty for the account page.
    ///
    /// The query is packed, and base64url and not percent-encoded once more: it hardly grows, and a login page
    /// that decodes once too often cannot change it.
    pub fn to_param(&self) -> String {
        match self {
            Self::Authorize { query } => URL_SAFE_NO_PAD.encode(packed(query).unwrap_or_default()),
            Self::AccountApps => String::new(),
        }
    }

    /// Reads the value of a `continue` parameter; absent is the same as empty.
    pub fn from_param(param: &str) -> Result<Self, OnwardError> {
        if param.is_empty() {
            return Ok(Self::AccountApps);
        }
        if param.len() > MAX_PARAM_BYTES {
            return Err(OnwardError);
        }
        let packed = URL_SAFE_NO_PAD.decode(param).map_err(|_| OnwardError)?;
        Self::packed(&packed).ok_or(OnwardError)
    }

    /// The path and query to send the browser to: always one of the two pages, on this server.
    pub fn location(&self) -> String {
        match self {
            Self::Authorize { query } => format!("/oauth/authorize?{query}"),
            Self::AccountApps => "/account/apps".to_owned(),
        }
    }
}

/// The names and values of a query, decoded: so a `state` takes as many bytes as the app chose, however it was
/// percent-encoded. `None` if one is not UTF-8.
fn packed(query: &str) -> Option<Vec<u8>> {
    let mut packed = Vec::with_capacity(query.len());
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        for text in [name, value] {
            packed.extend(percent_decode_str(&text.replace('+', " ")).decode_utf8().ok()?.bytes());
            packed.push(END);
        }
    }
    Some(packed)
}

/// A query with the names and values that were packed.
fn unpacked(packed: &[u8]) -> Option<String> {
    let packed = packed.strip_suffix(&[END]).unwrap_or(packed);
    let texts = packed.split(|byte| *byte == END).map(std::str::from_utf8);
    let texts = texts.collect::<Result<Vec<_>, _>>().ok()?;
    let encoded = |text| utf8_percent_encode(text, &ESCAPED).to_string().replace("%20", "+");
    let pairs = texts.chunks(2).map(|pair| {
        let (name, value) = (pair.first(), pair.get(1));
        format!("{}={}", encoded(name.unwrap_or(&"")), encoded(value.unwrap_or(&"")))
    });
    Some(pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(query: &str) -> Vec<(String, String)> {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect()
    }

    /// What the query says on the way out and back.
    #[track_caller]
    fn survives(query: &str) -> Onward {
        let onward = Onward::authorize(query).unwrap();
        let param = onward.to_param();
        assert!(param.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
        assert!(param.len() <= MAX_PARAM_BYTES);
        assert_eq!(Onward::from_param(&param).unwrap(), onward);
        let location = onward.location();
        assert_eq!(pairs(location.strip_prefix("/oauth/authorize?").unwrap()), pairs(query));
        onward
    }

    #[test]
    fn a_query_survives_the_way_out_and_back() {
        let state = "%C3%A9+%2B%25%20%zz'%22/?:@!$()*,;~".repeat(100);
        survives(&format!("client_id=abc&scope=a+b&state={state}"));
        survives("state=%c3%a9%2b&b=%&c&=d&&state=again&e=%26%3D%23%00%0d%0a");
        assert_eq!(survives("scope=a%20b&n=1").location(), "/oauth/authorize?scope=a+b&n=1");
    }

    #[test]
    fn every_character_survives_however_it_is_spelt() {
        let encoded: String = (0..0x80).map(|byte| format!("%{byte:02X}")).collect();
        let plain: String = (0..0x80u8).map(|byte| format!("{}%", char::from(byte))).collect();
        survives(&format!("state={encoded}"));
        survives(&plain);
        survives("state={\"é\"}#");
        assert_eq!(Onward::authorize("state=%C3"), Err(OnwardError), "not UTF-8");
    }

    #[test]
    fn a8_a_state_of_16_kib_fits_whatever_it_is_made_of() {
        for character in ["x", "%26", "%22", "%", "+", "/", "%7f"] {
            let query = format!("client_id=x&scope=y&state={}", character.repeat(16 * 1024));
            // A URI may have 64 KiB.
            assert!(survives(&query).location().len() < 60 * 1024, "{character}");
        }
        survives(&format!("state={}", "%C3%A9".repeat(8 * 1024)));
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
        assert_eq!(Onward::authorize(&"a".repeat(MAX_PACKED_BYTES + 1)), Err(OnwardError));
        assert_eq!(Onward::authorize(""), Err(OnwardError));
    }
}
