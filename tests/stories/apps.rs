//! `/apps`: an operator registers, changes, suspends and deletes apps; what that does is seen from outside.

use std::time::Duration;

use serde_json::{Value, json};

use crate::client::{Reply, encode};
use crate::harness::{App, CALLBACK, Grantbook};
use crate::html;

fn new_app(name: &str) -> Value {
    json!({
        "name": name, "owner": "Sample Owner", "redirect_uris": [CALLBACK],
        "scopes": ["widgets", "faqs", "contacts", "conversations"],
    })
}

fn with(field: &str, value: Value) -> Value {
    let mut app = new_app("One");
    app[field] = value;
    app
}

/// The app of a reply that registered it.
#[track_caller]
fn registered(reply: &Reply) -> App {
    let secret = reply.json()["client_secret"].as_str().map(str::to_owned);
    App { client_id: reply.text("client_id"), secret }
}

#[test]
fn a_registered_app_can_be_installed_and_its_secret_is_shown_once() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let reply = admin.post("/apps", &new_app("One")).expect(201);
    assert_eq!(reply.header("cache-control"), "no-store");
    let app = registered(&reply);
    let secret = app.secret.clone().unwrap();
    assert!(secret.starts_with("gbs_") && secret.len() > 40, "{secret}");
    grantbook.token(&app);

    let path = reply.header("location").strip_prefix(&grantbook.issuer()).unwrap().to_owned();
    let mut shown = reply.json();
    shown.as_object_mut().unwrap().remove("client_secret");
    let read = admin.get(&path).expect(200);
    assert_eq!(read.json(), shown);
    let listed = admin.get("/apps").expect(200);
    for reply in [read, listed] {
        assert!(!reply.body.contains(&secret) && !reply.body.contains("digest"), "{reply:?}");
    }
    let other = registered(&admin.post("/apps", &new_app("One")).expect(201));
    assert_ne!((other.client_id, other.secret), (app.client_id, app.secret));
}

#[test]
fn a5_a_redirect_uri_is_https_or_loopback_or_a_private_scheme_with_a_dot() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let right = [
        "https://app.example/cb",
        "https://app.example:8443/cb?tenant=1",
        "http://127.0.0.1/cb",
        "http://[::1]:8000/cb",
        "http://localhost/cb",
        "com.example.app:/cb",
    ];
    for uri in right {
        admin.post("/apps", &with("redirect_uris", json!([uri]))).expect(201);
    }
    let wrong = [
        "",
        "/callback",
        "//app.example/cb",
        "app.example/cb",
        "https://",
        "http://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost.evil.example/cb",
        "http://192.168.0.1/cb",
        "https://app.example/cb#",
        "https://app.example/cb#x",
        "https://user@app.example/cb",
        "https://user:pass@app.example/cb",
        "https://*.example/cb",
        "https://app.example/a/../cb",
        "https://app.example\\cb",
        "https://app.example/c b",
        "https://app.example/cb\r\nx: y",
        "HTTPS://app.example/cb",
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        " javascript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "ftp://app.example/cb",
        "myapp:/cb",
        "urn:ietf:wg:oauth:2.0:oob",
    ];
    let app = registered(&admin.post("/apps", &new_app("One")).expect(201));
    let path = format!("/apps/{}", app.client_id);
    let before = grantbook.events().len();
    let long = format!("https://app.example/{}", "x".repeat(2048));
    for uri in wrong.iter().chain(&[long.as_str()]) {
        let uris = json!([CALLBACK, uri]);
        for reply in [
            admin.post("/apps", &with("redirect_uris", uris.clone())),
            admin.patch(&path, &json!({ "redirect_uris": uris })),
        ] {
            assert!(
                reply.problem(400, "invalid_request").starts_with("redirect_uris: "),
                "{uri:?}: {reply:?}"
            );
        }
    }
    let many: Vec<_> = (0..21).map(|n| format!("https://app.example/{n}")).collect();
    for uris in [json!([]), json!([CALLBACK, CALLBACK]), json!(many), json!([7]), json!(CALLBACK)] {
        admin.post("/apps", &with("redirect_uris", uris)).problem(400, "invalid_request");
    }
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn what_is_wrong_about_a_registration_is_named() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let before = grantbook.events().len();
    for (field, value) in [
        ("name", json!("")),
        ("name", json!("x".repeat(101))),
        ("name", json!("right\u{202e}left")),
        ("name", json!("\u{3164}")),
        ("name", json!("\u{2800}")),
        ("owner", json!("\u{ad}")),
        ("name", json!("Pay\u{200d}Pal")),
        ("name", Value::Null),
        ("owner", json!(" ")),
        ("scopes", json!(["everything"])),
        ("scopes", json!([])),
        ("homepage", json!("javascript:alert(1)")),
        ("homepage", json!("http://app.example/")),
        ("homepage", json!("https://accounts.example@evil.example/")),
        ("confidential", json!("yes")),
        ("token_policy", json!({ "lifetime_seconds": 0 })),
        ("token_policy", json!({ "lifetime_seconds": -1 })),
        ("client_id", json!("mine")),
        ("client_secret", json!("mine")),
    ] {
        let detail = admin.post("/apps", &with(field, value)).problem(400, "invalid_request");
        assert!(detail.contains(field) || field == "scopes", "{field}: {detail}");
    }
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn a_name_is_taken_in_every_script_and_shown_as_it_was_given() {
    let grantbook = Grantbook::start();
    let browser = grantbook.person("ana", "acme");
    for name in [
        "\u{645}\u{6cc}\u{200c}\u{62e}\u{648}\u{627}\u{647}\u{645}",
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} Family",
        "Zo\u{eb}\u{2019}s \u{2764}\u{fe0f}",
    ] {
        let app = grantbook.admin().post("/apps", &with("name", json!(name))).expect(201);
        assert_eq!(app.text("name"), name);
        let query = encode(&[("client_id", app.text("client_id").as_str()), ("scope", "widgets")]);
        let page = browser.get(&format!("/oauth/authorize?{query}")).expect(200);
        assert!(html::text(&page.body).contains(name), "{page:?}");
    }
}

