//! `POST /oauth/introspect`: a resource server asks about a token.

use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::{App, Grantbook, START, basic, touched};
use crate::log::Log;

fn asked_with(grantbook: &Grantbook, key: &str, token: &str) -> Reply {
    let authorization = format!("Bearer {key}");
    grantbook.post_with("/oauth/introspect", &[("authorization", &authorization)], &[("token", token)])
}

fn asked_by(grantbook: &Grantbook, app: &App, token: &str) -> Reply {
    grantbook.post("/oauth/introspect", &[&app.credentials()[..], &[("token", token)]].concat())
}

#[test]
fn k3_a_valid_token_is_told_with_all_a_resource_server_needs() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let token = grantbook.token(&app);
    let reply = asked_with(&grantbook, &grantbook.operator("resource").key, &token).expect(200);
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(reply.header("content-type"), "application/json");
    let mut facts = reply.json();
    let mut take = |name: &str| facts.as_object_mut().unwrap().remove(name).unwrap();
    let (token_id, installation_id) = (take("jti"), take("installation_id"));
    assert_eq!(
        facts,
        json!({
            "active": true, "scope": "widgets", "client_id": app.client_id, "token_type": "Bearer",
            "iat": START.as_secs(), "sub": "ana", "iss": grantbook.issuer(), "account_id": "acme",
        })
    );
    // By these two an operator finds it.
    let path = format!("/installations/{}", installation_id.as_str().unwrap());
    assert_eq!(grantbook.admin().get(&path).expect(200).json()["tokens"][0]["token_id"], token_id);
}

#[test]
fn k3_of_anything_not_valid_nothing_is_told_but_that() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let [revoked, uninstalled, suspended, deleted] = std::array::from_fn(|_| {
        let app = grantbook.app();
        let token = grantbook.token(&app);
        (app, token)
    });
    let facts = |token: &str, name: &str| grantbook.introspect(token)[name].as_str().unwrap().to_owned();
    admin.delete(&format!("/tokens/{}", facts(&revoked.1, "jti"))).expect(204);
    admin.delete(&format!("/installations/{}", facts(&uninstalled.1, "installation_id"))).expect(200);
    let reason = json!({ "reason": "abuse" });
    admin.post(&format!("/apps/{}/suspend", suspended.0.client_id), &reason).expect(200);
    admin.delete(&format!("/apps/{}?reason=gone", deleted.0.client_id)).expect(204);

    let app = grantbook.app();
    let (token, code) = (grantbook.token(&app), grantbook.code(&app));
    let touched = touched(&token);
    let secret = app.secret.unwrap();
    let long = "x".repeat(8000);
    let ended = [&revoked, &uninstalled, &suspended, &deleted].map(|(_, token)| token.as_str());
    let never = [&code, &touched, &secret, &grantbook.admin_key, &long, &token[4..], "x", "\u{1f511}"];
    for token in ended.iter().chain(&never) {
        let reply = asked_with(&grantbook, &grantbook.admin_key, token).expect(200);
        assert_eq!(reply.body, r#"{"active":false}"#, "{token}");
    }
    // What is suspended comes back.
    admin.post(&format!("/apps/{}/resume", suspended.0.client_id), &reason).expect(200);
    assert!(grantbook.is_active(&suspended.1));
}

#[test]
fn k3_every_role_may_ask_and_nobody_without_a_key() {
    let grantbook = Grantbook::start();
    let token = grantbook.token(&grantbook.app());
    for role in ["admin", "auditor", "resource"] {
        let reply = asked_with(&grantbook, &grantbook.operator(role).key, &token).expect(200);
        assert_eq!(reply.json()["active"], true, "{role}");
    }
    let registrar = asked_with(&grantbook, &grantbook.operator("registrar").key, &token);
    assert_eq!(registrar.error(), (403, "forbidden".to_owned()));
    let gone = grantbook.operator("resource");
    let keys = grantbook.admin().all("/keys", 10);
    let key_id = keys.last().unwrap()["key_id"].as_str().unwrap();
    grantbook.admin().delete(&format!("/keys/{key_id}?reason=gone")).expect(204);
    for key in [gone.key.as_str(), &token, "gbk_x"] {
        let reply = asked_with(&grantbook, key, &token);
        assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{key}");
        assert_eq!(reply.header("www-authenticate"), "Bearer", "{key}");
    }
    let reply = grantbook.post("/oauth/introspect", &[("token", &token)]);
    assert_eq!(reply.error(), (401, "invalid_client".to_owned()));
    assert!(reply.header("www-authenticate").starts_with("Basic"), "{reply:?}");
    // The key is looked at first: without one, nothing is told of the request.
    let reply = grantbook.post_with("/oauth/introspect", &[("authorization", "Bearer x")], &[]);
    assert_eq!(reply.status, 401);
    let reply = asked_with(&grantbook, &grantbook.admin_key, "");
    assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
}

