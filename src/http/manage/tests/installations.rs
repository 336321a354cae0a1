//! Installations and tokens: list, read, their events, uninstall, revoke one token.

use std::time::Duration;

use actix_web::http::header;
use actix_web::test::TestRequest;
use grantbook_events::Role;
use serde_json::{Value, json};

use crate::http::testing::Given;

fn accounts(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["account_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn installations_are_listed_by_app_and_by_account() {
    let given = Given::server().await;
    let (one, two) = (given.register("One").await, given.register("Two").await);
    given.install(&one, "acme").await;
    let ended = given.install(&one, "zenith").await;
    given.clock.advance(Duration::from_secs(1));
    given.install(&two, "zenith").await;
    given.delete(&format!("/installations/{}", ended.installation_id)).await.json(200);

    let of_one = format!("/installations?app={}", one["client_id"].as_str().unwrap());
    assert_eq!(accounts(&given.get(&of_one).await.json(200)), ["acme", "zenith"]);
    assert_eq!(accounts(&given.get(&format!("{of_one}&installed=true")).await.json(200)), ["acme"]);
    assert_eq!(accounts(&given.get(&format!("{of_one}&installed=false")).await.json(200)), ["zenith"]);
    let page = given.get(&format!("{of_one}&limit=1")).await.json(200);
    assert_eq!(accounts(&page), ["acme"]);
    let next = format!("{of_one}&limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = given.get(&next).await.json(200);
    assert_eq!((accounts(&page), page.get("next_cursor")), (vec!["zenith"], None));

    let on_zenith = given.get("/installations?account=zenith").await.json(200);
    let apps: Vec<_> = on_zenith["items"].as_array().unwrap().iter().map(|item| &item["client_id"]).collect();
    assert_eq!(apps, [&one["client_id"], &two["client_id"]]);
    assert_eq!(on_zenith["items"][1]["valid_tokens"], 1);
    assert_eq!(on_zenith["items"][0].get("tokens"), None);
    assert_eq!(given.get("/installations?account=nobody").await.json(200), json!({ "items": [] }));
}

#[tokio::test]
async fn k4_an_uninstall_ends_one_installation_and_is_seen_at_once() {
    let given = Given::server().await;
    let app = given.register("One").await;
    let (first, other) = (given.install(&app, "acme").await, given.install(&app, "zenith").await);
    let second = given.install(&app, "acme").await;
    let uri = format!("/installations/{}", first.installation_id);
    let read = given.get(&uri).await.json(200);
    assert_eq!((&read["installed"], &read["epoch"]), (&json!(true), &json!(0)));
    assert_eq!(read["installed_since"], "2026-01-02T03:04:05.000000Z");
    let tokens: Vec<_> = read["tokens"].as_array().unwrap().iter().map(|t| t["token_id"].clone()).collect();
    assert_eq!(tokens, [json!(first.token_id), json!(second.token_id)], "the oldest first");
    assert_eq!(read["tokens"][0]["scopes"], json!(["faqs"]));
    assert_eq!(read["tokens"][0]["user_id"], "ada");

    given.clock.advance(Duration::from_secs(1));
    let ended = given.delete(&uri).await.json(200);
    assert_eq!(ended, json!({ "token_ids": [first.token_id, second.token_id], "already": false }));
    assert!(!given.is_valid(&first.token) && !given.is_valid(&second.token) && given.is_valid(&other.token));
    let read = given.get(&uri).await.json(200);
    assert_eq!((&read["installed"], &read["epoch"]), (&json!(false), &json!(1)));
    assert_eq!((&read["installed_since"], &read["tokens"]), (&Value::Null, &json!([])));
    assert_eq!(read["ended_at"], "2026-01-02T03:04:06.000000Z");
    let again = given.delete(&uri).await.json(200);
    assert_eq!((&again["token_ids"], &again["already"]), (&json!([]), &json!(true)), "nothing more");
    assert_eq!(again["ended_by"]["recorded_at"], "2026-01-02T03:04:06.000000Z");
}

#[tokio::test]
async fn k4_one_token_is_revoked_and_the_next_check_knows() {
    let given = Given::server().await;
    let app = given.register("One").await;
    let (first, second) = (given.install(&app, "acme").await, given.install(&app, "acme").await);
    let uri = format!("/tokens/{}", first.token_id);
    let detail = given.delete(&format!("{uri}?reason=user")).await.problem(400);
    assert!(detail.contains("expected `operator` or `leaked`"), "{detail}");
    assert!(given.is_valid(&first.token));
    assert_eq!(given.delete(&format!("{uri}?reason=leaked")).await.status, 204);
    assert_eq!((given.is_valid(&first.token), given.is_valid(&second.token)), (false, true));
    assert_eq!(given.delete(&uri).await.json(200)["state"], "ended");
    let installation = format!("/installations/{}", first.installation_id);
    assert_eq!(given.get(&installation).await.json(200)["installed"], true);
    assert_eq!(given.delete(&format!("/tokens/{}", second.token_id)).await.status, 204);
    assert_eq!(given.get(&installation).await.json(200)["installed"], false);
    let events = given.get(&format!("{installation}/events")).await.json(200);
    let reasons: Vec<_> = events["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["type"] == "token-revoked")
        .map(|event| event["data"]["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["leaked", "operator"]);
}

#[tokio::test]
async fn events_say_who_did_what_through_which_request() {
    let given = Given::server().await;
    let app = given.register("One").await;
    let installed = given.install(&app, "acme").await;
    let uri = format!("/installations/{}", installed.installation_id);
    let uninstall = TestRequest::delete()
        .uri(&uri)
        .insert_header((header::AUTHORIZATION, format!("Bearer {}", given.key(Role::Admin))))
        .insert_header(("x-request-id", "from-the-proxy"));
    let answer = given.send(uninstall).await;
    assert_eq!(answer.header("x-request-id"), "from-the-proxy");
    let events = given.get(&format!("{uri}/events")).await.json(200)["items"].clone();
    let types: Vec<_> =
        events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types, ["access-granted", "code-exchanged", "app-uninstalled"]);
    let last = &events[2];
    assert_eq!(last["actor"], json!({ "kind": "operator", "id": "test" }));
    assert_eq!(last["request_id"], "from-the-proxy");
    assert_eq!((&last["revision"], &last["position"]), (&json!(2), &json!(4)));
    assert_eq!(last["stream"], format!("installation-{}", installed.installation_id));
    assert_eq!(last["data"]["reason"], "operator");
    assert_eq!(last["data"]["tokens"], json!([{ "token_id": installed.token_id, "user_id": "ada" }]));
    let page = given.get(&format!("{uri}/events?limit=2")).await.json(200);
    let next = format!("{uri}/events?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(given.get(&next).await.json(200)["items"], json!([last]));
}
