//! Where a person goes once signed in. Knows: the two pages of ours that ask for a person. Must not know:
//! what those pages do.
//!
//! The way through the host's login page leads out of this server and back, and what comes back was in
//! other hands. So it never says *where* to go: it is at most the query of our own authorize page, and
//! cannot become an open redirect.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest `continue` parameter, in bytes. With a host's answer of 8 KiB it fits into the 64 KiB that a URI
/// may have; and a `state` of 16 KiB fits into it whatever it is made of, with 8 KiB left for the rest.
const MAX_PARAM_BYTES: usize = 54 * 1024;
/// The longest query carried through a sign-in, in bytes, once it is packed.
const MAX_PACKED_BYTES: usize = MAX_PARAM_BYTES / 4 * 3;
/// In a packed query: the next byte was percent-encoded although a query may have it. Itself, a query may not.
const ENCODED: u8 = b'"';

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
#[error("`continue` must be what grantbook put there: base64url of at most {MAX_PACKED_BYTES} bytes")]
pub struct OnwardError;

impl Onward {
    /// Back to the authorize page with the raw query of the request that came without a session.
    pub fn authorize(raw_query: &str) -> Result<Self, OnwardError> {
        let query = as_query(raw_query.as_bytes());
        if query.is_empty() || packed(&query).len() > MAX_PACKED_BYTES {
            return Err(OnwardError);
        }
        Ok(Self::Authorize { query })
    }

    /// The value of the `continue` parameter; empty for the account page.
    ///
    /// The query is packed, and base64url and not percent-encoded once more: it hardly grows, and a login page
    /// that decodes once too often cannot change it.
    pub fn to_param(&self) -> String {
        match self {
            Self::Authorize { query } => URL_SAFE_NO_PAD.encode(packed(query)),
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
        Ok(Self::Authorize { query: unpacked(&packed) })
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
        push(&mut query, byte, !may_be_in_a_query(byte));
    }
    query
}

fn may_be_in_a_query(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?%".contains(&byte)
}

fn push(query: &mut String, byte: u8, encoded: bool) {
    if encoded {
        query.push_str(&format!("%{byte:02X}"));
    } else {
        query.push(char::from(byte));
    }
}

/// A query in fewer bytes: what is percent-encoded in it takes two at most, and mostly one.
fn packed(query: &str) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut packed = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let encoded = match (first, after) {
            (b'%', [high, low, ..]) => hex(*high).zip(hex(*low)).map(|(high, low)| high * 16 + low),
            _ => None,
        };
        let Some(byte) = encoded else {
            packed.push(first);
            continue;
        };
        if byte == ENCODED || may_be_in_a_query(byte) {
            packed.push(ENCODED);
        }
        packed.push(byte);
        rest = after.get(2..).unwrap_or_default();
    }
    packed
}

/// The query that was packed, but for the case of the hexadecimal digits.
fn unpacked(packed: &[u8]) -> String {
    let mut query = String::with_capacity(packed.len());
    let mut bytes = packed.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            ENCODED => push(&mut query, bytes.next().unwrap_or(ENCODED), true),
            byte => push(&mut query, byte, !may_be_in_a_query(byte)),
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
        // Nothing but the case of what is percent-encoded may change.
        let lower = Onward::authorize("state=%c3%a9%2b&b=%").unwrap();
        let back = Onward::from_param(&lower.to_param()).unwrap();
        assert_eq!(back.location(), "/oauth/authorize?state=%C3%A9%2B&b=%");
    }

    #[test]
    fn every_byte_survives_however_it_is_spelt() {
        let encoded: String = (0..=u8::MAX).map(|byte| format!("%{byte:02X}")).collect();
        let plain: String = (0..=u8::MAX).map(|byte| format!("{}%", char::from(byte))).collect();
        for query in [encoded, plain] {
            let onward = Onward::authorize(&query).unwrap();
            assert_eq!(Onward::from_param(&onward.to_param()).unwrap(), onward, "{query}");
        }
    }

    #[test]
    fn a8_a_state_of_16_kib_fits_whatever_it_is_made_of() {
        for byte in ["x", "%26", "%C3", "%22", "%"] {
            let query = format!("client_id=x&scope=y&state={}", byte.repeat(16 * 1024));
            let onward = Onward::authorize(&query).unwrap();
            assert!(onward.to_param().len() <= MAX_PARAM_BYTES);
            assert_eq!(Onward::from_param(&onward.to_param()).unwrap(), onward, "{byte}");
        }
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
        assert_eq!(Onward::authorize(&"a".repeat(MAX_PACKED_BYTES + 1)), Err(OnwardError));
        assert_eq!(Onward::authorize(""), Err(OnwardError));
    }
}
