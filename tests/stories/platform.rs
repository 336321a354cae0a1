//! The host platform, as the stories of the handoff play it. The keys are those that the unit tests of the
//! handoff have, and protect nothing.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use grantbook::clock::Clock as _;
use grantbook_events::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Browser, Pairs, Reply};
use crate::harness::{Given, Grantbook, START};
use crate::html;

pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
pub const PLATFORM: &str = "https://platform.example";

/// The host platform, with what it signs with.
pub struct Platform {
    pub grantbook: Grantbook,
    /// What its answers are for.
    pub issuer: String,
    algorithm: Algorithm,
    key: EncodingKey,
    answers: AtomicU32,
}

impl Platform {
    pub fn start() -> Self {
        Self::with("HS256", SECRET, Algorithm::HS256, EncodingKey::from_secret(SECRET))
    }

    pub fn with(name: &str, known: &[u8], algorithm: Algorithm, key: EncodingKey) -> Self {
        Self::given(name, known, algorithm, key, &[], START)
    }

    /// One whose server starts at this time, with a session key that other servers have, too.
    pub fn started_at(at: Timestamp, session_key: &Path) -> Self {
        let settings =
            [("ISSUER", "https://auth.example"), ("SESSION_KEY_FILE", session_key.to_str().unwrap())];
        Self::given("HS256", SECRET, Algorithm::HS256, EncodingKey::from_secret(SECRET), &settings, at)
    }

    pub fn given(
        name: &str,
        known: &[u8],
        algorithm: Algorithm,
        key: EncodingKey,
        settings: Pairs<'_>,
        at: Timestamp,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sign-in.key");
        std::fs::write(&file, known).unwrap();
        let defaults = [
            ("SIGN_IN_MODE", "handoff"),
            ("SIGN_IN_LOGIN_URL", "https://platform.example/login?theme=dark"),
            ("SIGN_IN_ISSUER", PLATFORM),
            ("SIGN_IN_ALGORITHM", name),
            ("SIGN_IN_KEY_FILE", file.to_str().unwrap()),
            ("SIGN_IN_MAX_AGE", "60s"),
        ];
        let settings = [&defaults[..], settings].concat();
        let grantbook = Grantbook::given(Given { settings: &settings, at: Some(at), ..Given::default() });
        let issuer = settings.iter().rev().find(|(name, _)| *name == "ISSUER");
        let issuer = issuer.map_or_else(|| grantbook.issuer(), |(_, issuer)| (*issuer).to_owned());
        Self { grantbook, issuer, algorithm, key, answers: AtomicU32::new(0) }
    }

    /// Sends a browser out from a page of ours: the nonce, and where the platform is to send it back to.
    #[track_caller]
    pub fn set_out(&self, browser: &Browser, page: &str) -> (String, String) {
        let to_sign_in = browser.get(page).expect(303).location().to_owned();
        let out = browser.get(&to_sign_in).expect(303);
        let login = Url::parse(out.location()).unwrap();
        assert!(login.as_str().starts_with("https://platform.example/login?theme=dark&"), "{login}");
        let return_to = out.param("return_to").unwrap();
        let path = return_to.strip_prefix(&self.issuer).unwrap().to_owned();
        assert!(path.starts_with("/sign-in/handoff"), "{path}");
        (out.param("request").unwrap(), path)
    }

    /// That ana of acme asked for this.
    pub fn claims(&self, nonce: &str) -> Value {
        let (now, jti) = (self.grantbook.clock.now().as_secs(), self.answers.fetch_add(1, Ordering::Relaxed));
        json!({
            "iss": PLATFORM, "aud": self.issuer, "sub": "ana", "account": "acme",
            "request": nonce, "iat": now, "exp": now + 60, "jti": format!("answer-{jti}-of-{nonce}"),
        })
    }

    pub fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key).unwrap()
    }

    /// What becomes of an answer whose claims differ from a right one.
    #[track_caller]
    pub fn answered(&self, change: impl FnOnce(&mut Value)) -> Reply {
        let browser = self.grantbook.browser();
        let (nonce, _) = self.set_out(&browser, "/account/apps");
        let mut claims = self.claims(&nonce);
        change(&mut claims);
        come_back(&browser, "/sign-in/handoff", &self.sign(&claims))
    }
}

pub fn come_back(browser: &Browser, path: &str, token: &str) -> Reply {
    let and = if path.contains('?') { '&' } else { '?' };
    browser.get(&format!("{path}{and}token={token}"))
}

#[track_caller]
pub fn assert_refused(reply: &Reply, browser: Option<&Browser>) {
    assert_eq!((reply.status, reply.location()), (400, ""), "{reply:?}");
    assert!(html::text(&reply.body).contains("You could not be signed in"), "{reply:?}");
    assert!(html::links(&reply.body)[0].0.starts_with("/sign-in?continue="), "{reply:?}");
    assert_eq!(reply.header("set-cookie"), "");
    if let Some(browser) = browser {
        browser.get("/account/apps").expect(303);
    }
}
