//! Why a request was refused: on the answer, for its one log line. Knows: what a log line may hold. Must not know:
//! routes, or how a refusal is spelt to the caller.

use std::fmt;

use actix_web::HttpResponse;
use actix_web::body::MessageBody;

use crate::secrets;

/// The longest reason in a log line, in characters.
const MAX_CHARS: usize = 500;

/// Why a request was refused; in the extensions of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason {
    /// What the caller hears.
    pub text: String,
    /// For the log only.
    pub cause: Option<String>,
}

impl Reason {
    /// What the caller hears, without what looks like a secret: callers hear what they sent.
    pub fn new(text: impl fmt::Display) -> Self {
        Self { text: loggable(&text.to_string()), cause: None }
    }

    /// The same, with a cause for the log only.
    #[must_use]
    pub fn because(self, cause: Option<&str>) -> Self {
        Self { cause: cause.map(loggable), ..self }
    }

    /// Goes with the answer.
    pub fn put_on(self, response: &mut HttpResponse) {
        response.extensions_mut().insert(self);
    }

    /// Why this answer refuses; what HTTP calls its status if nothing else is known.
    pub(super) fn of<B: MessageBody>(response: &HttpResponse<B>) -> Option<Self> {
        if let Some(reason) = response.extensions().get::<Self>() {
            return Some(reason.clone());
        }
        let status = response.status();
        let is_refusal = status.is_client_error() || status.is_server_error();
        is_refusal.then(|| match response.error() {
            Some(error) => Self::new(error),
            None => Self::new(status.canonical_reason().unwrap_or("refused")),
        })
    }
}

/// At most so many characters, and nothing that looks like a secret.
fn loggable(text: &str) -> String {
    let shown = concealed(text);
    match shown.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

/// A text without what looks like a secret in it.
pub(super) fn concealed(text: &str) -> String {
    let is_of_a_word =
        |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '~' | '+' | '/' | '%');
    let mut shown = String::new();
    for piece in text.split_inclusive(|c| !is_of_a_word(c)) {
        let word = piece.trim_end_matches(|c| !is_of_a_word(c));
        // A signed answer of a host platform (RFC 7519) begins so.
        let is_secret = secrets::is_like_one(word) || word.starts_with("eyJ");
        shown.push_str(if is_secret { secrets::CONCEALED } else { word });
        shown.push_str(&piece[word.len()..]);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t8_what_looks_like_a_secret_is_concealed_and_the_rest_is_as_it_was() {
        for plain in ["", "no such app", "a: \"b\" (c), d\n", "scope \"wid gets\" is unknown.", "é ü"] {
            assert_eq!(loggable(plain), plain);
        }
        assert_eq!(loggable("unknown field `gbt_abc`, expected"), "unknown field `(a secret)`, expected");
        assert_eq!(loggable("x=gbk_abc.d-e&y gbs_"), "x=(a secret)&y (a secret)");
        assert_eq!(loggable("signed by eyJhbGciOi.eyJ.sig, too"), "signed by (a secret), too");
    }

    #[test]
    fn a_reason_is_short() {
        let long = loggable(&"é".repeat(90_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_CHARS + 1, true));
        assert_eq!(loggable(&"é".repeat(MAX_CHARS)).chars().count(), MAX_CHARS);
    }
}
