//! `POST /audit/token`: auditors ask about a token that they have in hand.

use std::time::Duration;

use grantbook::secrets;
use serde_json::{Value, json};

use crate::harness::{Grantbook, touched};
use crate::log::Log;

const PATH: &str = "/audit/token";

/// An answer as of another moment is the same but for that.
fn but_when(mut answer: Value) -> Value {
    answer.as_object_mut().unwrap().remove("as_of");
    answer
}

#[test]
fn a_token_by_itself_is_answered_as_it_is_by_its_id() {
    let grantbook = Grantbook::start();
    let auditor = grantbook.operator("auditor");
    let app = grantbook.app();
    let short = grantbook.app_with(|app| app.token_policy.lifetime_seconds = Some(60));
    let tokens = [grantbook.token(&app), grantbook.token(&app), grantbook.token(&short)];
    let ids: Vec<String> =
        tokens.iter().map(|token| grantbook.introspect(token)["jti"].as_str().unwrap().to_owned()).collect();
    let before = grantbook.events().last().unwrap().envelope.position.as_u64();
    grantbook.admin().delete(&format!("/tokens/{}", ids[1])).expect(204);
    // Long after what ended is forgotten by the live projection.
    grantbook.clock.advance(Duration::from_secs(365 * 24 * 60 * 60));
    grantbook.token(&app);
    grantbook.token(&short);
    for ((token, id), state) in tokens.iter().zip(&ids).zip(["valid", "ended", "expired"]) {
        let asked = auditor.post(PATH, &json!({ "token": format!("{token}\n") })).expect(200);
        assert_eq!(asked.text("state"), state);
        let by_id = auditor.get(&format!("{PATH}/{id}")).expect(200).json();
        assert_eq!(but_when(asked.json()), but_when(by_id));
        let then = auditor.post(PATH, &json!({ "token": token, "as_of": before.to_string() })).expect(200);
        assert_eq!(then.json(), auditor.get(&format!("{PATH}/{id}?as_of={before}")).expect(200).json());
        assert_ne!(then.text("state"), "ended");
        let story = auditor.post("/audit/token/timeline", &json!({ "token": token })).expect(200).json();
        assert_eq!(story, auditor.get(&format!("{PATH}/{id}/timeline")).expect(200).json());
    }
}

#[test]
fn t8_of_a_value_that_was_never_issued_the_answer_says_so_without_it() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let token = grantbook.token(&app);
    let never = secrets::mint_token(secrets::locate_token(&token).unwrap());
    let (changed, code) = (touched(&token), grantbook.code(&app));
    for path in [PATH, "/audit/token/timeline", "/tokens/leaked"] {
        for value in [never.expose(), &changed, &code, app.secret.as_deref().unwrap(), &token[..40], "word"] {
            let reply = admin.post(path, &json!({ "token": value }));
            let detail = reply.problem(404, "not_found");
            assert!(detail.starts_with("no such token was ever issued"), "{detail}");
            assert!(!format!("{reply:?}").contains(value), "{reply:?}");
        }
    }
}

#[test]
fn t8_a_value_is_in_no_answer_and_no_log_line() {
    Log::listen();
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let token = grantbook.token(&app);
    let token_id = grantbook.introspect(&token)["jti"].as_str().unwrap().to_owned();
    let never = secrets::mint_token(secrets::locate_token(&token).unwrap());
    let (changed, code) = (touched(&token), grantbook.code(&app));
    let values = [token.as_str(), never.expose(), &changed, &code, app.secret.as_deref().unwrap()];
    for path in [PATH, "/audit/token/timeline", "/tokens/leaked"] {
        for value in values {
            let wrong = [
                json!(value),
                json!([[value]]),
                json!({ value: 1 }),
                json!({ "token": { "token": value } }),
                json!({ "token": [value] }),
                json!({ "token": "x", "as_of": value }),
                json!({ "token": "x", "note": [value] }),
                json!({ "token": "x", "other": value }),
            ];
            for body in wrong {
                let reply = admin.post(path, &body).expect(400);
                assert!(!format!("{reply:?}").contains(value), "{reply:?}");
            }
            let body = json!({ "token": "x" });
            let reply = admin.post(&format!("{path}?token={value}"), &body);
            assert!(matches!(reply.status, 400 | 404), "{reply:?}");
            assert!(!format!("{reply:?}").contains(value), "{reply:?}");
        }
    }
    let asked = admin.post(PATH, &json!({ "token": token })).expect(200);
    let when = admin.post(&format!("{PATH}?as_of=1"), &json!({ "token": token }));
    assert!(when.problem(400, "invalid_request").contains("unknown field `as_of`"), "{when:?}");
    let log = Log::text();
    for value in values {
        assert!(!log.contains(&value[value.len() - 24..]), "{value}");
    }
    // The question is logged, and which token it was about.
    let of_request = |text: &str| {
        let id = asked.header("x-request-id");
        log.lines().filter(|line| line.contains(id)).any(|line| line.contains(text))
    };
    assert!(of_request("history was asked about") && of_request(&format!("token_id={token_id}")));
}
