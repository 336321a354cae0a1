//! Apps that sign instead of sending a secret: `private_key_jwt` (RFC 7523) at every endpoint where apps authenticate.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use grantbook::http::oauth::assertion::JWT_BEARER;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::client::{Pairs, Reply};
use crate::harness::{App, CALLBACK, Grantbook, START};

fn key() -> EncodingKey {
    EncodingKey::from_ec_pem(include_bytes!("../../src/identity/testdata/es256.private.pem")).unwrap()
}

fn other_key() -> EncodingKey {
    EncodingKey::from_ec_pem(include_bytes!("../../src/identity/testdata/other-es256.private.pem")).unwrap()
}

fn key_set(key: &EncodingKey) -> Value {
    json!({ "keys": [Jwk::from_encoding_key(key, Algorithm::ES256).unwrap()] })
}

fn new_app(field: &str, value: Value) -> Value {
    let mut app = json!({
        "name": "Signer", "owner": "Sample Owner", "redirect_uris": [CALLBACK], "scopes": ["widgets"],
    });
    app[field] = value;
    app
}

/// An app that has these keys.
fn app_with(grantbook: &Grantbook, field: &str, keys: Value) -> App {
    let reply = grantbook.admin().post("/apps", &new_app(field, keys)).expect(201);
    assert_eq!(reply.json().get("client_secret"), None);
    App { client_id: reply.text("client_id"), secret: None }
}

/// What the app signs for an audience; `jti` makes it another one.
fn assertion(app: &App, key: &EncodingKey, audience: &str, jti: &str) -> String {
    let claims = json!({
        "iss": app.client_id, "sub": app.client_id, "aud": audience, "exp": START.as_secs() + 60, "jti": jti,
    });
    encode(&Header::new(Algorithm::ES256), &claims, key).unwrap()
}

fn post(grantbook: &Grantbook, path: &str, assertion: &str, added: Pairs<'_>) -> Reply {
    let proof = [("client_assertion_type", JWT_BEARER), ("client_assertion", assertion)];
    grantbook.post(path, &[&proof[..], added].concat())
}

#[test]
fn t3_an_app_that_has_keys_signs_at_every_endpoint() {
    let grantbook = Grantbook::start();
    let app = app_with(&grantbook, "jwks", key_set(&key()));
    let issuer = grantbook.issuer();
    let shown = grantbook.admin().get(&format!("/apps/{}", app.client_id)).expect(200).json();
    assert_eq!((&shown["jwks"], &shown["confidential"]), (&key_set(&key()), &json!(true)));

    let pushed = assertion(&app, &key(), &format!("{issuer}/oauth/par"), "1");
    post(&grantbook, "/oauth/par", &pushed, &[("scope", "widgets")]).expect(201);
    let code = grantbook.code(&app);
    let exchange = assertion(&app, &key(), &issuer, "2");
    let named = [("client_id", app.client_id.as_str()), ("code", code.as_str())];
    let token = post(&grantbook, "/oauth/token", &exchange, &named).expect(200).text("access_token");
    let asked = assertion(&app, &key(), &format!("{issuer}/oauth/token"), "3");
    let introspected = post(&grantbook, "/oauth/introspect", &asked, &[("token", &token)]).expect(200);
    assert_eq!(introspected.json()["active"], true);
    let given_back = assertion(&app, &key(), &issuer, "4");
    post(&grantbook, "/oauth/revoke", &given_back, &[("token", &token)]).expect(200);
    assert!(!grantbook.is_active(&token));

    // Each assertion was good once, wherever it is sent.
    for used in [pushed, exchange, asked, given_back] {
        let again = post(&grantbook, "/oauth/revoke", &used, &[("token", &token)]);
        assert_eq!(again.error(), (401, "invalid_client".to_owned()));
        assert!(again.text("error_description").contains("used before"), "{again:?}");
    }
}

