//! `POST /oauth/revoke`: an app gives a token back.

use crate::client::{Reply, encode};
use crate::harness::{App, Grantbook, touched};

fn revoke(grantbook: &Grantbook, app: &App, token: &str) -> Reply {
    grantbook.post("/oauth/revoke", &[&app.credentials()[..], &[("token", token)]].concat())
}

#[test]
fn k3_a_revoked_token_is_known_to_be_by_the_next_question() {
    let grantbook = Grantbook::start();
    for app in [grantbook.app(), grantbook.public_app()] {
        let challenge = [
            ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
            ("code_challenge_method", "S256"),
        ];
        let verifier = [("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")];
        let browser = grantbook.person("ana", "acme");
        let mut tokens = (0..2).map(|_| {
            let code = browser.approve(&app.query(&challenge)).param("code").unwrap();
            grantbook.exchange_with(&app, &code, &verifier).expect(200).text("access_token")
        });
        let (token, other) = (tokens.next().unwrap(), tokens.next().unwrap());
        let reply = revoke(&grantbook, &app, &token).expect(200);
        assert_eq!((reply.body.as_str(), reply.header("cache-control")), ("{}", "no-store"));
        assert_eq!(reply.header("content-type"), "application/json");
        assert!(!grantbook.is_active(&token));
        assert!(grantbook.is_active(&other));
        // Once more is no error, and nothing more is recorded.
        let before = grantbook.events().len();
        revoke(&grantbook, &app, &token).expect(200);
        assert_eq!(grantbook.events().len(), before);
    }
}

#[test]
fn k3_the_client_authenticates_to_revoke() {
    let grantbook = Grantbook::start();
    let (app, public) = (grantbook.app(), grantbook.public_app());
    let token = grantbook.token(&app);
    let guessed = App { secret: Some("guess".to_owned()), ..app.clone() };
    let unnamed = App { secret: None, ..app.clone() };
    for app in [&guessed, &unnamed] {
        let reply = revoke(&grantbook, app, &token);
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
        assert!(reply.header("www-authenticate").starts_with("Basic"), "{reply:?}");
    }
    let bearer = format!("Bearer {}", grantbook.admin_key);
    for authorization in [bearer.as_str(), &format!("Bearer {token}"), &guessed.basic()] {
        let reply =
            grantbook.post_with("/oauth/revoke", &[("authorization", authorization)], &[("token", &token)]);
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
        assert!(reply.header("www-authenticate").starts_with("Basic"), "{reply:?}");
    }
    assert_eq!(grantbook.post("/oauth/revoke", &[("token", &token)]).status, 401);
    revoke(&grantbook, &public, &token).expect(200);
    assert!(grantbook.is_active(&token));

    let by_header = [("authorization", app.basic())];
    let by_header = by_header.each_ref().map(|(name, value)| (*name, value.as_str()));
    grantbook.post_with("/oauth/revoke", &by_header, &[("token", &token)]).expect(200);
    assert!(!grantbook.is_active(&token));
}

#[test]
fn k3_never_another_clients_token() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app(), grantbook.app());
    let token = grantbook.token(&app);
    let before = grantbook.events().len();
    let others = revoke(&grantbook, &other, &token).expect(200);
    let unknown = revoke(&grantbook, &other, "no-such-token").expect(200);
    // Whose it is cannot be told from the answer.
    assert_eq!((others.body, others.headers.len()), (unknown.body, unknown.headers.len()));
    assert!(grantbook.is_active(&token));
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn k3_what_is_no_token_is_revoked_already() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (token, code) = (grantbook.token(&app), grantbook.code(&app));
    let before = grantbook.events().len();
    let touched = touched(&token);
    let long = "x".repeat(8000);
    for no_token in ["x", &long, &code, &touched, &token[4..], &token.to_uppercase()] {
        revoke(&grantbook, &app, no_token).expect(200);
    }
    assert_eq!(grantbook.events().len(), before);
    let missing = grantbook.post("/oauth/revoke", &app.credentials());
    assert_eq!(missing.error(), (400, "invalid_request".to_owned()));
    let twice = [&app.credentials()[..], &[("token", &token), ("token", &token)]].concat();
    assert_eq!(grantbook.post("/oauth/revoke", &twice).error(), (400, "invalid_request".to_owned()));
    // What the hint says changes nothing (RFC 7009 section 2.1).
    for (token, hint) in [(token, "refresh_token"), (grantbook.token(&app), "no-such-hint")] {
        assert!(grantbook.is_active(&token));
        let form = [&app.credentials()[..], &[("token", token.as_str()), ("token_type_hint", hint)]].concat();
        grantbook.post("/oauth/revoke", &form).expect(200);
        assert!(!grantbook.is_active(&token), "{hint}");
    }
    // The code that was not spent is still good: it is no token.
    grantbook.exchange(&app, &code).expect(200);
}

#[test]
fn k3_a_token_dies_also_if_what_is_in_the_body_is_in_the_uri_again() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let token = grantbook.token(&app);
    let form = [&app.credentials()[..], &[("token", token.as_str())]].concat();
    let query = encode(&form);
    // What is in the URI only counts for nothing: it is in every log on the way.
    for incomplete in [&form[..2], &form[2..], &[]] {
        let reply = grantbook.post(&format!("/oauth/revoke?{query}"), incomplete);
        assert!([400, 401].contains(&reply.status), "{reply:?}");
        assert!(reply.text("error_description").contains("in the body"), "{reply:?}");
        assert!(grantbook.is_active(&token));
    }
    let kind = [("content-type", "text/plain")];
    grantbook.send("POST", &format!("/oauth/revoke?{query}"), &kind, Some(query.as_bytes())).expect(415);
    assert!(grantbook.is_active(&token));
    grantbook.post(&format!("/oauth/revoke?{query}"), &form).expect(200);
    assert!(!grantbook.is_active(&token));
}
