//! `/sign-in` in its handoff mode: the host platform says who the person is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{CALLBACK, START};
use crate::platform::{Platform, assert_refused, come_back};

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
fn a8_a_state_of_16_kib_survives_the_way_to_the_platform_and_back() {
    let platform = Platform::start();
    let grantbook = &platform.grantbook;
    let app = grantbook.app();
    // As ASP.NET sends them, of what a query may not hold, and of what grows most on its way.
    for state in ["CfDJ8-_a".repeat(2 * 1024), "\u{e9}".repeat(8 * 1024), "&%".repeat(8 * 1024)] {
        let browser = grantbook.browser();
        let query = app.query(&[("state", &state), ("redirect_uri", CALLBACK)]);
        let (nonce, path) = platform.set_out(&browser, &format!("/oauth/authorize?{query}"));
        let onward = come_back(&browser, &path, &platform.sign(&platform.claims(&nonce))).expect(303);
        let form = browser.get(onward.location()).expect(200).form("/oauth/authorize");
        for (decision, sign) in [("deny", "error"), ("approve", "code")] {
            let reply = browser.submit(&form, &[("decision", decision)]).expect(303);
            assert!(reply.param(sign).is_some(), "{decision}");
            assert_eq!(reply.param("state").as_ref(), Some(&state), "{decision}");
        }
    }
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
