//! `/sign-in` in its handoff mode: the host platform says who the person is. The keys are those that the
//! unit tests of the handoff have, and protect nothing.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantbook::clock::Clock as _;
use grantbook_events::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Browser, Pairs, Reply};
use crate::harness::{CALLBACK, Given, Grantbook, START};
use crate::html;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const PLATFORM: &str = "https://platform.example";

/// The host platform, with what it signs with.
struct Platform {
    grantbook: Grantbook,
    issuer: String,
    algorithm: Algorithm,
    key: EncodingKey,
    answers: AtomicU32,
}

impl Platform {
    fn start() -> Self {
        Self::with("HS256", SECRET, Algorithm::HS256, EncodingKey::from_secret(SECRET))
    }

    fn with(name: &str, known: &[u8], algorithm: Algorithm, key: EncodingKey) -> Self {
        Self::given(name, known, algorithm, key, &[], START)
    }

    /// One whose server starts at this time, with a session key that other servers have, too.
    fn started_at(at: Timestamp, session_key: &Path) -> Self {
        let settings =
            [("ISSUER", "https://auth.example"), ("SESSION_KEY_FILE", session_key.to_str().unwrap())];
        Self::given("HS256", SECRET, Algorithm::HS256, EncodingKey::from_secret(SECRET), &settings, at)
    }

    fn given(
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
    fn set_out(&self, browser: &Browser, page: &str) -> (String, String) {
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
    fn claims(&self, nonce: &str) -> Value {
        let (now, jti) = (self.grantbook.clock.now().as_secs(), self.answers.fetch_add(1, Ordering::Relaxed));
        json!({
            "iss": PLATFORM, "aud": self.issuer, "sub": "ana", "account": "acme",
            "request": nonce, "iat": now, "exp": now + 60, "jti": format!("answer-{jti}-of-{nonce}"),
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
    assert!(html::text(&reply.body).contains("You could not be signed in"), "{reply:?}");
    assert!(html::links(&reply.body)[0].0.starts_with("/sign-in?continue="), "{reply:?}");
    assert_eq!(reply.header("set-cookie"), "");
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
fn an_answer_is_taken_once_and_a_repeat_of_it_leads_on() {
    let platform = Platform::start();
    let browser = platform.grantbook.browser();
    let query = platform.grantbook.app().query(&[]);
    let (nonce, path) = platform.set_out(&browser, &format!("/oauth/authorize?{query}"));
    // Before it came back, somebody copied what the browser has.
    let (copy, answer) = (browser.copy(), platform.sign(&platform.claims(&nonce)));
    come_back(&browser, &path, &answer).expect(303);
    browser.get("/account/apps").expect(200);
    let cookies = browser.cookies();
    // The same link again, and a second answer for the same nonce, sign nobody in and undo no sign-in.
    for again in [&answer, &platform.sign(&platform.claims(&nonce))] {
        let reply = come_back(&browser, &path, again).expect(303);
        assert_eq!(reply.location(), format!("/oauth/authorize?{query}"));
        assert_eq!((reply.header("set-cookie"), browser.cookies()), ("", cookies.clone()));
    }
    // Who asked twice before the first answer came goes on as well; a thief has nothing of it.
    let reply = come_back(&copy, &path, &answer).expect(303);
    assert_eq!((reply.location(), reply.header("set-cookie")), (&*format!("/oauth/authorize?{query}"), ""));
    copy.get("/account/apps").expect(303);
    browser.get("/account/apps").expect(200);
}

#[test]
fn an_answer_is_not_taken_again_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("session.key");
    let before = Platform::started_at(START, &key);
    let browser = before.grantbook.browser();
    let (nonce, path) = before.set_out(&browser, "/account/apps");
    let copy = before.grantbook.browser();
    copy.merge(&browser);
    let answer = before.sign(&before.claims(&nonce));
    come_back(&browser, &path, &answer).expect(303);

    let after = Platform::started_at(START.plus(Duration::from_secs(5)), &key);
    let thief = after.grantbook.browser();
    thief.merge(&copy);
    let reply = come_back(&thief, &path, &answer);
    assert_eq!((reply.status, reply.header("set-cookie")), (400, ""), "{reply:?}");
    thief.get("/account/apps").expect(303);
    // Who was signed in still is, and whoever was under way begins again with one click.
    let owner = after.grantbook.browser();
    owner.merge(&browser);
    owner.get("/account/apps").expect(200);
    let (nonce, path) = after.set_out(&thief, "/account/apps");
    come_back(&thief, &path, &after.sign(&after.claims(&nonce))).expect(303);
    thief.get("/account/apps").expect(200);
}

#[test]
fn every_tab_that_went_to_the_platform_arrives() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[]);
    let browser = platform.grantbook.browser();
    let tabs: Vec<_> = (0..20)
        .map(|tab| platform.set_out(&browser, &format!("/oauth/authorize?{query}&state={tab}")))
        .collect();
    let mut forms = Vec::new();
    for (tab, (nonce, path)) in tabs.iter().enumerate() {
        let onward = come_back(&browser, path, &platform.sign(&platform.claims(nonce))).expect(303);
        assert_eq!(onward.location(), format!("/oauth/authorize?{query}&state={tab}"));
        forms.push(browser.get(onward.location()).expect(200).form("/oauth/authorize"));
    }
    // And what was opened first is still good: the same person signed in again.
    for form in &forms {
        assert!(browser.submit(form, &[("decision", "approve")]).expect(303).param("code").is_some());
    }
}

#[test]
fn tabs_that_ask_at_the_same_moment_all_arrive() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[]);
    let page = format!("/oauth/authorize?{query}");
    let browser = platform.grantbook.browser();
    // Each asks with what the browser had before the other was answered, there and back.
    let others = browser.copy();
    let (first, second) = (platform.set_out(&browser, &page), platform.set_out(&others, &page));
    browser.merge(&others);
    let others = browser.copy();
    for (browser, (nonce, path)) in [(&browser, first), (&others, second)] {
        come_back(browser, &path, &platform.sign(&platform.claims(&nonce))).expect(303);
    }
    let form = browser.get(&page).expect(200).form("/oauth/authorize");
    browser.merge(&others);
    let second = browser.get(&page).expect(200).form("/oauth/authorize");
    for form in [form, second] {
        assert!(browser.submit(&form, &[("decision", "approve")]).expect(303).param("code").is_some());
    }
}

#[test]
fn another_person_who_comes_back_is_another_session() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[]);
    let browser = platform.grantbook.browser();
    let sign_in = |user: &str| {
        let to_sign_in = "/sign-in?continue=".to_owned();
        let out = browser.get(&to_sign_in).expect(303);
        let mut claims = platform.claims(&out.param("request").unwrap());
        claims["sub"] = json!(user);
        come_back(&browser, "/sign-in/handoff", &platform.sign(&claims)).expect(303);
    };
    sign_in("ana");
    let form = browser.consent(&query);
    sign_in("ben");
    assert_eq!(browser.submit(&form, &[("decision", "approve")]).status, 400);
    // Nor is it good again when she is back.
    sign_in("ana");
    assert_eq!(browser.submit(&form, &[("decision", "approve")]).status, 400);
}

#[test]
fn a_refusal_sets_no_cookie() {
    let platform = Platform::start();
    for claim in ["iss", "aud", "sub", "account", "request", "iat", "exp", "jti"] {
        assert_eq!(platform.answered(|claims| claims[claim] = json!({})).header("set-cookie"), "", "{claim}");
    }
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
    assert_refused(&come_back(&browser, &path, &platform.sign(&platform.claims(&nonce))), Some(&browser));
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
