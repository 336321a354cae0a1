//! `/oauth/register`: an app registers itself and manages its registration.

use std::time::Duration;

use grantbook_events::{ActorKind, AppEvent, AppSource, Event};
use serde_json::{Value, json};

use crate::client::{Pairs, Reply};
use crate::harness::{App, CALLBACK, Grantbook, touched};

const PATH: &str = "/oauth/register";

fn send(grantbook: &Grantbook, method: &str, path: &str, token: Option<&str>, body: Option<&Value>) -> Reply {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers: Vec<(&str, &str)> = vec![];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    headers.extend(body.map(|_| ("content-type", "application/json")));
    let body = body.map(Value::to_string);
    grantbook.send(method, path, &headers, body.as_deref().map(str::as_bytes))
}

fn register(grantbook: &Grantbook, token: Option<&str>, metadata: &Value) -> Reply {
    send(grantbook, "POST", PATH, token, Some(metadata))
}

pub fn agent() -> Value {
    json!({ "client_name": "Agent", "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none" })
}

pub fn with(name: &str, value: impl Into<Value>) -> Value {
    let mut metadata = agent();
    metadata[name] = value.into();
    metadata
}

/// An app of the configuration's kind, and the token for its registration.
#[track_caller]
pub fn registered(grantbook: &Grantbook, metadata: &Value) -> (App, String) {
    let reply = register(grantbook, None, metadata).expect(201);
    let secret = reply.json()["client_secret"].as_str().map(str::to_owned);
    (App { client_id: reply.text("client_id"), secret }, reply.text("registration_access_token"))
}

/// JSON that no cache keeps.
#[track_caller]
fn assert_refused(reply: &Reply, status: u16, code: &str, says: &str) {
    assert_eq!(reply.error(), (status, code.to_owned()), "{reply:?}");
    assert!(reply.text("error_description").contains(says), "{reply:?}");
    assert_eq!(
        (reply.header("content-type"), reply.header("cache-control")),
        ("application/json", "no-store")
    );
}

#[track_caller]
fn assert_challenged(reply: &Reply) {
    assert_refused(reply, 401, "invalid_token", "Authorization: Bearer");
    assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"grantbook\", error=\"invalid_token\"");
}

#[test]
fn d1_an_app_registers_itself_and_a_person_installs_it() {
    let grantbook = Grantbook::start();
    let before = grantbook.events().len();
    let mut metadata = agent();
    metadata["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials"]);
    metadata["software_id"] = json!("4711");
    metadata["contacts"] = json!(["ana@app.example"]);
    metadata["client_uri"] = json!("https://app.example/about");
    let reply = register(&grantbook, None, &metadata).expect(201);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    let (client_id, token) = (reply.text("client_id"), reply.text("registration_access_token"));
    let uri = format!("{}{PATH}/{client_id}", grantbook.issuer());
    assert_eq!(
        reply.json(),
        json!({
            "client_id": client_id,
            "client_id_issued_at": 1_767_323_045,
            "registration_client_uri": uri,
            "registration_access_token": token,
            "client_name": "Agent",
            "client_uri": "https://app.example/about",
            "redirect_uris": [CALLBACK],
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "scope": "widgets faqs contacts conversations",
        })
    );
    assert!(token.starts_with("gba_") && token.len() == 53, "{token}");
    let events = grantbook.events();
    assert_eq!(events.len(), before + 1);
    let recorded = events.last().unwrap();
    let Event::App(AppEvent::Registered(event)) = &recorded.event else { panic!("{recorded:?}") };
    assert_eq!((&event.source, event.owner.as_str()), (&AppSource::Open, "app.example"));
    let actor = &recorded.envelope.actor;
    assert_eq!((actor.kind, actor.id.as_str()), (ActorKind::App, client_id.as_str()));
    assert!(!format!("{events:?}").contains(&token) && !format!("{events:?}").contains("ana@"));

    let app = App { client_id, secret: None };
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let pkce: Pairs<'_> = &[("code_challenge", challenge), ("code_challenge_method", "S256")];
    let code = grantbook.person("ana", "acme").approve(&app.query(pkce)).expect(303).param("code").unwrap();
    let pair = grantbook.exchange_with(&app, &code, &[("code_verifier", verifier)]).expect(200).json();
    assert_eq!(pair["expires_in"], 3600);
    assert!(pair["refresh_token"].is_string(), "{pair}");
}

