//! `/keys`: operator keys and what each role may do.

use serde_json::json;

use crate::harness::Grantbook;

#[test]
fn a_key_is_shown_once_and_good_until_it_is_retired() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let created = admin.post("/keys", &json!({ "name": "ci", "role": "auditor" })).expect(201);
    let (key, key_id) = (created.text("key"), created.text("key_id"));
    assert!(key.starts_with("gbk_") && key.len() > 40, "{key}");
    let auditor = crate::operator::Operator::new(&grantbook.http, &key);
    auditor.get("/apps").expect(200);
    let listed = admin.get("/keys").expect(200);
    assert!(listed.body.contains(&key_id) && !listed.body.contains(&key), "{listed:?}");
    admin.delete(&format!("/keys/{key_id}")).problem(400, "invalid_request");
    admin.delete(&format!("/keys/{key_id}?reason=left+the+company")).expect(204);
    auditor.get("/apps").problem(401, "invalid_key");
    let again = admin.delete(&format!("/keys/{key_id}?reason=again")).expect(200).json();
    assert_eq!(again["actor"]["id"], "stories");
    assert!(admin.all("/keys", 1)[0]["retired_at"].is_string());
}

#[test]
fn an_auditor_reads_and_changes_nothing() {
    let grantbook = Grantbook::start();
    let token = grantbook.token(&grantbook.app());
    let facts = grantbook.introspect(&token);
    let text = |name: &str| facts[name].as_str().unwrap().to_owned();
    let (app, installation, token_id) = (text("client_id"), text("installation_id"), text("jti"));
    let auditor = grantbook.operator("auditor");
    let before = grantbook.events().len();
    for path in [
        "/apps".to_owned(),
        format!("/apps/{app}"),
        "/installations?account=acme".to_owned(),
        format!("/installations/{installation}"),
        format!("/installations/{installation}/events"),
        "/keys".to_owned(),
    ] {
        auditor.get(&path).expect(200);
    }
    for (method, path) in [
        ("POST", "/apps".to_owned()),
        ("PATCH", format!("/apps/{app}")),
        ("DELETE", format!("/apps/{app}?reason=x")),
        ("POST", format!("/apps/{app}/secrets")),
        ("POST", format!("/apps/{app}/suspend")),
        ("POST", format!("/apps/{app}/resume")),
        ("DELETE", format!("/installations/{installation}")),
        ("DELETE", format!("/tokens/{token_id}")),
        ("POST", "/keys".to_owned()),
        ("DELETE", format!("/keys/{token_id}?reason=x")),
    ] {
        let body = json!({ "reason": "x" });
        let body = (method != "DELETE").then_some(&body);
        auditor.ask(method, &path, body).problem(403, "forbidden");
    }
    assert_eq!(grantbook.events().len(), before);
    assert!(grantbook.is_active(&token));
}

#[test]
fn a_resource_server_introspects_and_reads_nothing() {
    let grantbook = Grantbook::start();
    let resource = grantbook.operator("resource");
    for path in ["/apps", "/installations?account=acme", "/keys"] {
        resource.get(path).problem(403, "forbidden");
    }
    resource.post("/keys", &json!({ "name": "x", "role": "admin" })).problem(403, "forbidden");
    let authorization = format!("Bearer {}", resource.key);
    let asked = [("authorization", authorization.as_str())];
    grantbook.post_with("/oauth/introspect", &asked, &[("token", "x")]).expect(200);
}

#[test]
fn a_wrong_key_is_not_created() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    for body in [
        json!({ "name": "x", "role": "root" }),
        json!({ "name": "", "role": "admin" }),
        json!({ "name": "x".repeat(101), "role": "admin" }),
        json!({ "name": "x" }),
        json!({ "role": "admin" }),
        json!({ "name": "x", "role": "admin", "key": "gbk_mine" }),
    ] {
        admin.post("/keys", &body).problem(400, "invalid_request");
    }
    assert_eq!(admin.all("/keys", 10).len(), 0);
}