#[test]
fn a_change_is_seen_by_the_next_request() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (admin, path) = (grantbook.admin(), format!("/apps/{}", app.client_id));
    let browser = grantbook.person("ana", "acme");
    let moved = "https://moved.example/cb";
    let changes = json!({ "name": "Other Name", "redirect_uris": [moved], "scopes": ["widgets"] });
    admin.patch(&path, &changes).expect(200);
    let page = browser.get(&format!("/oauth/authorize?{}", app.query(&[]))).expect(200);
    assert!(page.body.contains("Other Name") && page.body.contains("moved.example"), "{page:?}");
    browser.get(&format!("/oauth/authorize?{}", app.query(&[("redirect_uri", CALLBACK)]))).expect(400);
    let reply = browser.approve(&app.query(&[("redirect_uri", moved)])).expect(303);
    assert!(reply.location().starts_with(moved), "{reply:?}");
    let nothing = admin.patch(&path, &json!({})).expect(200).json();
    assert_eq!(nothing["name"], "Other Name");
}

#[test]
fn t5_a_secret_is_rotated_retired_and_rotated_at_once() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let secrets = format!("/apps/{}/secrets", app.client_id);
    let with_secret = |reply: &Reply| App { secret: Some(reply.text("client_secret")), ..app.clone() };
    let status = |app: &App| grantbook.exchange(app, &grantbook.code(app)).status;

    let rotated = admin.post(&secrets, &json!({ "overlap_seconds": 60 })).expect(201);
    let second = with_secret(&rotated);
    assert_eq!((status(&app), status(&second)), (200, 200));
    // A third would leave too many doors open.
    admin.post(&secrets, &json!({})).problem(409, "conflict");
    let first_id = rotated.json()["secrets"][0]["secret_id"].as_str().unwrap().to_owned();
    admin.delete(&format!("{secrets}/{first_id}")).expect(204);
    assert_eq!((status(&app), status(&second)), (401, 200));
    let second_id = rotated.text("secret_id");
    admin.delete(&format!("{secrets}/{second_id}")).problem(409, "conflict");

    let third = with_secret(&admin.post(&secrets, &json!({ "overlap_seconds": 0 })).expect(201));
    assert_eq!((status(&second), status(&third)), (401, 200));
    // A day of overlap, unless the configuration or the operator says otherwise.
    let fourth = with_secret(&admin.post(&secrets, &json!({})).expect(201));
    grantbook.clock.advance(Duration::from_secs(24 * 60 * 60 - 1));
    assert_eq!((status(&third), status(&fourth)), (200, 200));
    grantbook.clock.advance(Duration::from_secs(1));
    assert_eq!((status(&third), status(&fourth)), (401, 200));
}

