//! `/openapi.json`, and what holds for every path: methods, media types, sizes, and how errors look.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Reply;
use crate::harness::Grantbook;
use crate::operator::Operator;

/// The paths that the document does not have: they are for people in a browser.
const PAGES: &[&str] = &[
    "/sign-in",
    "/sign-in/dev",
    "/sign-in/handoff",
    "/sign-out",
    "/account/apps",
    "/account/apps/x/uninstall",
    "/account/tokens/x/revoke",
];

/// Every operation of the document: its method, its path, itself.
fn operations(grantbook: &Grantbook) -> Vec<(String, String, Value)> {
    let reply = grantbook.get("/openapi.json").expect(200);
    assert_eq!(reply.header("content-type"), "application/json");
    let document = reply.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3."), "{document}");
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let item = item.as_object().unwrap().iter();
        item.map(|(method, operation)| (method.to_uppercase(), path.clone(), operation.clone()))
    });
    operations.collect()
}

/// A path with the ids of things that are there.
struct Ids(Vec<(&'static str, String)>);

impl Ids {
    fn of(grantbook: &Grantbook) -> Self {
        let (app, admin) = (grantbook.app(), grantbook.admin());
        let facts = grantbook.introspect(&grantbook.token(&app));
        grantbook.operator("auditor");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        admin.ask("POST", "/projections/live/rebuild", None);
        let shown = admin.get(&format!("/apps/{}", app.client_id)).expect(200).json();
        Self(vec![
            ("{installation_id}", text(&facts["installation_id"])),
            ("{token_id}", text(&facts["jti"])),
            ("{secret_id}", text(&shown["secrets"][0]["secret_id"])),
            ("{key_id}", text(&admin.all("/keys", 9)[0]["key_id"])),
            ("{client_id}", app.client_id),
            ("{name}", "live".to_owned()),
        ])
    }

    #[track_caller]
    fn fill(&self, path: &str) -> String {
        let filled = self.0.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id));
        assert!(!filled.contains('{'), "{filled}");
        filled
    }
}

#[test]
fn every_operation_of_the_document_is_there() {
    let grantbook = Grantbook::start();
    let operations = operations(&grantbook);
    assert!(operations.len() > 20, "{operations:?}");
    for (method, path, operation) in &operations {
        // Each on things of its own, since some of them end what they name. One person approves them all, not
        // too many in a minute.
        grantbook.clock.advance(Duration::from_secs(10));
        let filled = Ids::of(&grantbook).fill(path);
        let body = operation["requestBody"].is_object().then(|| json!({}));
        let reply = grantbook.admin().ask(method, &filled, body.as_ref());
        assert!(![404, 405, 500, 501].contains(&reply.status), "{method} {path}: {reply:?}");
        let documented = &operation["responses"];
        let known = documented[reply.status.to_string()].is_object() || documented["default"].is_object();
        // What the OAuth endpoints say of a body that is no form is not an answer of theirs.
        assert!(known || reply.status == 415, "{method} {path} answers {}: {documented}", reply.status);
    }
}

#[test]
fn what_a_path_takes_is_what_the_document_has() {
    let grantbook = Grantbook::start();
    let (ids, operations) = (Ids::of(&grantbook), operations(&grantbook));
    let paths: BTreeSet<&String> = operations.iter().map(|(_, path, _)| path).collect();
    for path in paths {
        let refused = grantbook.send("PROPFIND", &ids.fill(path), &[], None).expect(405);
        let mut allowed: BTreeSet<_> = refused.header("allow").split(", ").map(str::to_owned).collect();
        // What a browser asks before a page may call the path is no operation.
        allowed.remove("OPTIONS");
        let of_path = operations.iter().filter(|(_, documented, _)| documented == path);
        let mut documented: BTreeSet<_> = of_path.map(|(method, _, _)| method.clone()).collect();
        if documented.contains("GET") {
            documented.insert("HEAD".to_owned());
        }
        if path == "/oauth/authorize" {
            // The form of the consent page, which no program sends.
            documented.insert("POST".to_owned());
        }
        assert_eq!(allowed, documented, "{path}");
    }
    for page in PAGES {
        grantbook.send("PUT", page, &[], None).expect(405);
        assert!(!operations.iter().any(|(_, path, _)| path == page), "{page}");
    }
}

