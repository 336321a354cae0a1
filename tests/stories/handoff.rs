//! `/sign-in` in its handoff mode: the host platform says who the person is. The keys are those that the
//! unit tests of the handoff have, and protect nothing.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Browser, Reply};
use crate::harness::{CALLBACK, Grantbook, START};
use crate::html;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const PLATFORM: &str = "https://platform.example";

/// The host platform, with what it signs with.
struct Platform {
    grantbook: Grantbook,
    algorithm: Algorithm,
    key: EncodingKey,
    answers: AtomicU32,
}

impl Platform {
    fn start() -> Self {
        Self::with("HS256", SECRET, Algorithm::HS256, EncodingKey::from_secret(SECRET))
    }

    fn with(name: &str, known: &[u8], algorithm: Algorithm, key: EncodingKey) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("sign-in.key");
        std::fs::write(&file, known).unwrap();
        let grantbook = Grantbook::with(&[
            ("SIGN_IN_MODE", "handoff"),
            ("SIGN_IN_LOGIN_URL", "https://platform.example/login?theme=dark"),
            ("SIGN_IN_ISSUER", PLATFORM),
            ("SIGN_IN_ALGORITHM", name),
            ("SIGN_IN_KEY_FILE", file.to_str().unwrap()),
            ("SIGN_IN_MAX_AGE", "60s"),
        ]);
        Self { grantbook, algorithm, key, answers: AtomicU32::new(0) }
    }

    /// Sends a browser out from a page of ours: the nonce, and where the platform is to send it back to.
    #[track_caller]
    fn set_out(&self, browser: &Browser, page: &str) -> (String, String) {
        let to_sign_in = browser.get(page).expect(303).location().to_owned();
        let out = browser.get(&to_sign_in).expect(303);
        let login = Url::parse(out.location()).unwrap();
        assert!(login.as_str().starts_with("https://platform.example/login?theme=dark&"), "{login}");
        let return_to = out.param("return_to").unwrap();
        let path = return_to.strip_prefix(&self.grantbook.issuer()).unwrap().to_owned();
        assert!(path.starts_with("/sign-in/handoff"), "{path}");
        (out.param("request").unwrap(), path)
    }

    /// That ana of acme asked for this.
    fn claims(&self, nonce: &str) -> Value {
        let (now, jti) = (START.as_secs(), self.answers.fetch_add(1, Ordering::Relaxed));
        json!({
            "iss": PLATFORM, "aud": self.grantbook.issuer(), "sub": "ana", "account": "acme",
            "request": nonce, "iat": now, "exp": now + 60, "jti": format!("answer-{jti}"),
        })
    }

    fn sign(&self, claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(self.algorithm), claims, &self.key).unwrap()
    }

    /// What becomes of an answer whose claims differ from a right one.
    #[track_caller]
    fn answered(&self, change: impl FnOnce(&mut Value)) -> Reply {
        let browser = self.grantbook.browser();
        let (nonce, _) = self.set_out(&browser, "/account/apps");
        let mut claims = self.claims(&nonce);
        change(&mut claims);
        come_back(&browser, "/sign-in/handoff", &self.sign(&claims))
    }
}

fn come_back(browser: &Browser, path: &str, token: &str) -> Reply {
    let and = if path.contains('?') { '&' } else { '?' };
    browser.get(&format!("{path}{and}token={token}"))
}

#[track_caller]
fn assert_refused(reply: &Reply, browser: Option<&Browser>) {
    assert_eq!((reply.status, reply.location()), (400, ""), "{reply:?}");
    assert!(html::text(&reply.body).contains("This form is no longer good"), "{reply:?}");
    if let Some(browser) = browser {
        browser.get("/account/apps").expect(303);
    }
}

