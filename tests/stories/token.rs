//! `POST /oauth/token`: what is asked of the request, and how the client says who it is.

use std::fmt::Write as _;

use serde_json::json;

use crate::client::{Pairs, Reply, encode};
use crate::harness::{App, CALLBACK, Grantbook, basic};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// An error as RFC 6749 section 5.2 has it, which no cache keeps (T7).
#[track_caller]
fn assert_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.error(), (status, code.to_owned()), "{reply:?}");
    assert_eq!(reply.header("content-type"), "application/json", "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store", "{reply:?}");
    assert_eq!(reply.header("pragma"), "no-cache", "{reply:?}");
    assert!(!reply.text("error_description").is_empty(), "{reply:?}");
}

/// Exchanges a code; the client authenticates by a header.
fn by_header(grantbook: &Grantbook, authorization: &str, form: Pairs<'_>) -> Reply {
    grantbook.post_with("/oauth/token", &[("authorization", authorization)], form)
}

/// Every byte percent-encoded, as a form may have it.
fn spelt_out(text: &str) -> String {
    text.bytes().fold(String::new(), |mut spelt, byte| {
        write!(spelt, "%{byte:02x}").unwrap();
        spelt
    })
}

#[test]
fn t1_a_token_is_asked_for_by_post() {
    let grantbook = Grantbook::start();
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let allowed = if path == "/oauth/introspect" { "POST" } else { "POST, OPTIONS" };
        for method in ["GET", "PUT", "PATCH", "DELETE"] {
            let reply = grantbook.send(method, path, &[], None);
            assert_error(&reply, 405, "invalid_request");
            assert_eq!(reply.header("allow"), allowed, "{method} {path}");
        }
    }
}

#[test]
fn t1_what_is_posted_is_a_form() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let form = encode(&[&app.credentials()[..], &[("code", &code)]].concat());
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        for kind in ["application/json", "multipart/form-data; boundary=x", "text/plain", ""] {
            let reply = grantbook.send("POST", path, &[("content-type", kind)], Some(form.as_bytes()));
            assert_error(&reply, 415, "invalid_request");
        }
        assert_error(&grantbook.send("POST", path, &[], Some(form.as_bytes())), 415, "invalid_request");
        for malformed in ["client_id=%ff", "client_id=%c3%28", "client_id=\u{e9}&code=%80"] {
            assert_error(&grantbook.post_raw(path, &[], malformed), 400, "invalid_request");
        }
        let latin1 = grantbook.send("POST", path, &[FORM], Some(b"client_id=\xe9"));
        assert_error(&latin1, 400, "invalid_request");
    }
    let kind = [("content-type", "Application/X-WWW-Form-URLEncoded; charset=UTF-8")];
    grantbook.send("POST", "/oauth/token", &kind, Some(form.as_bytes())).expect(200);
}

#[test]
fn t1_nothing_is_taken_from_the_uri() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let form = [&app.credentials()[..], &[("code", &code)]].concat();
    let secret = encode(&form[1..2]);
    for query in [secret.as_str(), &encode(&form), "client_secret=", "lang=en"] {
        assert_error(&grantbook.post(&format!("/oauth/token?{query}"), &form), 400, "invalid_request");
        assert_error(&grantbook.post(&format!("/oauth/introspect?{query}"), &form), 400, "invalid_request");
    }
    let only_code = grantbook.post(&format!("/oauth/token?{secret}"), &[form[0], form[2]]);
    assert_error(&only_code, 400, "invalid_request");
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn t1_what_is_sent_has_a_limit() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let form = encode(&[&app.credentials()[..], &[("code", &code)]].concat());
    // 16 KiB are taken, one byte more is not.
    let padded = |bytes: usize| format!("{form}&padding={}", "x".repeat(bytes - form.len() - 9));
    assert_error(&grantbook.post_raw("/oauth/token", &[], &padded(16 * 1024 + 1)), 413, "invalid_request");
    let long = "x".repeat(81 * 1024);
    let reply = grantbook.post_raw("/oauth/token", &[("x-padding", &long)], &form);
    assert_eq!(reply.problem(431, "head_too_large"), "URI and headers may have at most 81920 bytes together");
    grantbook.post_raw("/oauth/token", &[], &padded(16 * 1024)).expect(200);
}

