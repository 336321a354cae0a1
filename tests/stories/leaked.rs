//! `POST /oauth/leaked`: a token that was found where it should not be.

use std::collections::BTreeSet;
use std::time::Duration;

use grantbook::http::oauth::rate_limits::UNMATCHED_REPORTS_PER_MINUTE;
use grantbook::secrets;
use grantbook_events::{ActorKind, Event, InstallationEvent, RefreshPolicy, RevocationReason, TokenPolicy};
use serde_json::{Value, json};

use crate::client::{Reply, encode};
use crate::harness::{Grantbook, touched};
use crate::log::Log;

const PATH: &str = "/oauth/leaked";

fn reported(grantbook: &Grantbook, token: &str) -> Reply {
    grantbook.post(PATH, &[("token", token)])
}

/// All of a reply that could tell one report from another.
fn all_of(reply: &Reply) -> String {
    let is_the_same = |name: &str| !matches!(name, "date" | "x-request-id");
    let headers = reply.headers.iter().filter(|(name, _)| is_the_same(name.as_str()));
    let headers: BTreeSet<String> = headers.map(|header| format!("{header:?}")).collect();
    format!("{} {headers:?} {}", reply.status, reply.body)
}

#[test]
fn l1_anyone_ends_a_token_by_reporting_it() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (token, other) = (grantbook.token(&app), grantbook.token(&app));
    let token_id = grantbook.introspect(&token)["jti"].as_str().unwrap().to_owned();
    let reply = reported(&grantbook, &token).expect(200);
    assert_eq!((reply.body.as_str(), reply.header("content-type")), ("{}", "application/json"));
    assert_eq!((grantbook.is_active(&token), grantbook.is_active(&other)), (false, true));
    let events = grantbook.events();
    let last = events.last().unwrap();
    let Event::Installation(InstallationEvent::TokenRevoked(ended)) = &last.event else { panic!("{last:?}") };
    assert_eq!((ended.token_id.to_string(), ended.reason), (token_id.clone(), RevocationReason::Leaked));
    // Nobody is known to have done it, and the request has a name.
    assert_eq!(
        (last.envelope.actor.kind, last.envelope.actor.id.as_str()),
        (ActorKind::System, "leak-report")
    );
    assert_eq!(last.envelope.request_id.as_str(), reply.header("x-request-id"));
    let why = grantbook.admin().get(&format!("/audit/token/{token_id}")).expect(200).text("why");
    assert!(why.ends_with("was revoked by grantbook (leak-report), because it had leaked."), "{why}");
    // Also where its app is suspended: it would come back with the app.
    let reason = json!({ "reason": "abuse" });
    grantbook.admin().post(&format!("/apps/{}/suspend", app.client_id), &reason).expect(200);
    reported(&grantbook, &format!("{other}\n")).expect(200);
    grantbook.admin().post(&format!("/apps/{}/resume", app.client_id), &reason).expect(200);
    assert!(!grantbook.is_active(&other));
}

/// An app with refresh tokens, an access and a refresh token of one grant, and the refresh token that follows it.
fn refreshed(grantbook: &Grantbook) -> (String, [String; 3]) {
    let refresh = RefreshPolicy { idle_seconds: None, lifetime_seconds: None };
    let app = grantbook.app_with(|app| {
        app.token_policy = TokenPolicy { lifetime_seconds: Some(3600), refresh: Some(refresh) };
    });
    let first = grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
    let spent = first.text("refresh_token");
    let form = [("grant_type", "refresh_token"), ("refresh_token", spent.as_str())];
    let next = grantbook.post("/oauth/token", &[&app.credentials()[..], &form].concat()).expect(200);
    (app.client_id, [next.text("access_token"), spent, next.text("refresh_token")])
}

#[test]
fn l1_a_reported_refresh_token_ends_its_grant() {
    let grantbook = Grantbook::start();
    for leaked in [1, 2] {
        let (client_id, tokens) = refreshed(&grantbook);
        assert!(grantbook.is_active(&tokens[0]));
        // Its access token ends alone.
        if leaked == 2 {
            reported(&grantbook, &tokens[0]).expect(200);
            let installed = grantbook.admin().get(&format!("/installations?app={client_id}")).json();
            assert_eq!(installed["items"][0]["installed"], true);
        }
        reported(&grantbook, &tokens[leaked]).expect(200);
        assert!(!grantbook.is_active(&tokens[0]));
        let installed = grantbook.admin().get(&format!("/installations?app={client_id}")).json();
        assert_eq!(installed["items"][0]["installed"], false, "{installed}");
        let events = grantbook.events();
        let last = &events.last().unwrap().event;
        let Event::Installation(InstallationEvent::GrantRevoked(ended)) = last else { panic!("{last:?}") };
        assert_eq!(ended.reason, RevocationReason::Leaked);
    }
    // However many reports match nothing.
    let (_, tokens) = refreshed(&grantbook);
    for _ in 0..=UNMATCHED_REPORTS_PER_MINUTE {
        reported(&grantbook, "x");
    }
    assert_eq!(reported(&grantbook, "x").status, 429);
    reported(&grantbook, &tokens[2]).expect(200);
    assert_eq!(reported(&grantbook, &tokens[2]).status, 429, "it matches nothing any more");
    assert!(!grantbook.is_active(&tokens[0]));
}