#[test]
fn every_management_path_asks_for_a_key_first() {
    let grantbook = Grantbook::start();
    let (ids, nobody) = (Ids::of(&grantbook), Operator::new(&grantbook.http, "gbk_nobody"));
    let before = grantbook.events().len();
    let mut asked = 0;
    for (method, path, operation) in operations(&grantbook) {
        if operation["security"][0]["operator_key"].is_array() && path != "/oauth/introspect" {
            let reply = nobody.ask(&method, &ids.fill(&path), Some(&json!("nonsense")));
            reply.problem(401, "invalid_key");
            assert_eq!(reply.header("www-authenticate"), "Bearer", "{method} {path}");
            asked += 1;
        }
    }
    assert_eq!(asked, 31);
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn what_is_not_there_is_a_problem_for_programs_and_a_page_for_people() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    // People find a page there.
    grantbook.get("/").problem(404, "not_found");
    for path in
        ["/app", "/apps/", "/oauth", "/oauth/tokens", "/.well-known/openid-configuration", "/../apps", "/%00"]
    {
        grantbook.get(path).problem(404, "not_found");
        let page = grantbook.send("GET", path, &[("accept", "text/html,*/*;q=0.8")], None).expect(404);
        assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
        assert!(page.header("content-security-policy").contains("default-src 'none'"), "{page:?}");
    }
    // Ids that name nothing, and ids that are none.
    let nobody = "019a0000-0000-7000-8000-000000000000";
    for path in [
        format!("/apps/{}", nobody.replace('-', "")),
        format!("/installations/{nobody}"),
        format!("/installations/{nobody}/events"),
    ] {
        admin.get(&path).problem(404, "not_found");
    }
    for path in [
        "/apps/x",
        "/apps/%2e%2e",
        "/apps/' or 1=1 --".replace(' ', "%20").as_str(),
        "/installations/x",
        "/installations/x/events",
    ] {
        admin.get(path).problem(400, "invalid_request");
    }
}

#[test]
fn a_method_that_a_path_does_not_take_is_refused_with_what_it_takes() {
    let grantbook = Grantbook::start();
    for (method, path, allow) in [
        ("PUT", "/apps", "GET, HEAD, POST"),
        ("DELETE", "/apps", "GET, HEAD, POST"),
        ("POST", "/installations", "GET, HEAD"),
        ("GET", "/tokens/x", "DELETE"),
        ("POST", "/healthz", "GET, HEAD"),
        ("TRACE", "/apps", "GET, HEAD, POST"),
        ("BREW", "/keys", "GET, HEAD, POST"),
    ] {
        let reply: Reply = grantbook.send(method, path, &[], None);
        reply.problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), allow, "{method} {path}");
    }
}

#[test]
fn a_body_is_json_of_a_size_with_the_fields_it_may_have() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let bearer = format!("Bearer {}", grantbook.admin_key);
    let before = grantbook.events().len();
    let send = |kind: &str, body: &[u8]| {
        let headers = [("authorization", bearer.as_str()), ("content-type", kind)];
        grantbook.send("POST", "/keys", &headers, Some(body))
    };
    let key = json!({ "name": "x", "role": "admin" }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/xml", "application/jsonp"] {
        send(kind, key.as_bytes()).problem(415, "unsupported_media_type");
    }
    let long = format!("{key}{}", " ".repeat(64 * 1024));
    send("application/json", long.as_bytes()).problem(413, "too_large");
    let wrong = [
        "{",
        "",
        "null",
        "[]",
        "7",
        "{\"name\":\"x\",\"role\":\"admin\"} {}",
        "{\"name\":\"x\",\"name\":\"y\",\"role\":\"admin\"}",
        "\u{feff}{}",
    ];
    for body in wrong {
        send("application/json", body.as_bytes()).problem(400, "invalid_request");
    }
    send("application/json", b"{\"name\":\"\xff\",\"role\":\"admin\"}").problem(400, "invalid_request");
    send("application/json", "[".repeat(60_000).as_bytes()).problem(400, "invalid_request");
    assert_eq!(grantbook.events().len(), before);
    send("Application/JSON; charset=utf-8", key.as_bytes()).expect(201);
    admin.get("/keys").expect(200);
}

#[test]
fn a_request_keeps_its_name_if_it_is_a_plain_one() {
    let grantbook = Grantbook::start();
    let named = |name: &str| {
        let reply = grantbook.send("GET", "/healthz", &[("x-request-id", name)], None).expect(200);
        reply.header("x-request-id").to_owned()
    };
    assert_eq!(named("proxy-1.a_B"), "proxy-1.a_B");
    for hostile in ["a b", "<script>", "x".repeat(65).as_str(), "\"", ""] {
        let given = named(hostile);
        assert_ne!(given, hostile);
        assert!(given.len() >= 16, "{given}");
    }
}

