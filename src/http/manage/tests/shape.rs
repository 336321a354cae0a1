//! What holds on every route: who may ask, how errors look, that secrets are shown once.

use actix_web::http::{Method, header};
use actix_web::test::TestRequest;
use grantbook_events::Role;
use serde_json::json;

use crate::http::input::MAX_BODY_BYTES;
use crate::http::testing::{ROUTES, RouteUnderTest, TestServer, count_of, new_app};

/// A request to a route that is wrong in every way but the key: a caller who is not allowed learns nothing else.
fn nonsense(route: &RouteUnderTest, key: Option<&str>) -> TestRequest {
    let path = route.path.replace('{', "no-").replace('}', "");
    let request = TestRequest::with_uri(&format!("{path}?nonsense=1"))
        .method(Method::from_bytes(route.method.as_bytes()).unwrap())
        .insert_header((header::CONTENT_TYPE, "text/plain"))
        .set_payload("nonsense");
    let authorization = key.map(|key| (header::AUTHORIZATION, format!("Bearer {key}")));
    authorization.into_iter().fold(request, TestRequest::insert_header)
}

#[tokio::test]
async fn every_route_asks_for_a_key_of_the_right_role_before_anything_else() {
    let server = TestServer::start().await;
    let mut asked = 0;
    for route in ROUTES {
        let Some(needs) = route.needs else { continue };
        for key in [None, Some("gbk_unknown"), Some("")] {
            let answer = server.send(nonsense(route, key)).await;
            answer.problem(401);
            assert_eq!(answer.header(header::WWW_AUTHENTICATE), "Bearer", "{route:?}");
        }
        for role in [Role::Resource, Role::Registrar, Role::Auditor, Role::Admin] {
            let answer = server.send(nonsense(route, Some(server.key(role)))).await;
            let allowed = role == Role::Admin || role == needs;
            assert_eq!(answer.status.as_u16() != 403, allowed, "{route:?} {role:?}");
            if !allowed {
                assert_eq!(answer.problem(403), "the role of this operator key does not allow this");
            }
        }
        asked += 1;
    }
    assert_eq!(asked, 31);
}

#[tokio::test]
async fn a_key_is_a_bearer_key_and_nothing_else() {
    let server = TestServer::start().await;
    let key = server.key(Role::Admin);
    for authorization in [format!("Basic {key}"), key.to_owned(), format!("Bearer{key}")] {
        let request = TestRequest::with_uri("/apps").insert_header((header::AUTHORIZATION, authorization));
        server.send(request).await.problem(401);
    }
    let in_query = TestRequest::with_uri(&format!("/apps?access_token={key}"));
    server.send(in_query).await.problem(401);
}

#[tokio::test]
async fn a_wrong_id_gets_what_would_be_right() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let id = app["client_id"].as_str().unwrap();
    for uri in ["/apps/one", "/apps/..%2fkeys", &format!("/apps/{}", id.to_uppercase())] {
        let detail = server.get(uri).await.problem(400);
        assert!(detail.contains("client_id must be a UUID, such as 5f0c"), "{uri}: {detail}");
    }
    assert!(server.get("/installations/x").await.problem(400).contains("installation_id must be a UUID"));
    assert!(server.delete("/tokens/all").await.problem(400).contains("token_id must be a UUID"));
    assert!(server.delete("/keys/x?reason=y").await.problem(400).contains("key_id must be a UUID"));
    let detail = server.delete(&format!("/apps/{id}/secrets/x")).await.problem(400);
    assert!(detail.contains("secret_id must be a UUID"));
    let nobody = "019a0000-0000-7000-8000-000000000000";
    assert_eq!(server.get(&format!("/apps/{}", nobody.replace('-', ""))).await.problem(404), "no such app");
    assert_eq!(server.get(&format!("/installations/{nobody}")).await.problem(404), "no such installation");
    server.get(&format!("/installations/{nobody}/events")).await.problem(404);
    assert_eq!(server.delete(&format!("/installations/{nobody}")).await.problem(404), "no such installation");
    assert_eq!(server.delete(&format!("/tokens/{nobody}")).await.problem(404), "no such token");
    assert_eq!(server.delete(&format!("/keys/{nobody}?reason=x")).await.problem(404), "no such operator key");
}