#[test]
fn t3_an_assertion_stands_alone_and_names_its_app() {
    let grantbook = Grantbook::start();
    let (app, other) = (app_with(&grantbook, "jwks", key_set(&key())), grantbook.app());
    let issuer = grantbook.issuer();
    let signed = |jti: &str| assertion(&app, &key(), &issuer, jti);
    let error =
        |assertion: &str, added: Pairs<'_>| post(&grantbook, "/oauth/token", assertion, added).error();
    let request = (400, "invalid_request".to_owned());
    let client = (401, "invalid_client".to_owned());
    assert_eq!(error(&signed("1"), &[("client_secret", "hush")]), request);
    assert_eq!(error(&signed("2"), &[("client_id", &other.client_id)]), request);
    assert_eq!(error(&signed("3"), &[("client_assertion", &signed("4"))]), request);
    let both = grantbook.post_with(
        "/oauth/token",
        &[("authorization", &other.basic())],
        &[("client_assertion_type", JWT_BEARER), ("client_assertion", &signed("5"))],
    );
    assert_eq!(both.error(), request);

    assert_eq!(error(&assertion(&app, &other_key(), &issuer, "6"), &[]), client);
    assert_eq!(error(&assertion(&other, &key(), &issuer, "7"), &[]), client, "an app without keys");
    assert_eq!(error(&assertion(&app, &key(), "https://other.example", "8"), &[]), client);
    let nobody = App { client_id: "0".repeat(32), secret: None };
    assert_eq!(error(&assertion(&nobody, &key(), &issuer, "9"), &[]), client);
    assert_eq!(error("nonsense", &[]), client);
    let lone = grantbook.post("/oauth/token", &[("client_assertion", &signed("10"))]);
    assert_eq!(lone.error(), client);
    for secret in ["", "gbs_guessed"] {
        let unsigned = [("client_id", app.client_id.as_str()), ("client_secret", secret), ("code", "x")];
        assert_eq!(grantbook.post("/oauth/token", &unsigned).error(), client, "{secret:?}");
    }
}

#[test]
fn an_app_that_signs_ends_as_any_other() {
    let grantbook = Grantbook::start();
    let (admin, issuer) = (grantbook.admin(), grantbook.issuer());
    let app = app_with(&grantbook, "jwks", key_set(&key()));
    let path = format!("/apps/{}", app.client_id);
    let error = |key: &EncodingKey, jti: &str| {
        post(&grantbook, "/oauth/revoke", &assertion(&app, key, &issuer, jti), &[("token", "x")]).error().1
    };
    admin.post(&format!("{path}/suspend"), &json!({ "reason": "a test" })).expect(200);
    assert_eq!(error(&key(), "1"), "unauthorized_client");
    assert_eq!(error(&other_key(), "2"), "invalid_client", "only the app learns that it is suspended");
    admin.post(&format!("{path}/resume"), &json!({ "reason": "a test" })).expect(200);
    admin.patch(&path, &json!({ "jwks": key_set(&other_key()) })).expect(200);
    assert_eq!(error(&key(), "3"), "invalid_client");
    post(&grantbook, "/oauth/revoke", &assertion(&app, &other_key(), &issuer, "4"), &[("token", "x")])
        .expect(200);
    admin.delete(&format!("{path}?reason=test")).expect(204);
    assert_eq!(error(&other_key(), "5"), "invalid_client");
}

#[test]
fn keys_are_public_and_there_is_one_place_for_them() {
    let grantbook = Grantbook::start();
    let mut private = key_set(&key());
    private["keys"][0]["d"] = "AAAA".into();
    for (field, value, says) in [
        ("jwks", private, "public keys only"),
        ("jwks", json!({ "keys": [] }), "1 to 10 keys"),
        ("jwks", json!("keys"), "an array of objects called keys"),
        ("jwks_uri", json!("http://keys.example/"), "https URL"),
    ] {
        let refused = grantbook.admin().post("/apps", &new_app(field, value.clone()));
        assert_eq!(refused.status, 400, "{value}");
        assert!(refused.body.contains(field) && refused.body.contains(says), "{refused:?}");
    }
    let mut both = new_app("jwks", key_set(&key()));
    both["jwks_uri"] = "https://keys.example/".into();
    assert!(grantbook.admin().post("/apps", &both).body.contains("beside jwks_uri"));
}

/// Serves a key set to one who asks.
fn serve_once(set: &Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/jwk-set+json\r\nConnection: close";
    let body = set.to_string();
    let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(answer.as_bytes());
    });
    url
}

#[test]
fn x1_keys_at_a_url_are_fetched_where_the_server_may_go() {
    let grantbook = Grantbook::with(&[("OUTBOUND_ALLOW", "127.0.0.1"), ("SIGN_IN_MODE", "none")]);
    let issuer = grantbook.issuer();
    let app = app_with(&grantbook, "jwks_uri", serve_once(&key_set(&key())).into());
    for jti in ["1", "2"] {
        let signed = assertion(&app, &key(), &issuer, jti);
        post(&grantbook, "/oauth/revoke", &signed, &[("token", "x")]).expect(200);
    }
    let trap = TcpListener::bind("127.0.0.2:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    for url in [format!("https://127.0.0.2:{port}/"), "https://169.254.169.254/".to_owned()] {
        let app = app_with(&grantbook, "jwks_uri", url.into());
        let refused =
            post(&grantbook, "/oauth/revoke", &assertion(&app, &key(), &issuer, "1"), &[("token", "x")]);
        assert_eq!(refused.error(), (401, "invalid_client".to_owned()));
        assert!(refused.text("error_description").contains("jwks_uri must lead to port 443"), "{refused:?}");
    }
    assert!(trap.accept().is_err(), "nothing came");
}