#[test]
fn t1_a_parameter_may_be_there_once() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let form = [&app.credentials()[..], &[("code", &code)]].concat();
    for name in ["client_id", "client_secret", "code", "redirect_uri", "code_verifier", "grant_type", "scope"]
    {
        let value = form.iter().find(|(known, _)| *known == name).map_or("x", |(_, value)| value);
        for again in [value, "", "other"] {
            let mut twice = form.clone();
            twice.retain(|(known, _)| *known != name);
            twice.extend([(name, value), (name, again)]);
            assert_error(&grantbook.post("/oauth/token", &twice), 400, "invalid_request");
        }
    }
    let unknown_twice = [&form[..], &[("audience", "x"), ("audience", "y")]].concat();
    grantbook.post("/oauth/token", &unknown_twice).expect(200);
}

#[test]
fn t2_no_other_grant_type_than_a_code_or_a_refresh_token() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    for kind in ["password", "client_credentials", "implicit", "Authorization_Code", "x"] {
        let reply = grantbook.exchange_with(&app, &code, &[("grant_type", kind)]);
        assert_error(&reply, 400, "unsupported_grant_type");
    }
    for kind in ["authorization_code", ""] {
        let added = [("grant_type", kind), ("scope", "")];
        grantbook.exchange_with(&app, &grantbook.code(&app), &added).expect(200);
    }
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn t3_the_client_authenticates_by_header_or_by_body() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (id, secret) = (app.client_id.clone(), app.secret.clone().unwrap());
    let with_id = [("client_id", id.as_str())];
    let headers = [
        (app.basic(), &[][..]),
        (app.basic(), &with_id[..]),
        (app.basic().replacen("Basic", "bAsIC", 1), &[]),
        // Form-encoded before base64 (RFC 6749 section 2.3.1).
        (basic(&spelt_out(&id), &spelt_out(&secret)), &[]),
    ];
    for (authorization, added) in headers {
        let code = grantbook.code(&app);
        by_header(&grantbook, &authorization, &[added, &[("code", &code)]].concat()).expect(200);
    }
    grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
    let public = grantbook.public_app();
    let reply = by_header(&grantbook, &public.basic(), &[("code", "x")]);
    assert_error(&reply, 400, "invalid_grant");
}

#[test]
fn t3_both_at_once_or_two_clients_are_an_invalid_request() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app(), grantbook.app());
    let code = grantbook.code(&app);
    let in_body = [&app.credentials()[..], &[("code", &code)]].concat();
    let wrong = [
        by_header(&grantbook, &app.basic(), &in_body),
        by_header(&grantbook, &app.basic(), &in_body[1..]),
        by_header(&grantbook, &app.basic(), &[("client_secret", "wrong"), ("code", &code)]),
        by_header(&grantbook, &app.basic(), &[("client_id", &other.client_id), ("code", &code)]),
        by_header(&grantbook, &other.basic(), &[("client_id", &app.client_id), ("code", &code)]),
        grantbook.post_with(
            "/oauth/token",
            &[("authorization", &app.basic()), ("authorization", &other.basic())],
            &[("code", &code)],
        ),
    ];
    for reply in &wrong {
        assert_error(reply, 400, "invalid_request");
    }
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn t4_failed_authentication_is_401_and_tells_nothing_more() {
    let grantbook = Grantbook::start();
    let (app, deleted, public) = (grantbook.app(), grantbook.app(), grantbook.public_app());
    let code = grantbook.code(&app);
    let secret = app.secret.clone().unwrap();
    grantbook.admin().delete(&format!("/apps/{}?reason=gone", deleted.client_id)).expect(204);
    let nobody = "0".repeat(32);
    let mut bodies = Vec::new();
    for (id, secret) in [
        (app.client_id.as_str(), "wrong"),
        (&app.client_id, &secret[..secret.len() - 1]),
        (&app.client_id, &format!("{secret} ")),
        (&app.client_id, ""),
        (&app.client_id, deleted.secret.as_deref().unwrap()),
        (&deleted.client_id, deleted.secret.as_deref().unwrap()),
        (&public.client_id, "anything"),
        (&nobody, &secret),
        ("not-a-client-id", &secret),
        ("' or 1=1 --", &secret),
    ] {
        let form = [("client_id", id), ("client_secret", secret), ("code", &code)];
        let by_body = grantbook.post("/oauth/token", &form);
        assert_error(&by_body, 401, "invalid_client");
        assert!(by_body.header("www-authenticate").starts_with("Basic realm="), "{by_body:?}");
        let encoded = |text: &str| encode(&[("", text)])[1..].to_owned();
        let header = by_header(&grantbook, &basic(&encoded(id), &encoded(secret)), &[("code", &code)]);
        assert_error(&header, 401, "invalid_client");
        assert!(header.header("www-authenticate").starts_with("Basic realm="), "{header:?}");
        bodies.extend([by_body.body, header.body]);
    }
    for header in ["Basic", "Basic !!!", "Basic bm8tY29sb24=", "Bearer x", "Digest x", "basic  "] {
        let reply = by_header(&grantbook, header, &[("code", &code)]);
        assert_error(&reply, 401, "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic realm="), "{header}: {reply:?}");
        bodies.push(reply.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "{bodies:?}");
    // Who said nothing is told what to say.
    for path in ["/oauth/token", "/oauth/revoke", "/oauth/introspect"] {
        let reply = grantbook.post(path, &[("code", &code), ("token", &code)]);
        assert_error(&reply, 401, "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic realm="), "{path}: {reply:?}");
        assert!(reply.text("error_description").contains("client_id"), "{path}: {reply:?}");
    }
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn t4_only_with_its_secret_is_a_suspended_app_told_so() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let suspend = format!("/apps/{}/suspend", app.client_id);
    grantbook.admin().post(&suspend, &json!({ "reason": "abuse" })).expect(200);
    assert_error(&grantbook.exchange(&app, &code), 400, "unauthorized_client");
    let guessed = App { secret: Some("guess".to_owned()), ..app };
    assert_error(&grantbook.exchange(&guessed, &code), 401, "invalid_client");
}

