//! Installations and tokens: list, read, their events, uninstall, revoke one token.

use std::time::Duration;

use actix_web::http::header;
use actix_web::test::TestRequest;
use grantbook_events::Role;
use serde_json::{Value, json};

use crate::http::testing::TestServer;

fn accounts(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["account_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn installations_are_listed_by_app_and_by_account() {
    let server = TestServer::start().await;
    let (one, two) = (server.register("One").await, server.register("Two").await);
    server.install(&one, "acme").await;
    let ended = server.install(&one, "zenith").await;
    server.clock.advance(Duration::from_secs(1));
    server.install(&two, "zenith").await;
    server.delete(&format!("/installations/{}", ended.installation_id)).await.json(200);

    let of_one = format!("/installations?app={}", one["client_id"].as_str().unwrap());
    assert_eq!(accounts(&server.get(&of_one).await.json(200)), ["acme", "zenith"]);
    assert_eq!(accounts(&server.get(&format!("{of_one}&installed=true")).await.json(200)), ["acme"]);
    assert_eq!(accounts(&server.get(&format!("{of_one}&installed=false")).await.json(200)), ["zenith"]);
    let page = server.get(&format!("{of_one}&limit=1")).await.json(200);
    assert_eq!(accounts(&page), ["acme"]);
    let next = format!("{of_one}&limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
    let page = server.get(&next).await.json(200);
    assert_eq!((accounts(&page), page.get("next_cursor")), (vec!["zenith"], None));

    let on_zenith = server.get("/installations?account=zenith").await.json(200);
    let apps: Vec<_> = on_zenith["items"].as_array().unwrap().iter().map(|item| &item["client_id"]).collect();
    assert_eq!(apps, [&one["client_id"], &two["client_id"]]);
    assert_eq!(on_zenith["items"][1]["valid_tokens"], 1);
    assert_eq!(on_zenith["items"][0].get("tokens"), None);
    assert_eq!(server.get("/installations?account=nobody").await.json(200), json!({ "items": [] }));
}

#[tokio::test]
async fn k4_an_uninstall_ends_one_installation_and_is_seen_at_once() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let (first, other) = (server.install(&app, "acme").await, server.install(&app, "zenith").await);
    let second = server.install(&app, "acme").await;
    let uri = format!("/installations/{}", first.installation_id);
    let read = server.get(&uri).await.json(200);
    assert_eq!((&read["installed"], &read["epoch"]), (&json!(true), &json!(0)));
    assert_eq!(read["installed_since"], "2026-01-02T03:04:05.000000Z");
    let tokens: Vec<_> = read["tokens"].as_array().unwrap().iter().map(|t| t["token_id"].clone()).collect();
    assert_eq!(tokens, [json!(first.token_id), json!(second.token_id)], "the oldest first");
    assert_eq!(read["tokens"][0]["scopes"], json!(["faqs"]));
    assert_eq!(read["tokens"][0]["user_id"], "ada");

    server.clock.advance(Duration::from_secs(1));
    let ended = server.delete(&uri).await.json(200);
    assert_eq!(ended, json!({ "token_ids": [first.token_id, second.token_id], "already": false }));
    assert!(
        !server.is_valid(&first.token) && !server.is_valid(&second.token) && server.is_valid(&other.token)
    );
    let read = server.get(&uri).await.json(200);
    assert_eq!((&read["installed"], &read["epoch"]), (&json!(false), &json!(1)));
    assert_eq!((&read["installed_since"], &read["tokens"]), (&Value::Null, &json!([])));
    assert_eq!(read["ended_at"], "2026-01-02T03:04:06.000000Z");
    let again = server.delete(&uri).await.json(200);
    assert_eq!((&again["token_ids"], &again["already"]), (&json!([]), &json!(true)), "nothing more");
    assert_eq!(again["ended_by"]["recorded_at"], "2026-01-02T03:04:06.000000Z");
}

#[tokio::test]
async fn k4_one_token_is_revoked_and_the_next_check_knows() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let (first, second) = (server.install(&app, "acme").await, server.install(&app, "acme").await);
    let uri = format!("/tokens/{}", first.token_id);
    let detail = server.delete(&format!("{uri}?reason=user")).await.problem(400);
    assert!(detail.contains("expected `operator` or `leaked`"), "{detail}");
    assert!(server.is_valid(&first.token));
    assert_eq!(server.delete(&format!("{uri}?reason=leaked")).await.status, 204);
    assert_eq!((server.is_valid(&first.token), server.is_valid(&second.token)), (false, true));
    assert_eq!(server.delete(&uri).await.json(200)["state"], "ended");
    let installation = format!("/installations/{}", first.installation_id);
    assert_eq!(server.get(&installation).await.json(200)["installed"], true);
    assert_eq!(server.delete(&format!("/tokens/{}", second.token_id)).await.status, 204);
    assert_eq!(server.get(&installation).await.json(200)["installed"], false);
    let events = server.get(&format!("{installation}/events")).await.json(200);
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
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let installed = server.install(&app, "acme").await;
    let uri = format!("/installations/{}", installed.installation_id);
    let uninstall = TestRequest::delete()
        .uri(&uri)
        .insert_header((header::AUTHORIZATION, format!("Bearer {}", server.key(Role::Admin))))
        .insert_header(("x-request-id", "from-the-proxy"));
    let answer = server.send(uninstall).await;
    assert_eq!(answer.header("x-request-id"), "from-the-proxy");
    let events = server.get(&format!("{uri}/events")).await.json(200)["items"].clone();
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
    let page = server.get(&format!("{uri}/events?limit=2")).await.json(200);
    let next = format!("{uri}/events?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(server.get(&next).await.json(200)["items"], json!([last]));
}