#[test]
fn an_operator_ends_the_grant_of_a_leaked_refresh_token() {
    let grantbook = Grantbook::start();
    for leaked in [1, 2] {
        let (_, tokens) = refreshed(&grantbook);
        let ended = grantbook.admin().post("/tokens/leaked", &json!({ "token": tokens[leaked] })).expect(200);
        assert_eq!((ended.text("state"), ended.text("user_id")), ("ended".to_owned(), "ana".to_owned()));
        assert!(!grantbook.is_active(&tokens[0]));
        let asked = grantbook.admin().post("/audit/token", &json!({ "token": tokens[leaked] })).expect(200);
        assert_eq!((asked.text("why"), asked.text("state")), (ended.text("why"), "ended".to_owned()));
    }
}

#[test]
fn l1_the_answer_is_the_same_for_everything() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (token, code, unused) = (grantbook.token(&app), grantbook.code(&app), grantbook.code(&app));
    let belongs_nowhere = secrets::mint_token(secrets::locate_token(&token).unwrap());
    let first = all_of(&reported(&grantbook, &token));
    let before = grantbook.events().len();
    let (changed, long) = (touched(&token), "x".repeat(8000));
    let operator = grantbook.operator("resource").key;
    let secret = app.secret.as_deref().unwrap();
    for sent in
        [&token, belongs_nowhere.expose(), &changed, &code, secret, &operator, "x", "\u{1f511}", &long]
    {
        assert_eq!(all_of(&reported(&grantbook, sent)), first, "{sent}");
    }
    let uri = grantbook.post(&format!("{PATH}?token={token}"), &[("token", &token)]);
    assert_eq!(all_of(&uri), first);
    // The key of an operator is an event; the reports are none, and what is not a token goes on.
    assert_eq!(grantbook.events().len(), before + 1);
    grantbook.exchange(&app, &unused).expect(200);
    for (form, status) in [(&[][..], 400), (&[("token", "")], 400), (&[("token", "x"), ("token", "x")], 400)]
    {
        assert_eq!(grantbook.post(PATH, form).error(), (status, "invalid_request".to_owned()));
    }
    assert_eq!(grantbook.post(&format!("{PATH}?token={token}"), &[]).status, 400);
    assert_eq!(grantbook.get(PATH).error(), (405, "invalid_request".to_owned()));
}

#[test]
fn l1_reports_that_match_no_token_are_limited_and_keep_no_other_out() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (token, other) = (grantbook.token(&app), grantbook.token(&app));
    let unknown = secrets::mint_token(secrets::locate_token(&token).unwrap());
    for _ in 0..UNMATCHED_REPORTS_PER_MINUTE {
        reported(&grantbook, unknown.expose()).expect(200);
    }
    grantbook.clock.advance(Duration::from_secs(20));
    let refused = reported(&grantbook, "anything");
    assert_eq!(refused.error(), (429, "too_many_requests".to_owned()));
    assert_eq!((refused.header("retry-after"), refused.header("cache-control")), ("40", "no-store"));
    reported(&grantbook, &token).expect(200);
    assert_eq!((grantbook.is_active(&token), grantbook.is_active(&other)), (false, true));
    grantbook.clock.advance(Duration::from_secs(40));
    reported(&grantbook, "anything").expect(200);
}

#[test]
fn l1_a_client_secret_or_an_operator_key_is_named_in_the_log() {
    Log::listen();
    let grantbook = Grantbook::start();
    let (app, operator) = (grantbook.app(), grantbook.operator("auditor"));
    let key_id = grantbook.admin().all("/keys", 9)[0]["key_id"].as_str().unwrap().to_owned();
    let secret = app.secret.as_deref().unwrap();
    for (leaked, name) in [(secret, &app.client_id), (operator.key.as_str(), &key_id)] {
        let reply = reported(&grantbook, leaked).expect(200);
        let lines = Log::warnings_with(name);
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.contains("was reported as leaked") && !line.contains(leaked), "{line}");
        assert!(line.contains(reply.header("x-request-id")), "{line}");
    }
    // Both go on until an operator has replaced them.
    operator.get("/keys").expect(200);
    grantbook.exchange(&app, &grantbook.code(&app)).expect(200);
}

#[test]
fn an_operator_ends_a_leaked_token_by_itself_and_learns_whose_it_was() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let (token, never) = (grantbook.token(&app), touched(&grantbook.token(&app)));
    let token_id = grantbook.introspect(&token)["jti"].clone();
    let found = json!({ "token": token, "note": "in a public repository" });
    grantbook.operator("auditor").post("/tokens/leaked", &found).problem(403, "forbidden");
    assert!(grantbook.is_active(&token));
    let ended = admin.post("/tokens/leaked", &found).expect(200).json();
    let of = |name: &str| -> &Value { &ended[name] };
    assert_eq!((of("token_id"), of("valid"), of("state")), (&token_id, &json!(false), &json!("ended")));
    assert_eq!(
        (of("account_id"), of("user_id"), of("client_id")),
        (&json!("acme"), &json!("ana"), &json!(app.client_id))
    );
    let why = of("why").as_str().unwrap();
    assert!(why.contains("because it had leaked. Reason: in a public repository."), "{why}");
    assert!(!grantbook.is_active(&token));
    // Once more is not wrong, and nothing more happens.
    let before = grantbook.events().len();
    assert_eq!(
        &admin.post("/tokens/leaked", &json!({ "token": token })).expect(200).json()["why"],
        of("why")
    );
    let unknown = secrets::mint_token(secrets::locate_token(&token).unwrap());
    for value in [never.as_str(), unknown.expose(), "x", ""] {
        let detail = admin.post("/tokens/leaked", &json!({ "token": value })).problem(404, "not_found");
        assert!(detail.starts_with("no such token was ever issued"), "{detail}");
    }
    assert_eq!(grantbook.events().len(), before);
    admin
        .post(&format!("/tokens/leaked?{}", encode(&[("token", &token)])), &json!({}))
        .problem(400, "invalid_request");
}