#[test]
fn t5_two_secrets_are_good_during_a_rotation() {
    let grantbook = Grantbook::with(&[("SECRETS_ROTATION_OVERLAP", "1h")]);
    let old = grantbook.app();
    let secrets = format!("/apps/{}/secrets", old.client_id);
    let rotated = grantbook.admin().post(&secrets, &json!({})).expect(201);
    let new = App { secret: Some(rotated.text("client_secret")), ..old.clone() };
    for app in [&old, &new] {
        grantbook.exchange(app, &grantbook.code(app)).expect(200);
    }
    grantbook.clock.advance(std::time::Duration::from_secs(60 * 60));
    let code = grantbook.code(&new);
    assert_error(&grantbook.exchange(&old, &code), 401, "invalid_client");
    grantbook.exchange(&new, &code).expect(200);
}

#[test]
fn t6_the_redirect_uri_is_named_again_exactly_if_it_was_sent() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let sent = browser.approve(&app.query(&[("redirect_uri", CALLBACK)])).param("code").unwrap();
    let unsent = grantbook.code(&app);
    assert_error(&grantbook.exchange(&app, &sent), 400, "invalid_grant");
    for code in [&sent, &unsent] {
        for uri in
            ["https://app.example/callback/", "https://app.example/callback?", "https://evil.example/", "x"]
        {
            let reply = grantbook.exchange_with(&app, code, &[("redirect_uri", uri)]);
            assert_error(&reply, 400, "invalid_grant");
        }
    }
    grantbook.exchange_with(&app, &sent, &[("redirect_uri", CALLBACK)]).expect(200);
    grantbook.exchange(&app, &unsent).expect(200);
}

#[test]
fn t7_a_token_is_json_that_no_cache_keeps() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let reply = grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("pragma"), "no-cache");
    let token = reply.text("access_token");
    assert!(token.starts_with("gbt_"), "{token}");
    // And nothing more: a token does not expire unless the app asked for that.
    let facts = grantbook.introspect(&token);
    assert_eq!(
        reply.json(),
        json!({
            "access_token": token, "token_type": "Bearer", "scope": "widgets", "account_id": "acme",
            "installation_id": facts["installation_id"],
        })
    );
    assert!(facts["installation_id"].is_string(), "{facts}");
}

#[test]
fn a_token_expires_only_if_its_app_asked_for_that() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.token_policy.lifetime_seconds = Some(60));
    let (forever, reply) = (grantbook.app(), grantbook.exchange(&app, &grantbook.code(&app)).expect(200));
    let kept = grantbook.token(&forever);
    assert_eq!(reply.json()["expires_in"], 60);
    let token = reply.text("access_token");
    grantbook.clock.advance(std::time::Duration::from_secs(59));
    assert_eq!(grantbook.introspect(&token)["exp"], crate::harness::START.as_secs() + 60);
    grantbook.clock.advance(std::time::Duration::from_secs(1));
    assert!(!grantbook.is_active(&token));
    grantbook.clock.advance(std::time::Duration::from_secs(100 * 365 * 24 * 60 * 60));
    assert!(grantbook.is_active(&kept));
}
