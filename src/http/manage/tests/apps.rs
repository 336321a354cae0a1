//! Apps: register, page, change, rotate, suspend, resume, delete.

use std::time::Duration;

use grantbook_events::Role;
use serde_json::{Value, json};

use crate::http::testing::{TestServer, new_app};

fn uri_of(app: &Value) -> String {
    format!("/apps/{}", app["client_id"].as_str().unwrap())
}

fn names(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items.iter().map(|app| app["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_registered_app_can_be_read_where_its_location_says() {
    let server = TestServer::start().await;
    let answer = server.post("/apps", new_app("One")).await;
    let mut app = answer.json(201);
    assert_eq!(answer.header("location"), format!("https://grantbook.example{}", uri_of(&app)));
    let secret = app.as_object_mut().unwrap().remove("client_secret").unwrap();
    assert!(secret.as_str().unwrap().starts_with("gbs_"));
    assert_eq!(server.get(&uri_of(&app)).await.json(200), app);
    assert_eq!(app["scopes"], json!(["widgets", "faqs"]));
    assert_eq!(app["status"], json!({ "state": "active" }));
    assert_eq!(app["token_policy"], json!({ "lifetime_seconds": null }));
    assert_eq!((&app["homepage"], &app["confidential"]), (&Value::Null, &json!(true)));
    let secrets = app["secrets"].as_array().unwrap();
    assert_eq!(secrets.len(), 1);
    let mut fields: Vec<_> = secrets[0].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(fields, ["added_at", "secret_id"]);
    assert_eq!(app["registered_at"], "2026-01-02T03:04:05.000000Z");
}

#[tokio::test]
async fn a_public_client_has_no_secret() {
    let server = TestServer::start().await;
    let mut app = new_app("One");
    app["confidential"] = json!(false);
    app["token_policy"] = json!({ "lifetime_seconds": 60 });
    app["homepage"] = json!("https://app.example/");
    let app = server.post("/apps", app).await.json(201);
    assert_eq!(app.get("client_secret"), None);
    assert_eq!(app["secrets"], json!([]));
    assert_eq!(app["token_policy"]["lifetime_seconds"], 60);
    assert_eq!(app["homepage"], "https://app.example/");
    let detail = server.post(&format!("{}/secrets", uri_of(&app)), json!({})).await.problem(409);
    assert!(detail.contains("public client"));
}

#[tokio::test]
async fn pages_stay_right_while_apps_arrive() {
    let server = TestServer::start().await;
    for name in ["a", "b", "c"] {
        server.register(name).await;
    }
    let first = server.get("/apps?limit=2").await.json(200);
    assert_eq!(names(&first), ["a", "b"]);
    server.register("d").await;
    let deleted = server.get("/apps?limit=1").await.json(200)["items"][0].clone();
    server.delete(&format!("{}?reason=gone", uri_of(&deleted))).await;
    let next = |page: &Value| format!("/apps?limit=2&cursor={}", page["next_cursor"].as_str().unwrap());
    let second = server.get(&next(&first)).await.json(200);
    assert_eq!(names(&second), ["c", "d"]);
    assert_eq!(second.get("next_cursor"), None);
    server.register("e").await;
    let second = server.get(&next(&first)).await.json(200);
    let third = server.get(&next(&second)).await.json(200);
    assert_eq!(names(&third), ["e"]);
    assert_eq!(names(&server.get("/apps").await.json(200)), ["a", "b", "c", "d", "e"]);
}

#[tokio::test]
async fn what_a_change_does_not_name_stays() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let uri = uri_of(&app);
    server.clock.advance(Duration::from_secs(1));
    let changed = server.patch(&uri, json!({ "homepage": "https://app.example/" })).await.json(200);
    assert_eq!((&changed["homepage"], &changed["name"]), (&json!("https://app.example/"), &json!("One")));
    assert_eq!(changed["changed_at"], "2026-01-02T03:04:06.000000Z");
    assert_eq!(server.patch(&uri, json!({ "homepage": null })).await.json(200)["homepage"], Value::Null);
    let policy = json!({ "token_policy": { "lifetime_seconds": 60 } });
    assert_eq!(server.patch(&uri, policy).await.json(200)["token_policy"]["lifetime_seconds"], 60);
    let policy = json!({ "token_policy": { "lifetime_seconds": null } });
    assert_eq!(server.patch(&uri, policy).await.json(200)["token_policy"]["lifetime_seconds"], Value::Null);
    let before = server.ledger_text().await;
    assert_eq!(server.patch(&uri, json!({ "name": "One" })).await.json(200)["name"], "One");
    assert_eq!(server.ledger_text().await, before, "nothing changed, so nothing was recorded");
}

#[tokio::test]
async fn a_wrong_change_changes_nothing() {
    let server = TestServer::start().await;
    let uri = uri_of(&server.register("One").await);
    let before = server.ledger_text().await;
    for (change, right) in [
        (json!({ "name": null }), "name: invalid type: null, expected a string"),
        (json!({ "scopes": null }), "scopes: invalid type: null, expected a sequence"),
        (json!({ "token_policy": null }), "token_policy: invalid type: null, expected a map"),
        (json!({ "token_policy": [60] }), "token_policy: invalid type: sequence, expected a map"),
        (json!({ "token_policy": { "refresh": [] } }), "invalid type: sequence, expected a map"),
        (json!({ "token_policy": { "days": 1 } }), "unknown field `days`, expected `lifetime_seconds`"),
        (json!({ "client_secret": "x" }), "unknown field `client_secret`, expected one of `name`"),
        (json!({ "name": "Two", "redirect_uris": ["http://app.example/"] }), "redirect_uris: "),
        (json!({ "name": "Two", "scopes": ["everything"] }), "known scopes are widgets, faqs"),
        (json!({ "homepage": "javascript:alert(1)" }), "homepage: must be an https address"),
    ] {
        let detail = server.patch(&uri, change.clone()).await.problem(400);
        assert!(detail.contains(right), "{change}: {detail}");
    }
    assert_eq!(server.ledger_text().await, before);
}

#[tokio::test]
async fn t5_a_rotation_overlaps_and_an_old_secret_can_be_retired() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let secrets_uri = format!("{}/secrets", uri_of(&app));
    let first = app["secrets"][0]["secret_id"].clone();
    let rotated = server.ask(Role::Admin, "POST", &secrets_uri, None).await.json(201);
    assert_ne!(rotated["client_secret"], app["client_secret"]);
    assert_eq!(rotated["secrets"][0]["secret_id"], first);
    assert_eq!(rotated["secrets"][0]["retires_at"], "2026-01-02T04:04:05.000000Z", "an hour, as configured");
    assert_eq!(rotated["secrets"][1]["secret_id"], rotated["secret_id"]);
    server.post(&secrets_uri, json!({ "overlap_seconds": 60 })).await.problem(409);
    let detail = server.post(&secrets_uri, json!({ "overlap_seconds": 2_592_001 })).await.problem(400);
    assert!(detail.contains("overlap_seconds: must be at most 2592000"));
    server.post(&secrets_uri, json!({ "overlap_seconds": -1 })).await.problem(400);
    server.post(&secrets_uri, json!({ "overlap_seconds": null })).await.problem(400);

    let first_uri = format!("{secrets_uri}/{}", first.as_str().unwrap());
    assert_eq!(server.delete(&first_uri).await.status, 204);
    assert!(server.delete(&first_uri).await.json(200)["recorded_at"].is_string());
    let left = server.get(&uri_of(&app)).await.json(200)["secrets"].clone();
    assert_eq!(left.as_array().unwrap().len(), 1);
    let last = format!("{secrets_uri}/{}", rotated["secret_id"].as_str().unwrap());
    assert!(server.delete(&last).await.problem(409).contains("last one"));
    let at_once = server.post(&secrets_uri, json!({ "overlap_seconds": 0 })).await.json(201);
    assert_eq!(at_once["secrets"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn c5_a_suspension_is_seen_by_the_next_token_check_and_ends_with_resuming() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let uri = uri_of(&app);
    let installed = server.install(&app, "acme").await;
    assert!(server.is_valid(&installed.token));
    server.post(&format!("{uri}/suspend"), json!({})).await.problem(400);
    server.post(&format!("{uri}/resume"), json!({ "reason": "x" })).await.problem(409);
    let suspended = server.post(&format!("{uri}/suspend"), json!({ "reason": "abuse" })).await.json(200);
    assert_eq!(suspended["status"], json!({ "state": "suspended", "reason": "abuse" }));
    assert!(!server.is_valid(&installed.token));
    let installation = format!("/installations/{}", installed.installation_id);
    assert_eq!(server.get(&installation).await.json(200)["installed"], false);
    server.post(&format!("{uri}/suspend"), json!({ "reason": "again" })).await.problem(409);
    let resumed = server.post(&format!("{uri}/resume"), json!({ "reason": "fixed" })).await.json(200);
    assert_eq!(resumed["status"], json!({ "state": "active" }));
    assert!(server.is_valid(&installed.token));
    assert_eq!(server.get(&installation).await.json(200)["installed"], true);
}

#[tokio::test]
async fn a_deleted_app_stays_readable_and_nothing_else() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let uri = uri_of(&app);
    let installed = server.install(&app, "acme").await;
    assert!(server.delete(&uri).await.problem(400).contains("reason is required"));
    assert!(server.delete(&format!("{uri}?reason=")).await.problem(400).contains("reason must be 1 to 500"));
    assert!(server.delete(&format!("{uri}?why=x")).await.problem(400).contains("expected `reason`"));
    assert!(server.is_valid(&installed.token));
    assert_eq!(server.delete(&format!("{uri}?reason=abandoned")).await.status, 204);
    assert!(!server.is_valid(&installed.token));
    let status = server.get(&uri).await.json(200)["status"].clone();
    assert_eq!(status, json!({ "state": "deleted", "reason": "abandoned" }));
    server.patch(&uri, json!({ "name": "Two" })).await.problem(404);
    server.post(&format!("{uri}/secrets"), json!({})).await.problem(404);
    server.post(&format!("{uri}/resume"), json!({ "reason": "x" })).await.problem(404);
    server.delete(&format!("{uri}?reason=again")).await.problem(404);
}