#[test]
fn d1_what_says_nothing_gets_what_is_allowed_and_its_answer_says_so() {
    let grantbook = Grantbook::start();
    let reply =
        register(&grantbook, None, &json!({ "redirect_uris": ["http://localhost:3000/cb"] })).expect(201);
    let known = reply.json();
    assert_eq!(known["client_name"], "localhost:3000");
    assert_eq!(known["token_endpoint_auth_method"], "none", "no secret where none is allowed");
    assert_eq!(known["grant_types"], json!(["authorization_code"]));
    assert!(known["client_secret"].is_null() && known["client_secret_expires_at"].is_null(), "{known}");
    let shown = grantbook.admin().get(&format!("/apps/{}", reply.text("client_id"))).expect(200).json();
    assert_eq!(shown["token_policy"], json!({ "lifetime_seconds": 90 * 24 * 60 * 60 }), "no token for ever");
    assert_eq!((&shown["source"], &shown["confidential"]), (&json!({ "by": "open" }), &json!(false)));

    let any = Grantbook::with(&[("REGISTRATION_CLIENTS", "any")]);
    let known = register(&any, None, &json!({ "redirect_uris": [CALLBACK] })).expect(201).json();
    assert_eq!(known["token_endpoint_auth_method"], "client_secret_basic", "the default of RFC 7591");
    assert_eq!(known["client_secret_expires_at"], 0);
    let (app, _) = registered(&any, &with("token_endpoint_auth_method", "client_secret_post"));
    any.token(&app);
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": "A".repeat(43) }] });
    let mut signs = with("token_endpoint_auth_method", "private_key_jwt");
    signs["jwks"] = keys.clone();
    let known = register(&any, None, &signs).expect(201).json();
    assert_eq!((&known["jwks"], &known["client_secret"]), (&keys, &Value::Null));
}

