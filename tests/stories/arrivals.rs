//! What people meet around signing in by handoff: who they are called, what they may do, and ways on.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey};
use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::START;
use crate::html;
use crate::platform::{Platform, SECRET, come_back};

/// The link of a page that says this.
#[track_caller]
fn link(reply: &Reply, said: &str) -> String {
    let links = html::links(&reply.body);
    let found = links.iter().find(|(_, text)| text.contains(said));
    found.unwrap_or_else(|| panic!("no link {said}: {reply:?}")).0.clone()
}

#[test]
fn who_wants_to_be_somebody_else_is_asked_who_to_be() {
    let platform = Platform::start();
    let query = platform.grantbook.app().query(&[("state", "s")]);
    let browser = platform.grantbook.browser();
    let page = format!("/oauth/authorize?{query}");
    let (nonce, path) = platform.set_out(&browser, &page);
    come_back(&browser, &path, &platform.sign(&platform.claims(&nonce))).expect(303);
    let consent = browser.get(&page).expect(200);
    let out = browser.get(&link(&consent, "Sign in as somebody else")).expect(303);
    assert_eq!(out.param("prompt").as_deref(), Some("select_account"));
    // Who they are until then, they stay until they come back.
    browser.get(&page).expect(200);
    let mut claims = platform.claims(&out.param("request").unwrap());
    claims["sub"] = json!("ben");
    let path = out.param("return_to").unwrap();
    let path = path.strip_prefix(&platform.issuer).unwrap();
    assert_eq!(come_back(&browser, path, &platform.sign(&claims)).expect(303).location(), page);
    assert!(html::text(&browser.get(&page).expect(200).body).contains("signed in as ben"));
    // It is there only then, and nothing else is handed on as it.
    for prompt in ["", "&prompt=", "&prompt=none", "&prompt=select_account%20login"] {
        assert_eq!(
            browser.get(&format!("/sign-in?continue={prompt}")).expect(303).param("prompt"),
            None,
            "{prompt}"
        );
    }
}

#[test]
fn every_dead_end_leads_on_to_where_the_person_was() {
    let platform = Platform::start();
    let grantbook = &platform.grantbook;
    let query = grantbook.app().query(&[("state", "a+b&%=")]);
    let page = format!("/oauth/authorize?{query}");
    let browser = grantbook.browser();
    let sign_in = |from: &str| {
        let (nonce, path) = platform.set_out(&browser, from);
        come_back(&browser, &path, &platform.sign(&platform.claims(&nonce))).expect(303).location().to_owned()
    };
    sign_in("/account/apps");
    let said_once = |reply: &Reply| {
        let text = html::text(&reply.body);
        assert!(!text.contains("Go back") && !text.contains("Start again"), "{text}");
    };

    // The consent form was open for too long: the link asks again.
    let consent = browser.consent(&query);
    grantbook.clock.advance(Duration::from_secs(10 * 60));
    let reply = browser.submit(&consent, &[("decision", "approve")]).expect(400);
    said_once(&reply);
    assert_eq!(link(&reply, "Go on"), page);
    browser.get(&page).expect(200);

    // The session is over: the link leads through the sign-in and back to the same page.
    let (consent, account) =
        (browser.consent(&query), browser.get("/account/apps").expect(200).form("/sign-out"));
    grantbook.clock.advance(Duration::from_secs(3600));
    let reply = browser.submit(&consent, &[("decision", "approve")]).expect(400);
    assert!(html::text(&reply.body).contains("You are not signed in any more"), "{reply:?}");
    said_once(&reply);
    assert_eq!(sign_in(&link(&reply, "Sign in and go on")), page);

    // So is the one of a form of the account page.
    let csrf = account.field("csrf").to_owned();
    let reply =
        browser.post("/account/apps/98f1b1a0-279b-5082-a1d9-c221440d2739/uninstall", &[("csrf", &csrf)]);
    said_once(&reply);
    assert_eq!(link(&reply.expect(400), "Go on"), "/account/apps");
    grantbook.clock.advance(Duration::from_secs(3600));
    let reply =
        browser.post("/account/apps/98f1b1a0-279b-5082-a1d9-c221440d2739/uninstall", &[("csrf", &csrf)]);
    said_once(&reply);
    assert_eq!(sign_in(&link(&reply.expect(400), "Sign in and go on")), "/account/apps");

    // And an answer that is refused: the link begins another sign-in, which ends where the first would have.
    let other = grantbook.browser();
    let (nonce, path) = platform.set_out(&other, &page);
    let mut claims = platform.claims(&nonce);
    claims["iss"] = json!("https://evil.example");
    let reply = come_back(&other, &path, &platform.sign(&claims)).expect(400);
    said_once(&reply);
    let out = other.get(&link(&reply, "Sign in again")).expect(303);
    let back = out.param("return_to").unwrap();
    let back = back.strip_prefix(&platform.issuer).unwrap();
    let answer = platform.sign(&platform.claims(&out.param("request").unwrap()));
    assert_eq!(come_back(&other, back, &answer).expect(303).location(), page);
}