#[test]
fn a_person_comes_back_from_the_platform_and_the_request_goes_on() {
    let rsa = include_bytes!("../../src/identity/testdata/rsa.private.pem");
    let ec = include_bytes!("../../src/identity/testdata/es256.private.pem");
    let ed = include_bytes!("../../src/identity/testdata/eddsa.private.pem");
    let platforms = [
        Platform::start(),
        Platform::with(
            "RS256",
            include_bytes!("../../src/identity/testdata/rsa.public.pem"),
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(rsa).unwrap(),
        ),
        Platform::with(
            "ES256",
            include_bytes!("../../src/identity/testdata/es256.public.pem"),
            Algorithm::ES256,
            EncodingKey::from_ec_pem(ec).unwrap(),
        ),
        Platform::with(
            "EdDSA",
            include_bytes!("../../src/identity/testdata/eddsa.public.pem"),
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(ed).unwrap(),
        ),
    ];
    for platform in platforms {
        let grantbook = &platform.grantbook;
        let (app, browser) = (grantbook.app(), grantbook.browser());
        let query = app.query(&[("state", "a+b %&=é")]);
        let (nonce, path) = platform.set_out(&browser, &format!("/oauth/authorize?{query}"));
        let onward = come_back(&browser, &path, &platform.sign(&platform.claims(&nonce))).expect(303);
        assert_eq!(onward.location(), format!("/oauth/authorize?{query}"));
        let form = browser.get(onward.location()).expect(200).form("/oauth/authorize");
        let reply = browser.submit(&form, &[("decision", "approve")]).expect(303);
        assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
        assert_eq!(reply.param("state").as_deref(), Some("a+b %&=é"));
        let token = grantbook.exchange(&app, &reply.param("code").unwrap()).expect(200);
        let facts = grantbook.introspect(&token.text("access_token"));
        assert_eq!((&facts["sub"], &facts["account_id"]), (&json!("ana"), &json!("acme")));
    }
}

#[test]
fn an_answer_is_taken_once() {
    let platform = Platform::start();
    let browser = platform.grantbook.browser();
    let (nonce, path) = platform.set_out(&browser, "/account/apps");
    // Before it came back, somebody copied what the browser has.
    let (copy, answer) = (browser.copy(), platform.sign(&platform.claims(&nonce)));
    come_back(&browser, &path, &answer).expect(303);
    browser.get("/account/apps").expect(200);
    assert_refused(&come_back(&copy, &path, &answer), Some(&copy));
    assert_refused(&come_back(&browser, &path, &answer), None);
    // It is who it was, and a second answer for the same nonce is none that was asked for.
    browser.get("/account/apps").expect(200);
    assert_refused(&come_back(&browser, &path, &platform.sign(&platform.claims(&nonce))), None);
}

#[test]
fn an_answer_is_for_the_browser_that_asked() {
    let platform = Platform::start();
    let (browser, other) = (platform.grantbook.browser(), platform.grantbook.browser());
    let (nonce, path) = platform.set_out(&browser, "/account/apps");
    let (others, _) = platform.set_out(&other, "/account/apps");
    let answer = platform.sign(&platform.claims(&nonce));
    // Who is sent a link with another's answer is not signed in as that other.
    assert_refused(&come_back(&other, &path, &answer), Some(&other));
    assert_refused(&come_back(&platform.grantbook.browser(), &path, &answer), None);
    assert_refused(&come_back(&browser, &path, &platform.sign(&platform.claims(&others))), Some(&browser));
    assert_refused(&come_back(&browser, &path, &platform.sign(&platform.claims("x"))), Some(&browser));
    come_back(&browser, &path, &answer).expect(303);
}

#[test]
fn an_answer_has_its_time() {
    let platform = Platform::start();
    let now = START.as_secs();
    platform.answered(|_| {}).expect(303);
    let wrong: [(&str, i64, i64); 5] = [
        ("expired", now - 60, now),
        ("expired long ago", now - 86_460, now - 86_400),
        ("good for too long", now, now + 61),
        ("good for no time", now, now),
        ("from the future", now + 31, now + 60),
    ];
    for (which, iat, exp) in wrong {
        let reply = platform.answered(|claims| {
            claims["iat"] = json!(iat);
            claims["exp"] = json!(exp);
        });
        assert_eq!(reply.status, 400, "{which}: {reply:?}");
    }
    assert_refused(&platform.answered(|claims| claims["nbf"] = json!(now + 31)), None);

    // And a person who took half an hour starts again.
    let browser = platform.grantbook.browser();
    let (nonce, path) = platform.set_out(&browser, "/account/apps");
    platform.grantbook.clock.advance(Duration::from_secs(30 * 60));
    let mut claims = platform.claims(&nonce);
    claims["iat"] = json!(now + 30 * 60);
    claims["exp"] = json!(now + 31 * 60);
    assert_refused(&come_back(&browser, &path, &platform.sign(&claims)), Some(&browser));
}