/// The parts of a schema, and of what it leads to, that hold at once.
fn parts<'a>(document: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    if let Some(reference) = schema["$ref"].as_str() {
        return parts(document, document.pointer(reference.trim_start_matches('#')).unwrap());
    }
    match schema["allOf"].as_array() {
        Some(all) => all.iter().flat_map(|schema| parts(document, schema)).collect(),
        None => vec![schema],
    }
}

/// Why a value is not what a schema says, if it is not.
fn misfit(document: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    let parts = parts(document, schema);
    if let [one] = parts.as_slice()
        && let Some(either) = one["oneOf"].as_array()
    {
        let misfits: Vec<_> =
            either.iter().map_while(|schema| misfit(document, schema, value, path)).collect();
        return (misfits.len() == either.len()).then(|| misfits.join("; or "));
    }
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let is_of_kind = |part: &&Value| {
        part["type"] == kind || part["type"].as_array().is_some_and(|all| all.contains(&json!(kind)))
    };
    if !parts.iter().all(is_of_kind) {
        return Some(format!("{path} is {value}, and the document says {parts:?}"));
    }
    let known = |name: &str| parts.iter().find_map(|part| part["properties"].get(name));
    match value {
        // One whose fields are not told is any.
        Value::Object(fields) if parts.iter().any(|part| part["properties"].is_object()) => {
            let required = parts.iter().filter_map(|part| part["required"].as_array()).flatten();
            let mut missing = required.filter_map(Value::as_str).filter(|name| !fields.contains_key(*name));
            if let Some(missing) = missing.next() {
                return Some(format!("{path} has no {missing}"));
            }
            fields.iter().find_map(|(name, value)| match known(name) {
                Some(schema) => misfit(document, schema, value, &format!("{path}.{name}")),
                None => Some(format!("{path} has {name}, of which the document does not know")),
            })
        }
        Value::Array(items) => {
            let schema = &parts[0]["items"];
            items.iter().find_map(|item| misfit(document, schema, item, &format!("{path}[]")))
        }
        _ => None,
    }
}

#[test]
fn what_is_read_is_what_the_document_says() {
    let grantbook = Grantbook::start();
    let (ids, admin) = (Ids::of(&grantbook), grantbook.admin());
    let document = grantbook.get("/openapi.json").expect(200).json();
    let mut answers = 0;
    let mut hold = |documented: &str, asked: &str| {
        let reply = admin.get(asked).expect(200);
        let content = &document["paths"][documented]["get"]["responses"]["200"]["content"];
        let schema = &content["application/json"]["schema"];
        assert_eq!(misfit(&document, schema, &reply.json(), asked), None);
        answers += 1;
    };
    let queries = |path: &str| match path {
        "/installations" => "?account=acme",
        "/audit/installations" => "?account=acme&as_of=3",
        "/audit/diff" => "?account=acme&from=1&to=3",
        _ => "",
    };
    for (method, path, operation) in operations(&grantbook) {
        let with = &operation["security"][0];
        let is_for_operators = with["access_token"].is_null() && with["registration"].is_null();
        if method == "GET"
            && is_for_operators
            && operation["responses"]["200"]["content"]["application/json"].is_object()
        {
            hold(&path, &format!("{}{}", ids.fill(&path), queries(&path)));
        }
    }
    // When it is over, and for as many reasons as there are.
    let token = ids.fill("/audit/token/{token_id}");
    hold("/audit/token/{token_id}", &format!("{token}?as_of=1"));
    admin.post(&ids.fill("/apps/{client_id}/suspend"), &json!({ "reason": "review" })).expect(200);
    hold("/audit/token/{token_id}", &token);
    admin.delete(&ids.fill("/installations/{installation_id}")).expect(200);
    for (path, query) in [
        ("/audit/token/{token_id}", ""),
        ("/audit/token/{token_id}/timeline", ""),
        ("/audit/installations", "?account=acme"),
        ("/audit/installations/{installation_id}/timeline", ""),
        ("/audit/diff", "?account=acme&from=3"),
        ("/audit/events", ""),
        ("/installations/{installation_id}/events", ""),
        ("/apps/{client_id}", ""),
    ] {
        hold(path, &format!("{}{query}", ids.fill(path)));
    }
    assert!(answers > 25, "{answers}");
}