#[test]
fn c5_a_suspended_app_is_out_until_it_is_resumed() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let token = grantbook.token(&app);
    let path = format!("/apps/{}", app.client_id);
    let reason = json!({ "reason": "it sent spam" });
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    let suspended = admin.post(&format!("{path}/suspend"), &reason).expect(200).json();
    assert_eq!(suspended["status"], json!({ "state": "suspended", "reason": "it sent spam" }));
    assert!(!grantbook.is_active(&token));
    // Nobody new is asked, and who was asked already is not sent on with a code.
    for reply in [
        browser.get(&format!("/oauth/authorize?{}", app.query(&[]))),
        browser.submit(&form, &[("decision", "approve")]),
    ] {
        assert_eq!(reply.param("code"), None, "{reply:?}");
        assert_ne!(reply.status, 200, "{reply:?}");
        assert!(!reply.body.contains("it sent spam"), "why is not for people: {reply:?}");
    }
    admin.post(&format!("{path}/suspend"), &reason).problem(409, "conflict");
    admin.post(&format!("{path}/resume"), &json!({ "reason": "" })).problem(400, "invalid_request");
    admin.post(&format!("{path}/resume"), &json!({ "reason": "fixed" })).expect(200);
    admin.post(&format!("{path}/resume"), &json!({ "reason": "fixed" })).problem(409, "conflict");
    assert!(grantbook.is_active(&token));
    grantbook.clock.advance(Duration::from_secs(1));
    grantbook.token(&app);
}

#[test]
fn a_deleted_app_is_out_for_good_and_its_history_stays() {
    let grantbook = Grantbook::start();
    let (app, other, admin) = (grantbook.app(), grantbook.app(), grantbook.admin());
    let (token, kept) = (grantbook.token(&app), grantbook.token(&other));
    let path = format!("/apps/{}", app.client_id);
    admin.delete(&path).problem(400, "invalid_request");
    assert!(grantbook.is_active(&token));
    admin.delete(&format!("{path}?reason=abandoned")).expect(204);
    assert_eq!((grantbook.is_active(&token), grantbook.is_active(&kept)), (false, true));
    grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{}", app.query(&[]))).expect(400);
    let read = admin.get(&path).expect(200).json();
    assert_eq!(read["status"], json!({ "state": "deleted", "reason": "abandoned" }));
    for (what, body) in
        [("secrets", json!({})), ("resume", json!({ "reason": "x" })), ("suspend", json!({ "reason": "x" }))]
    {
        admin.post(&format!("{path}/{what}"), &body).problem(404, "not_found");
    }
    admin.patch(&path, &json!({ "name": "x" })).problem(404, "not_found");
    admin.delete(&format!("{path}?reason=again")).problem(404, "not_found");
    let installations = admin.all(&format!("/installations?app={}", app.client_id), 10);
    assert_eq!((installations.len(), &installations[0]["installed"]), (1, &json!(false)));
}

#[test]
fn apps_are_listed_in_pages() {
    let grantbook = Grantbook::start();
    let admin = grantbook.admin();
    let names: Vec<String> = (0..7).map(|n| format!("App {n}")).collect();
    for name in &names {
        admin.post("/apps", &new_app(name)).expect(201);
    }
    for a_page in [1, 2, 3, 7, 200] {
        let listed = admin.all("/apps", a_page);
        let listed: Vec<_> = listed.iter().map(|app| app["name"].as_str().unwrap()).collect();
        assert_eq!(listed, names, "{a_page}");
    }
    for query in ["limit=0", "limit=201", "limit=x", "limit=-1", "cursor=x", "cursor=", "page=2"] {
        admin.get(&format!("/apps?{query}")).problem(400, "invalid_request");
    }
}