#[test]
fn d1_wrong_metadata_is_refused_and_says_what_would_be_right() {
    let grantbook = Grantbook::with(&[("REGISTRATION_CLIENTS", "any")]);
    let before = grantbook.events().len();
    for (metadata, says) in [
        (with("client_name", "a\u{202e}b"), "client_name: must be 1 to 100 characters"),
        (with("client_name", 1), "client_name: invalid type"),
        (with("client_uri", "javascript:alert(1)"), "client_uri: must be an https address"),
        (with("token_endpoint_auth_method", "tls_client_auth"), "must be one of none, client_secret_basic"),
        (with("token_endpoint_auth_method", "private_key_jwt"), "jwks: must be there"),
        (with("token_endpoint_auth_signing_alg", "HS256"), "must be one of ES256"),
        (with("grant_types", json!(["implicit"])), "must have authorization_code"),
        (with("response_types", json!(["token"])), "must have code"),
        (with("scope", "openid"), "widgets"),
        (json!("x"), "invalid type"),
    ] {
        let reply = register(&grantbook, None, &metadata);
        assert_refused(&reply, 400, "invalid_client_metadata", says);
    }
    for (uris, says) in [
        (json!([]), "must be 1 to 20 URIs"),
        (json!(["http://app.example/cb"]), "must use https"),
        (json!(["https://app.example/cb#x"]), "fragment"),
        (json!([CALLBACK, CALLBACK]), "twice"),
    ] {
        assert_refused(
            &register(&grantbook, None, &with("redirect_uris", uris)),
            400,
            "invalid_redirect_uri",
            says,
        );
    }
    let form = grantbook.post(PATH, &[("client_name", "x")]);
    assert_refused(&form, 415, "invalid_request", "application/json");
    assert_eq!(grantbook.get(PATH).error(), (405, "invalid_request".to_owned()));
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn d1_registration_is_off_unless_it_is_configured_and_needs_a_token_if_that_says_so() {
    let off = Grantbook::with(&[("REGISTRATION_MODE", "off")]);
    assert_refused(&register(&off, None, &agent()), 403, "access_denied", "do not register themselves here");
    let metadata = |grantbook: &Grantbook| grantbook.get("/.well-known/oauth-authorization-server").json();
    assert!(metadata(&off)["registration_endpoint"].is_null());
    let unsaid = Grantbook::with(&[("SIGN_IN_MODE", "none")]);
    assert_refused(&register(&unsaid, None, &agent()), 403, "access_denied", "operator");

    let grantbook = Grantbook::with(&[("REGISTRATION_MODE", "token")]);
    let endpoint = format!("{}{PATH}", grantbook.issuer());
    assert_eq!(metadata(&grantbook)["registration_endpoint"], endpoint);
    let (registrar, resource) = (grantbook.operator("registrar"), grantbook.operator("resource"));
    let before = grantbook.events().len();
    assert_challenged(&register(&grantbook, None, &agent()));
    for wrong in [&touched(&registrar.key)[..], &resource.key, &grantbook.admin_key, "gbk_x", ""] {
        assert_challenged(&register(&grantbook, Some(wrong), &agent()));
    }
    for path in ["/apps", "/keys", "/audit/events"] {
        registrar.get(path).problem(403, "forbidden");
    }
    assert_eq!(grantbook.events().len(), before);

    register(&grantbook, Some(&registrar.key), &agent()).expect(201);
    let events = grantbook.events();
    let recorded = events.last().unwrap();
    let Event::App(AppEvent::Registered(event)) = &recorded.event else { panic!("{recorded:?}") };
    let key_id = grantbook.admin().all("/keys", 9)[0]["key_id"].as_str().unwrap().to_owned();
    assert_eq!(event.source, AppSource::InitialAccessToken(key_id.parse().unwrap()));
    assert_eq!((recorded.envelope.actor.kind, &recorded.envelope.actor.id), (ActorKind::Operator, &key_id));
    grantbook.admin().delete(&format!("/keys/{key_id}?reason=done")).expect(204);
    assert_challenged(&register(&grantbook, Some(&registrar.key), &agent()));
}

#[test]
fn d2_an_app_gets_only_what_the_policy_allows() {
    let grantbook = Grantbook::with(&[
        ("REGISTRATION_SCOPES", "faqs,widgets"),
        ("REGISTRATION_REDIRECT_HOSTS", "app.example"),
    ]);
    let scope = |scope: &str| register(&grantbook, None, &with("scope", scope)).expect(201).text("scope");
    assert_eq!(scope(""), "widgets faqs");
    assert_eq!(scope("faqs contacts everything"), "faqs", "what it may not have is left out");
    let refused = register(&grantbook, None, &with("scope", "contacts"));
    assert_refused(&refused, 400, "invalid_client_metadata", "scope: must have some of the scopes");
    // The MCP SDK registers the scope of its first request, and asks for more when an API says so.
    let (app, _) = registered(&grantbook, &with("scope", "widgets"));
    let ana = grantbook.person("ana", "acme");
    for (scope, shown) in [("", "widgets"), ("&scope=faqs", "faqs")] {
        let challenge =
            "code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";
        let page =
            ana.get(&format!("/oauth/authorize?client_id={}&{challenge}{scope}", app.client_id)).expect(200);
        assert_eq!(page.body.matches("<code>").count(), 1, "{page:?}");
        assert!(page.body.contains(&format!("<code>{shown}</code>")), "{page:?}");
    }
    for right in ["http://127.0.0.1/cb", "com.example.agent:/cb"] {
        register(&grantbook, None, &with("redirect_uris", json!([CALLBACK, right]))).expect(201);
    }
    for wrong in
        ["https://other.example/cb", "https://app.example.evil.example/cb", "https://www.app.example/"]
    {
        let refused = register(&grantbook, None, &with("redirect_uris", json!([CALLBACK, wrong])));
        assert_refused(&refused, 400, "invalid_redirect_uri", "may not register themselves here");
    }
    let (app, _) = registered(&grantbook, &with("client_uri", "https://other.example/"));
    let shown = grantbook.admin().get(&format!("/apps/{}", app.client_id)).expect(200).json();
    assert!(shown["homepage"].is_null(), "a page that nobody has checked is not linked: {shown}");

    let but_one = Grantbook::with(&[("REGISTRATION_REDIRECT_HOSTS", "any,!app.example")]);
    assert_eq!(register(&but_one, None, &agent()).error().1, "invalid_redirect_uri");
    let below = with("redirect_uris", json!(["https://www.app.example/"]));
    assert_eq!(register(&but_one, None, &below).error().1, "invalid_redirect_uri");
    register(&but_one, None, &with("redirect_uris", json!(["https://other.example/"]))).expect(201);
}

#[test]
fn d2_so_many_apps_register_themselves_in_a_minute() {
    let grantbook = Grantbook::with(&[("REGISTRATION_PER_MINUTE", "4")]);
    for _ in 0..2 {
        register(&grantbook, None, &agent()).expect(201);
        register(&grantbook, None, &with("scope", "nothing")).expect(400);
    }
    let refused = register(&grantbook, None, &agent());
    assert_refused(&refused, 429, "too_many_requests", "wait");
    assert_eq!(refused.header("retry-after"), "60");
    // Who has a token is known.
    register(&grantbook, Some(&grantbook.operator("registrar").key), &agent()).expect(201);
    grantbook.clock.advance(Duration::from_secs(60));
    register(&grantbook, None, &agent()).expect(201);
}

#[test]
fn d3_an_app_reads_changes_and_deletes_its_own_registration() {
    let grantbook = Grantbook::start();
    let (app, token) = registered(&grantbook, &agent());
    let path = format!("{PATH}/{}", app.client_id);
    let ask = |method: &str, body: Option<&Value>| send(&grantbook, method, &path, Some(&token), body);
    let known = ask("GET", None).expect(200);
    assert_eq!(
        (known.text("client_name"), known.text("client_id")),
        ("Agent".to_owned(), app.client_id.clone())
    );
    assert!(!known.body.contains("gba_"), "the token is shown once: {known:?}");

    let mut new = with("client_name", "Other");
    new["client_id"] = json!(app.client_id);
    new["scope"] = json!("faqs");
    new["grant_types"] = json!(["authorization_code", "refresh_token"]);
    new["client_secret_expires_at"] = json!(0);
    let changed = ask("PUT", Some(&new)).expect(200).json();
    assert_eq!((&changed["client_name"], &changed["scope"]), (&json!("Other"), &json!("faqs")));
    assert_eq!(changed["grant_types"], json!(["authorization_code", "refresh_token"]));
    assert_eq!(ask("GET", None).expect(200).json(), changed);
    for (metadata, code) in [
        (with("client_id", "0b5c4d7e-6a43-4b0f-9e57-0b8b8f3a2d11"), "invalid_request"),
        (with("client_secret", "gbs_x"), "invalid_request"),
        (with("scope", "everything"), "invalid_client_metadata"),
        (with("redirect_uris", json!(["http://app.example/"])), "invalid_redirect_uri"),
    ] {
        assert_eq!(ask("PUT", Some(&metadata)).error(), (400, code.to_owned()), "{metadata}");
    }
    assert_eq!(ask("GET", None).expect(200).json(), changed);

    ask("DELETE", None).expect(204);
    for method in ["GET", "DELETE"] {
        assert_challenged(&ask(method, None));
    }
    let events = grantbook.events();
    let recorded = events.last().unwrap();
    assert!(matches!(recorded.event, Event::App(AppEvent::Deleted(_))), "{recorded:?}");
    assert_eq!((recorded.envelope.actor.kind, &recorded.envelope.actor.id), (ActorKind::App, &app.client_id));
}

#[test]
fn d3_nobody_else_manages_it_and_an_unknown_app_is_like_a_wrong_token() {
    let grantbook = Grantbook::start();
    let ((app, token), (_, other)) = (registered(&grantbook, &agent()), registered(&grantbook, &agent()));
    let of_operator = grantbook.app().client_id;
    let before = grantbook.events().len();
    let mut refused = Vec::new();
    for (client_id, token) in [
        (app.client_id.as_str(), None),
        (&app.client_id, Some(other.as_str())),
        (&app.client_id, Some(&touched(&token))),
        (&app.client_id, Some(&grantbook.admin_key)),
        (&of_operator, Some(&token)),
        (&of_operator, Some("")),
        ("0b5c4d7e-6a43-4b0f-9e57-0b8b8f3a2d11", Some(&token)),
        ("x", Some(&token)),
    ] {
        for (method, body) in [("GET", None), ("PUT", Some(agent())), ("DELETE", None)] {
            let reply = send(&grantbook, method, &format!("{PATH}/{client_id}"), token, body.as_ref());
            assert_challenged(&reply);
            refused.push(reply.body);
        }
    }
    refused.dedup();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn d3_a_suspended_app_does_not_manage_itself_out_of_it() {
    let grantbook = Grantbook::start();
    let (app, token) = registered(&grantbook, &agent());
    let reason = json!({ "reason": "looks wrong" });
    grantbook.admin().post(&format!("/apps/{}/suspend", app.client_id), &reason).expect(200);
    let before = grantbook.events().len();
    for (method, body) in [("GET", None), ("PUT", Some(agent())), ("DELETE", None)] {
        let reply =
            send(&grantbook, method, &format!("{PATH}/{}", app.client_id), Some(&token), body.as_ref());
        assert_refused(&reply, 403, "access_denied", "only an operator can change it now");
    }
    assert_eq!(grantbook.events().len(), before);
}