#[tokio::test]
async fn a_wrong_body_gets_what_would_be_right() {
    let server = TestServer::start().await;
    let send = async |content_type: Option<&str>, body: String| {
        let request = TestRequest::post()
            .uri("/apps")
            .insert_header((header::AUTHORIZATION, format!("Bearer {}", server.key(Role::Admin))))
            .set_payload(body);
        let typed = content_type.map(|content_type| (header::CONTENT_TYPE, content_type));
        server.send(typed.into_iter().fold(request, TestRequest::insert_header)).await
    };
    let json = Some("application/json; charset=utf-8");
    let detail = send(json, "{\n  \"name\": \"x\",\n  \"owner\" 1\n}".to_owned()).await.problem(400);
    assert!(detail.contains("expected `:` at line 3 column 11"), "{detail}");
    let detail = send(json, r#"{"name": 1}"#.to_owned()).await.problem(400);
    assert_eq!(detail, "name: invalid type: integer `1`, expected a string at line 1 column 10");
    let detail = send(json, r#"{"colour": 1}"#.to_owned()).await.problem(400);
    assert!(
        detail.starts_with("colour: unknown field `colour`, expected one of `name`, `owner`"),
        "{detail}"
    );
    let detail = send(json, format!("{} {{}}", new_app("x"))).await.problem(400);
    assert!(detail.contains("trailing characters"), "{detail}");
    let detail = send(json, new_app("x").to_string().replace("faqs", "fags")).await.problem(400);
    assert!(detail.contains("known scopes are widgets, faqs"), "{detail}");
    let detail = send(None, String::new()).await.problem(400);
    assert!(detail.starts_with("missing field `name`"), "{detail}");
    for content_type in [None, Some("text/plain"), Some("application/jsonx"), Some("")] {
        let detail = send(content_type, new_app("x").to_string()).await.problem(415);
        assert!(detail.contains("Content-Type: application/json"));
    }
    let long = format!("{}{}", new_app("x"), " ".repeat(MAX_BODY_BYTES));
    assert!(send(json, long).await.problem(413).contains("at most 65536 bytes"));
    assert_eq!(server.get("/apps").await.json(200)["items"], json!([]));
    send(json, new_app("x").to_string()).await.json(201);
}

#[tokio::test]
async fn a_wrong_query_gets_what_would_be_right() {
    let server = TestServer::start().await;
    for (uri, right) in [
        ("/apps?page=2", "unknown field `page`, expected one of `source`, `host`, `cursor`, `limit`"),
        ("/apps?limit=0", "limit must be a number from 1 to 200"),
        ("/apps?limit=201", "limit must be a number from 1 to 200"),
        ("/apps?limit=many", "limit must be a number from 1 to 200"),
        ("/apps?cursor=2", "cursor must be the next_cursor of the page before"),
        ("/keys?cursor=__________8", "cursor must be the next_cursor of the page before"),
        ("/apps?limit=1&limit=2", "duplicate field `limit`"),
        ("/installations", "name exactly one of app and account"),
        ("/installations?installed=true", "name exactly one of app and account"),
        ("/installations?app=x", "client_id must be a UUID"),
        ("/installations?account=", "account_id must be 1 to 128 visible ASCII characters"),
        ("/installations?account=acme&installed=maybe", "installed must be true or false"),
    ] {
        let detail = server.get(uri).await.problem(400);
        assert!(detail.contains(right), "{uri}: {detail}");
    }
    let both = "/installations?account=acme&app=5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d";
    assert!(server.get(both).await.problem(400).contains("exactly one of app and account"));
    let unknown = "/installations?app=5f0c61a1b1f24a2c8d0c7a3e5f6b7c8d";
    assert_eq!(server.get(unknown).await.problem(404), "no such app");
}

#[tokio::test]
async fn t8_a_secret_is_shown_once_and_its_digest_never() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let uri = format!("/apps/{}", app["client_id"].as_str().unwrap());
    let rotated = server.post(&format!("{uri}/secrets"), json!({})).await.json(201);
    let key = server.post("/keys", json!({ "name": "ci", "role": "auditor" })).await.json(201);
    let installed = server.install(&app, "acme").await;
    let installation = format!("/installations/{}", installed.installation_id);
    for uri in ["/apps", &uri, "/keys", "/metrics", "/readyz", &installation] {
        assert!(server.get(uri).await.status.is_success());
    }
    let events = server.get(&format!("{installation}/events")).await.json(200);
    assert_eq!(events["items"].as_array().unwrap().len(), 2);
    server.patch(&uri, json!({ "name": "Two" })).await.json(200);
    server.delete(&format!("/tokens/{}", installed.token_id)).await;
    server.delete(&installation).await.json(200);

    let (answers, ledger) = (server.answers(), server.ledger_text().await);
    let shown = [&app["client_secret"], &rotated["client_secret"], &key["key"]];
    for secret in shown.map(|secret| secret.as_str().unwrap()) {
        assert_eq!(count_of(&answers, secret), 1);
        assert_eq!(ledger.matches(secret).count(), 0);
    }
    for secret in [&installed.token, &installed.code] {
        assert_eq!(count_of(&answers, secret.expose()), 0);
        assert_eq!(ledger.matches(secret.expose()).count(), 0);
    }
    for role in [Role::Admin, Role::Auditor, Role::Resource, Role::Registrar] {
        assert_eq!(count_of(&answers, server.key(role)), 0);
    }
    assert!(!answers.contains("digest"));
}

#[tokio::test]
async fn k4_nothing_is_all_by_omission() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let (one, other) = (server.install(&app, "acme").await, server.install(&app, "zenith").await);
    let uri = format!("/apps/{}", app["client_id"].as_str().unwrap());
    for uri in [
        "/tokens",
        "/tokens/",
        "/installations",
        "/installations/",
        "/apps",
        "/apps/",
        "/keys",
        "/keys/",
        "/installations?account=acme",
        "/tokens?account=acme",
        &format!("{uri}/secrets"),
        &format!("{uri}/secrets/"),
    ] {
        let answer = server.delete(uri).await;
        assert!(matches!(answer.status.as_u16(), 404 | 405), "{uri}: {answer:?}");
    }
    server.delete(&format!("/installations/{}", one.installation_id)).await.json(200);
    assert_eq!((server.is_valid(&one.token), server.is_valid(&other.token)), (false, true));
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_and_a_wrong_method_says_which_are_right() {
    let server = TestServer::start().await;
    assert!(server.get("/nowhere").await.problem(404).starts_with("no such path"));
    let answer = server.delete("/apps").await;
    assert_eq!(answer.problem(405), "this path takes GET, HEAD, POST");
    assert_eq!(answer.header(header::ALLOW), "GET, HEAD, POST");
}

#[tokio::test]
async fn nothing_is_kept_by_a_cache() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let uri = format!("/apps/{}", app["client_id"].as_str().unwrap());
    let (listed, read) = (server.get("/apps").await, server.get(&uri).await);
    let deleted = server.delete(&format!("{uri}?reason=done")).await;
    for answer in [listed, read, deleted, server.post("/apps", new_app("x")).await] {
        assert!(answer.status.is_success());
        assert_eq!(answer.header(header::CACHE_CONTROL), "no-store");
    }
}