#[test]
fn an_answer_names_who_it_is_from_for_and_about() {
    let platform = Platform::start();
    let ours = platform.grantbook.issuer();
    let wrong = [
        ("iss", json!("https://evil.example")),
        ("iss", json!("https://platform.example/")),
        ("aud", json!("https://other.example")),
        ("aud", json!(format!("{ours}/"))),
        ("aud", json!([ours, "https://other.example"])),
        ("aud", json!([])),
        ("sub", json!("")),
        ("sub", json!("ana torres")),
        ("sub", json!(["ana"])),
        ("account", json!({ "id": "acme" })),
        ("account", json!("x".repeat(129))),
        ("request", json!("")),
        ("exp", json!("soon")),
        ("iat", json!(1e300)),
        ("jti", json!(7)),
    ];
    for (claim, value) in wrong {
        let reply = platform.answered(|claims| claims[claim] = value.clone());
        assert_eq!((reply.status, reply.location()), (400, ""), "{claim} {value}: {reply:?}");
    }
    for claim in ["iss", "aud", "sub", "account", "request", "iat", "exp", "jti"] {
        let reply = platform.answered(|claims| claims[claim] = Value::Null);
        assert_eq!(reply.status, 400, "{claim}: {reply:?}");
    }
    platform.answered(|claims| claims["aud"] = json!([ours])).expect(303);
}

#[test]
fn an_answer_is_signed_as_configured_and_in_no_other_way() {
    let public = include_bytes!("../../src/identity/testdata/rsa.public.pem");
    let private = include_bytes!("../../src/identity/testdata/rsa.private.pem");
    let other = include_bytes!("../../src/identity/testdata/other-rsa.private.pem");
    let rsa = |pem: &[u8]| EncodingKey::from_rsa_pem(pem).unwrap();
    let platform = Platform::with("RS256", public, Algorithm::RS256, rsa(private));
    let browser = platform.grantbook.browser();
    let (nonce, path) = platform.set_out(&browser, "/account/apps");
    let claims = platform.claims(&nonce);
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let none = |alg: &str| format!("{}.{}.", part(&json!({ "alg": alg, "typ": "JWT" })), part(&claims));
    let encode = |alg, key: &EncodingKey| jsonwebtoken::encode(&Header::new(alg), &claims, key).unwrap();
    let good = platform.sign(&claims);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mallory = {
        let mut claims = claims.clone();
        claims["sub"] = json!("mallory");
        part(&claims)
    };
    let header = good.split('.').next().unwrap();
    let wrong = [
        none("none"),
        none("None"),
        none(""),
        // The public key, taken for a shared secret.
        encode(Algorithm::HS256, &EncodingKey::from_secret(public)),
        encode(Algorithm::RS256, &rsa(other)),
        encode(Algorithm::RS512, &rsa(private)),
        encode(Algorithm::PS256, &rsa(private)),
        format!("{header}.{mallory}.{signature}"),
        format!("{signed}."),
        signed.to_owned(),
        String::new(),
        "a.b.c".to_owned(),
        "x".repeat(9000),
    ];
    for answer in &wrong {
        let reply = come_back(&browser, &path, answer);
        assert_refused(&reply, Some(&browser));
    }
    // None of them spent the nonce.
    come_back(&browser, &path, &good).expect(303);
}

#[test]
fn where_the_platform_signs_people_in_nobody_signs_themselves_in() {
    let platform = Platform::start();
    let browser = platform.grantbook.browser();
    browser.post("/sign-in/dev", &[("person", "ana")]).expect(400);
    browser.get("/account/apps").expect(303);
}