#[test]
fn k3_a_key_comes_as_a_bearer_as_basic_or_in_the_body() {
    let grantbook = Grantbook::start();
    let token = grantbook.token(&grantbook.app());
    let created = grantbook.admin().post("/keys", &json!({ "name": "api", "role": "resource" })).expect(201);
    let (id, key) = (created.text("key_id"), created.text("key"));
    let other = grantbook.admin().post("/keys", &json!({ "name": "other", "role": "resource" })).expect(201);
    let by_basic = |id: &str, key: &str| {
        let authorization = basic(id, key);
        grantbook.post_with("/oauth/introspect", &[("authorization", &authorization)], &[("token", &token)])
    };
    let by_body = |id: &str, key: &str| {
        let form = [("client_id", id), ("client_secret", key), ("token", token.as_str())];
        grantbook.post("/oauth/introspect", &form)
    };
    for reply in [by_basic(&id, &key), by_body(&id, &key), asked_with(&grantbook, &key, &token)] {
        assert_eq!(reply.expect(200).json()["active"], true);
    }
    let wrong = [("", key.as_str()), (&other.text("key_id"), &key), (&id, &touched(&key)), (&id, "")];
    for (id, key) in wrong {
        for reply in [by_basic(id, key), by_body(id, key)] {
            assert_eq!(reply.error(), (401, "invalid_client".to_owned()), "{id}");
            assert!(reply.header("www-authenticate").starts_with("Basic"), "{reply:?}");
        }
    }
    // By two ways at once, or for two, as a client would be refused (T3).
    let authorization = basic(&id, &key);
    for added in [("client_secret", key.as_str()), ("client_id", &other.text("key_id"))] {
        let form = [("token", token.as_str()), added];
        let reply = grantbook.post_with("/oauth/introspect", &[("authorization", &authorization)], &form);
        assert_eq!(reply.error(), (400, "invalid_request".to_owned()), "{added:?}");
    }
    // Only here is a key a client.
    for path in ["/oauth/token", "/oauth/revoke"] {
        let form = [("client_id", id.as_str()), ("client_secret", &key), ("token", &token), ("code", "x")];
        assert_eq!(grantbook.post(path, &form).error(), (401, "invalid_client".to_owned()));
    }
    grantbook.admin().delete(&format!("/keys/{id}?reason=gone")).expect(204);
    assert_eq!(by_basic(&id, &key).status, 401);
}

#[test]
fn k3_an_app_learns_of_its_own_tokens_only() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app(), grantbook.app());
    let token = grantbook.token(&app);
    let told: Value = asked_by(&grantbook, &app, &token).expect(200).json();
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!(app.client_id)));
    assert_eq!(asked_by(&grantbook, &other, &token).expect(200).body, r#"{"active":false}"#);
    let guessed = App { secret: Some("guess".to_owned()), ..app };
    assert_eq!(asked_by(&grantbook, &guessed, &token).error(), (401, "invalid_client".to_owned()));
}

#[test]
fn k3_an_api_that_asks_as_an_app_is_named_in_the_log_once_in_a_while() {
    Log::listen();
    let grantbook = Grantbook::start();
    let (app, api) = (grantbook.app(), grantbook.app());
    let token = grantbook.token(&app);
    let ask = |token: &str| {
        let reply = asked_by(&grantbook, &api, token).expect(200);
        assert_eq!(reply.body, r#"{"active":false}"#);
        reply
    };
    ask("gbt_nonsense");
    assert_eq!(Log::warnings_with(&api.client_id), [""; 0], "what is no token is nobody's");
    let first = ask(&token);
    (0..20).for_each(|_| drop(ask(&token)));
    let lines = Log::warnings_with(&api.client_id);
    let [line] = &lines[..] else { panic!("{lines:?}") };
    assert!(line.contains("resource") && line.contains(first.header("x-request-id")), "{line}");
    assert!(!line.contains(&token) && !line.contains(&app.client_id), "{line}");
    grantbook.clock.advance(std::time::Duration::from_secs(60 * 60));
    ask(&token);
    assert_eq!(Log::warnings_with(&api.client_id).len(), 2);
}

#[test]
fn k3_who_only_says_who_it_is_learns_nothing() {
    let grantbook = Grantbook::start();
    let public = grantbook.public_app();
    let challenge = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    let verifier = [("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")];
    let code = grantbook.person("ana", "acme").approve(&public.query(&challenge)).param("code").unwrap();
    let token = grantbook.exchange_with(&public, &code, &verifier).expect(200).text("access_token");
    // The id of a public client is no secret: whoever found the token could ask whose it is.
    assert_eq!(asked_by(&grantbook, &public, &token).error(), (401, "invalid_client".to_owned()));
    assert!(grantbook.is_active(&token));
}
