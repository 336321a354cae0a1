//! Operator keys: created, shown once, used, retired.

use actix_web::http::header;
use actix_web::test::TestRequest;
use serde_json::json;

use crate::http::testing::TestServer;

#[tokio::test]
async fn a_key_works_with_its_role_until_it_is_retired() {
    let server = TestServer::start().await;
    let created = server.post("/keys", json!({ "name": "ci", "role": "auditor" })).await.json(201);
    let key = created["key"].as_str().unwrap().to_owned();
    let with_key =
        |method: TestRequest| method.insert_header((header::AUTHORIZATION, format!("Bearer {key}")));
    assert_eq!(server.send(with_key(TestRequest::get().uri("/apps"))).await.status, 200);
    server.send(with_key(TestRequest::post().uri("/keys"))).await.problem(403);

    let uri = format!("/keys/{}", created["key_id"].as_str().unwrap());
    assert!(server.delete(&uri).await.problem(400).contains("reason is required"));
    assert_eq!(server.send(with_key(TestRequest::get().uri("/apps"))).await.status, 200);
    assert_eq!(server.delete(&format!("{uri}?reason=leaked")).await.status, 204);
    let answer = server.send(with_key(TestRequest::get().uri("/apps"))).await;
    assert_eq!(answer.problem(401), "the operator key is unknown or was retired");
    assert!(server.delete(&format!("{uri}?reason=again")).await.json(200)["recorded_at"].is_string());

    let listed = server.get("/keys").await.json(200);
    let at = "2026-01-02T03:04:05.000000Z";
    let expected = json!({
        "key_id": created["key_id"], "name": "ci", "role": "auditor", "created_at": at, "retired_at": at,
    });
    assert_eq!(listed, json!({ "items": [expected] }));
}

#[tokio::test]
async fn a_wrong_key_is_not_created() {
    let server = TestServer::start().await;
    let detail = server.post("/keys", json!({ "name": "ci", "role": "root" })).await.problem(400);
    assert!(detail.contains("expected one of `admin`, `auditor`, `resource`"), "{detail}");
    assert!(
        server
            .post("/keys", json!({ "name": " ", "role": "admin" }))
            .await
            .problem(400)
            .contains("name must be")
    );
    assert!(
        server.post("/keys", json!({ "name": "ci" })).await.problem(400).contains("missing field `role`")
    );
    assert_eq!(server.get("/keys").await.json(200), json!({ "items": [] }));
}
