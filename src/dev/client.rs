//! The OAuth client: what every app does. Knows: the authorization code grant as the client sees it. Must not
//! know: cookies, files, or what only operators may do.
//!
//! 1. Send the person to [`Client::authorization_url`], which remembers that this browser left.
//! 2. They come back to the redirect URI with a [`Callback`]. [`Client::token`] checks it and exchanges the code for
//!    a token, once. Keep the token as a secret.
//! 3. Send the token to the platform's API as `Authorization: Bearer`. The API introspects it.
//! 4. [`Client::revoke`] the token when it is no longer needed.

use std::num::NonZeroUsize;

use lru::LruCache;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::grantbook::{Reply, Server};
use super::refused::Refused;
use crate::secrets;

/// The oldest attempts are forgotten first, so that people who never come back do not fill the memory.
pub(super) const MAX_ATTEMPTS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(99);

pub(super) struct Client {
    pub server: Server,
    pub client_id: String,
    pub redirect_uri: String,
    pub scope: String,
    /// The server's own name for itself, as in its metadata (RFC 8414).
    pub issuer: String,
    /// The code verifiers of the attempts that are not answered yet, each by its browser and its `state`. They are in
    /// memory only: after a restart people start again.
    pub attempts: Mutex<LruCache<(String, String), String>>,
}

/// The query that a person comes back with (RFC 6749 section 4.1.2, RFC 9207). What is absent is empty.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Callback {
    state: String,
    iss: String,
    code: String,
    error: String,
    error_description: String,
}

impl Client {
    /// Where to send the person (RFC 6749 section 4.1.1). `state` ties the answer to the browser (RFC 6749
    /// section 10.12), and PKCE ties the code to this attempt: only a digest of the verifier travels through the
    /// browser (RFC 7636 section 4.3).
    pub(super) fn authorization_url(&self, browser: &str) -> String {
        let (state, code_verifier) = (secrets::random_text(), secrets::random_text());
        let query = Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &self.scope)
            .append_pair("state", &state)
            .append_pair("code_challenge", &secrets::s256_challenge(&code_verifier).to_string())
            .append_pair("code_challenge_method", "S256")
            .finish();
        self.attempts.lock().put((browser.to_owned(), state), code_verifier);
        self.server.at(&format!("/oauth/authorize?{query}"))
    }

    /// Exchanges the code of an answer for a token (RFC 6749 section 4.1.3), if this browser asked for the answer and
    /// it is from the server that was asked (RFC 9207). The reply holds the token: treat it as a secret.
    pub(super) fn token(&self, browser: &str, callback: Callback) -> Result<Value, Refused> {
        let Callback { state, iss, code, error, error_description } = callback;
        let code_verifier =
            self.attempts.lock().pop(&(browser.to_owned(), state)).ok_or(Refused::NotAsked)?;
        if iss != self.issuer {
            return Err(Refused::WrongIssuer);
        }
        match (error.as_str(), code.as_str()) {
            ("", "") => return Err(Refused::NoCode),
            ("", _) => {}
            ("access_denied", _) => return Err(Refused::Denied),
            _ => return Err(Refused::Error(error, error_description)),
        }
        let form = &[
            ("grant_type", "authorization_code"),
            ("code", code.as_str()),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", &code_verifier),
        ];
        Ok(self.server.post_form("exchange the code", "/oauth/token", form)?)
    }

    /// Gives a token back (RFC 7009).
    pub(super) fn revoke(&self, access_token: &str) -> Reply {
        self.server.post_form("revoke the token", "/oauth/revoke", &[("token", access_token)])
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;

    pub(in super::super) fn client() -> Client {
        Client {
            server: Server::new("http://127.0.0.1:1", String::new()),
            client_id: "c".into(),
            issuer: "https://auth.example".into(),
            redirect_uri: "http://127.0.0.1:2/callback".into(),
            scope: "faqs widgets".into(),
            attempts: Mutex::new(LruCache::new(MAX_ATTEMPTS)),
        }
    }

    /// What a browser is sent away with.
    fn leave(client: &Client, browser: &str) -> BTreeMap<String, String> {
        let url = client.authorization_url(browser);
        let query = url.strip_prefix("http://127.0.0.1:1/oauth/authorize?").unwrap();
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect()
    }

    fn state(client: &Client, browser: &str) -> String {
        leave(client, browser).remove("state").unwrap()
    }

    #[test]
    fn a_browser_is_sent_away_with_everything_that_protects_it() {
        let client = client();
        let sent = leave(&client, "ana");
        assert_eq!(sent["client_id"], "c");
        assert_eq!(sent["redirect_uri"], "http://127.0.0.1:2/callback");
        assert_eq!(sent["scope"], "faqs widgets");
        assert_eq!(sent["code_challenge_method"], "S256");
        let code_verifier = client.attempts.lock().pop(&("ana".into(), sent["state"].clone())).unwrap();
        assert_eq!(sent["code_challenge"], secrets::s256_challenge(&code_verifier).to_string());
        assert_eq!((sent["state"].len(), sent["code_challenge"].len()), (43, 43));
    }

    #[test]
    fn every_answer_without_a_code_has_its_own_reason() {
        let client = client();
        let answer = |iss: &str, code: &str, error: &str| {
            let [iss, code, error] = [iss, code, error].map(str::to_owned);
            let callback = Callback { state: state(&client, "ana"), iss, code, error, ..Callback::default() };
            client.token("ana", callback).unwrap_err()
        };
        let right = "https://auth.example";
        let exchanged = answer(right, "gbc_x", "");
        assert!(matches!(exchanged, Refused::Call(_)), "the code is sent on");
        assert!(matches!(answer("https://evil.example", "gbc_x", ""), Refused::WrongIssuer));
        assert!(matches!(answer("", "", "access_denied"), Refused::WrongIssuer));
        assert!(matches!(answer(right, "", ""), Refused::NoCode));
        assert!(matches!(answer(right, "", "access_denied"), Refused::Denied));
        let refused = answer(right, "gbc_x", "invalid_scope");
        assert!(matches!(refused, Refused::Error(error, _) if error == "invalid_scope"));
    }

    /// Whether the answer is one that this browser asked for.
    fn is_asked(client: &Client, browser: &str, state: &str) -> bool {
        let callback = Callback { state: state.to_owned(), ..Callback::default() };
        !matches!(client.token(browser, callback), Err(Refused::NotAsked))
    }

    #[test]
    fn an_answer_counts_once_and_only_in_the_browser_that_asked() {
        let client = client();
        let state = state(&client, "ana");
        assert!(!is_asked(&client, "ben", &state));
        assert!(!is_asked(&client, "ana", ""));
        assert!(is_asked(&client, "ana", &state));
        assert!(!is_asked(&client, "ana", &state));
    }

    #[test]
    fn people_who_never_come_back_do_not_fill_the_memory() {
        let client = client();
        let first = state(&client, "ana");
        let last = (0..MAX_ATTEMPTS.get()).map(|_| state(&client, "ana")).last().unwrap();
        assert_eq!(client.attempts.lock().len(), MAX_ATTEMPTS.get());
        assert!(!is_asked(&client, "ana", &first));
        assert!(is_asked(&client, "ana", &last));
    }
}