#[test]
fn names_are_shown_and_recorded_nowhere() {
    let platform = Platform::start();
    let (browser, app) = (platform.grantbook.browser(), platform.grantbook.app());
    let (nonce, path) = platform.set_out(&browser, "/account/apps");
    let mut claims = platform.claims(&nonce);
    claims["name"] = json!("Ana <b>Torres");
    claims["account_name"] = json!("Acme Incorporated");
    come_back(&browser, &path, &platform.sign(&claims)).expect(303);
    let consent = format!("/oauth/authorize?{}", app.query(&[]));
    for page in [consent.as_str(), "/account/apps"] {
        let reply = browser.get(page).expect(200);
        assert!(!reply.body.contains("<b>Torres"), "{reply:?}");
        let text = html::text(&reply.body);
        assert!(text.contains("Ana <b>Torres (ana)") && text.contains("Acme Incorporated (acme)"), "{text}");
    }
    browser.approve(&app.query(&[])).expect(303);
    let recorded = format!("{:?}", platform.grantbook.events());
    assert!(recorded.contains("acme") && !recorded.contains("Torres") && !recorded.contains("Incorporated"));
}

#[test]
fn where_admins_uninstall_a_member_does_not() {
    for (by, member_may) in [("member", true), ("admin", false)] {
        let platform = Platform::given(
            "HS256",
            SECRET,
            Algorithm::HS256,
            EncodingKey::from_secret(SECRET),
            &[("ACCOUNTS_UNINSTALL_BY", by)],
            START,
        );
        let app = platform.grantbook.app();
        let person = |role: Value| {
            let browser = platform.grantbook.browser();
            let (nonce, path) = platform.set_out(&browser, "/account/apps");
            let mut claims = platform.claims(&nonce);
            claims["role"] = role;
            come_back(&browser, &path, &platform.sign(&claims)).expect(303);
            browser
        };
        let (admin, member, nobody) = (person(json!("admin")), person(json!("member")), person(Value::Null));
        let code = platform.grantbook.code_of(&member, &app);
        let token = platform.grantbook.exchange(&app, &code).expect(200).text("access_token");
        let page = admin.get("/account/apps").expect(200);
        let uninstall =
            html::forms(&page.body).into_iter().find(|form| form.action.contains("/uninstall")).unwrap();
        for browser in [&member, &nobody] {
            let page = browser.get("/account/apps").expect(200);
            assert_eq!(page.body.contains("/uninstall"), member_may, "{by}: {page:?}");
            // Nor by a form that they made themselves.
            let csrf = page.form("/sign-out").field("csrf").to_owned();
            if !member_may {
                let reply = browser.post(&uninstall.action, &[("csrf", &csrf)]).expect(403);
                assert_eq!(link(&reply, "Go on"), "/account/apps");
            }
        }
        assert!(platform.grantbook.is_active(&token));
        admin.submit(&uninstall, &[]).expect(303);
        assert!(!platform.grantbook.is_active(&token));
    }
}
