//! The OAuth client: what every app does. Knows: the authorization code grant as the client sees it. Must not
//! know: browsers, files, or what only operators may do.
//!
//! 1. Send the person to [`Client::authorization_url`] and remember the [`Attempt`].
//! 2. They come back to the redirect URI with a [`Callback`]. Find the attempt by its `state`, then let
//!    [`Client::code`] check the answer.
//! 3. [`Client::exchange`] the code for a token, once, and keep the token as a secret.
//! 4. Send the token to the platform's API as `Authorization: Bearer`. The API introspects it.
//! 5. [`Client::revoke`] the token when it is no longer needed.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::grantbook::{CallError, Server};
use super::refused::Refused;
use crate::secrets;

/// One authorization that was begun, to be kept until the person comes back.
pub(super) struct Attempt {
    /// Ties the answer to the browser that asked (RFC 6749 section 10.12).
    pub state: String,
    /// Ties the code to this attempt: only its digest travels through the browser (RFC 7636).
    pub code_verifier: String,
}

/// The query that a person comes back with (RFC 6749 section 4.1.2, RFC 9207). What is absent is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Callback {
    pub state: String,
    iss: String,
    code: String,
    error: String,
    error_description: String,
}

pub(super) struct Client {
    pub server: Server,
    pub client_id: String,
    pub redirect_uri: String,
    pub scope: String,
    /// The server's own name for itself, as in its metadata (RFC 8414).
    pub issuer: String,
}

impl Attempt {
    pub(super) fn new() -> Self {
        Self { state: secrets::random_text(), code_verifier: secrets::random_text() }
    }
}

impl Client {
    /// Where to send the person (RFC 6749 section 4.1.1, RFC 7636 section 4.3).
    pub(super) fn authorization_url(&self, attempt: &Attempt) -> String {
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.scope)
            .append_pair("state", &attempt.state)
            .append_pair("code_challenge", &secrets::s256_challenge(&attempt.code_verifier).to_string())
            .append_pair("code_challenge_method", "S256")
            .finish();
        self.server.at(&format!("/oauth/authorize?{query}"))
    }

    /// The code of an answer whose `state` was right, if the answer is from the server that was asked (RFC 9207).
    pub(super) fn code(&self, callback: Callback) -> Result<String, Refused> {
        if callback.iss != self.issuer {
            return Err(Refused::WrongIssuer);
        }
        match (callback.error.as_str(), callback.code.as_str()) {
            ("", "") => Err(Refused::NoCode),
            ("", _) => Ok(callback.code),
            ("access_denied", _) => Err(Refused::Denied),
            _ => Err(Refused::Error { error: callback.error, description: callback.error_description }),
        }
    }

    /// Exchanges a code for a token (RFC 6749 section 4.1.3). The reply holds the token: treat it as a secret.
    pub(super) fn exchange(&self, code: &str, code_verifier: &str) -> Result<Value, CallError> {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", code_verifier),
        ];
        self.server.post_form("exchange the code", "/oauth/token", form)
    }

    /// Gives a token back (RFC 7009).
    pub(super) fn revoke(&self, access_token: &str) -> Result<(), CallError> {
        let form = [("token", access_token)];
        let IgnoredAny = self.server.post_form("revoke the token", "/oauth/revoke", form)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn client() -> Client {
        Client {
            server: Server::new("http://127.0.0.1:1", String::new()),
            client_id: "c".into(),
            issuer: "https://auth.example".into(),
            redirect_uri: "http://127.0.0.1:2/callback".into(),
            scope: "faqs widgets".into(),
        }
    }

    #[test]
    fn a_browser_is_sent_away_with_everything_that_protects_it() {
        let attempt = Attempt::new();
        let url = client().authorization_url(&attempt);
        let query = url.strip_prefix("http://127.0.0.1:1/oauth/authorize?").unwrap();
        let sent: BTreeMap<_, _> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        assert_eq!(sent["client_id"], "c");
        assert_eq!(sent["redirect_uri"], "http://127.0.0.1:2/callback");
        assert_eq!(sent["scope"], "faqs widgets");
        assert_eq!(sent["state"], attempt.state);
        assert_eq!(sent["code_challenge_method"], "S256");
        assert_eq!(sent["code_challenge"], secrets::s256_challenge(&attempt.code_verifier).to_string());
        assert_eq!((sent["state"].len(), sent["code_challenge"].len()), (43, 43));
    }

    #[test]
    fn every_answer_without_a_code_has_its_own_reason() {
        let answer = |iss: &str, code: &str, error: &str| {
            let [iss, code, error] = [iss, code, error].map(str::to_owned);
            client().code(Callback { iss, code, error, ..Callback::default() })
        };
        let right = "https://auth.example";
        assert_eq!(answer(right, "gbc_x", "").unwrap(), "gbc_x");
        assert!(matches!(answer("https://evil.example", "gbc_x", ""), Err(Refused::WrongIssuer)));
        assert!(matches!(answer("", "", "access_denied"), Err(Refused::WrongIssuer)));
        assert!(matches!(answer(right, "", ""), Err(Refused::NoCode)));
        assert!(matches!(answer(right, "", "access_denied"), Err(Refused::Denied)));
        let refused = answer(right, "gbc_x", "invalid_scope");
        assert!(matches!(refused, Err(Refused::Error { error, .. }) if error == "invalid_scope"));
    }
}
