//! `POST /oauth/par`: requests that apps push, and what becomes of them at `/oauth/authorize` (RFC 9126).

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use grantbook::decisions::SuspendApp;
use grantbook::secrets;
use grantbook::store::MemoryStore;
use grantbook_events::{Event, InstallationEvent, Position};
use serde_json::json;

use crate::client::{Browser, Pairs, Reply, encode};
use crate::harness::{App, CALLBACK, Given, Grantbook, touched};
use crate::html;

const CHALLENGE: [(&str, &str); 2] =
    [("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"), ("code_challenge_method", "S256")];

#[track_caller]
fn push(grantbook: &Grantbook, app: &App, added: Pairs<'_>) -> Reply {
    grantbook.post("/oauth/par", &[&app.credentials()[..], added].concat())
}

/// The query that the browser is sent with.
#[track_caller]
fn pushed(grantbook: &Grantbook, app: &App, added: Pairs<'_>) -> String {
    let request_uri = push(grantbook, app, added).expect(201).text("request_uri");
    encode(&[("client_id", &app.client_id), ("request_uri", &request_uri)])
}

/// The consent form, where the first answer leads on.
#[track_caller]
fn consent(browser: &Browser, query: &str) -> html::HtmlForm {
    let on = browser.get(&format!("/oauth/authorize?{query}")).expect(303);
    browser.get(on.location()).expect(200).form("/oauth/authorize")
}

/// The error that a signed-in person's browser takes back to the app.
#[track_caller]
fn error(grantbook: &Grantbook, query: &str) -> String {
    let reply = grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{query}")).expect(303);
    assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
    assert_eq!(reply.param("code"), None);
    reply.param("error").unwrap()
}

fn grants(grantbook: &Grantbook) -> usize {
    let is_grant = |event: &Event| matches!(event, Event::Installation(InstallationEvent::AccessGranted(_)));
    grantbook.events().iter().filter(|recorded| is_grant(&recorded.event)).count()
}

const APPROVE: Pairs<'_> = &[("decision", "approve")];

#[test]
fn p1_what_was_pushed_is_asked_and_nothing_beside_it() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let form = encode(&[("scope", "widgets faqs"), ("state", "pushed"), ("redirect_uri", CALLBACK)]);
    let reply = grantbook.post_raw("/oauth/par", &[("authorization", &app.basic())], &form).expect(201);
    assert_eq!(reply.json()["expires_in"], 60);
    assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store", "no-cache"));
    let request_uri = reply.text("request_uri");
    assert!(request_uri.starts_with("urn:ietf:params:oauth:request_uri:"), "{request_uri}");
    let query = encode(&[
        ("client_id", app.client_id.as_str()),
        ("request_uri", &request_uri),
        ("scope", "contacts"),
        ("state", "beside"),
        ("redirect_uri", "https://evil.example/"),
        ("response_type", "token"),
    ]);
    let before = grantbook.events().len();
    let browser = grantbook.person("ana", "acme");
    let reply = browser.submit(&consent(&browser, &query), APPROVE).expect(303);
    assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
    assert_eq!(reply.param("state").as_deref(), Some("pushed"));
    let code = reply.param("code").unwrap();
    let token = grantbook.exchange_with(&app, &code, &[("redirect_uri", CALLBACK)]).expect(200);
    assert_eq!(token.text("scope"), "widgets faqs");
    // Pushing is no event.
    assert_eq!(grantbook.events().len(), before + 2);
}

#[test]
fn p1_a_request_uri_tells_nothing_and_no_two_are_the_same() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let ask = || push(&grantbook, &app, &[("scope", "widgets"), ("state", "hush-hush")]);
    let [one, other] = [ask(), ask()].map(|reply| reply.expect(201).text("request_uri"));
    assert_ne!(one, other);
    let sealed = URL_SAFE_NO_PAD.decode(one.rsplit(':').next().unwrap()).unwrap();
    let sealed = String::from_utf8_lossy(&sealed);
    for said in ["hush-hush", "widgets", &app.client_id, app.secret.as_ref().unwrap()] {
        assert!(!sealed.contains(said), "{sealed}");
    }
}

#[test]
fn p1_a_request_is_checked_when_it_is_pushed() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| {
        app.redirect_uris.push("https://app.example/other".to_owned());
        app.scopes.retain(|scope| scope != "contacts");
    });
    let good = [("scope", "widgets"), ("redirect_uri", CALLBACK)];
    let before = grantbook.events().len();
    for (added, error) in [
        (&[("scope", "widgets"), ("redirect_uri", "https://evil.example/")][..], "invalid_request"),
        (&[("scope", "widgets")], "invalid_request"),
        (&[("scope", "contacts"), ("redirect_uri", CALLBACK)], "invalid_scope"),
        (&[("redirect_uri", CALLBACK)], "invalid_scope"),
        (&[good[0], good[1], ("response_type", "token")], "unsupported_response_type"),
        (&[good[0], good[1], ("response_mode", "fragment")], "invalid_request"),
        (&[good[0], good[1], ("code_challenge_method", "S256")], "invalid_request"),
        (&[good[0], good[1], ("state", "a"), ("state", "b")], "invalid_request"),
        (&[good[0], good[1], ("request_uri", "urn:ietf:params:oauth:request_uri:x")], "invalid_request"),
        (&[good[0], good[1], ("request", "e30.e30.")], "request_not_supported"),
    ] {
        let reply = push(&grantbook, &app, added);
        assert_eq!(reply.error(), (400, error.to_owned()), "{added:?}: {reply:?}");
        assert_eq!(reply.header("content-type"), "application/json");
    }
    let long = "s".repeat(17 * 1024);
    assert_eq!(push(&grantbook, &app, &[good[0], good[1], ("state", &long)]).status, 413);
    let escaped = "\u{1}".repeat(5 * 1024);
    let reply = push(&grantbook, &app, &[good[0], good[1], ("state", &escaped)]);
    assert_eq!(reply.error(), (413, "invalid_request".to_owned()));
    push(&grantbook, &app, &good).expect(201);
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn p1_an_app_authenticates_to_push() {
    let grantbook = Grantbook::start();
    let (app, public) = (grantbook.app(), grantbook.public_app());
    let scope = ("scope", "widgets");
    let invalid_client = (401, "invalid_client".to_owned());
    let secret = app.secret.as_deref().unwrap();
    for credentials in [
        &[][..],
        &[("client_id", app.client_id.as_str())],
        &[("client_id", &app.client_id), ("client_secret", "gbs_wrong")],
        &[("client_id", &public.client_id), ("client_secret", secret)],
    ] {
        let reply = grantbook.post("/oauth/par", &[credentials, &[scope]].concat());
        assert_eq!(reply.error(), invalid_client, "{reply:?}");
    }
    assert_eq!(push(&grantbook, &public, &[scope]).error(), (400, "invalid_request".to_owned()));
    let query = pushed(&grantbook, &public, &[&CHALLENGE[..], &[scope]].concat());
    let browser = grantbook.person("ana", "acme");
    assert!(browser.submit(&consent(&browser, &query), APPROVE).expect(303).param("code").is_some());
    grantbook.send("GET", "/oauth/par", &[], None).expect(405);

    let client_id = app.client_id.parse().unwrap();
    let query = pushed(&grantbook, &app, &[scope]);
    grantbook.settle(&SuspendApp { client_id, reason: "review".to_owned() });
    assert_eq!(push(&grantbook, &app, &[scope]).error(), (400, "unauthorized_client".to_owned()));
    browser.get(&format!("/oauth/authorize?{query}")).expect(400);
}

#[test]
fn p1_an_app_can_have_to_push_its_requests() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app_with(|app| app.requires_pushed_requests = true), grantbook.admin());
    let browser = grantbook.person("ana", "acme");
    let refused = browser.get(&format!("/oauth/authorize?{}", app.query(&[]))).expect(303);
    assert_eq!(refused.param("error").as_deref(), Some("invalid_request"));
    assert!(refused.param("error_description").unwrap().contains("/oauth/par"), "{refused:?}");
    let query = pushed(&grantbook, &app, &[("scope", "widgets")]);
    assert!(browser.submit(&consent(&browser, &query), APPROVE).expect(303).param("code").is_some());
    // Once it must, a form that is open does not help.
    let path = format!("/apps/{}", app.client_id);
    admin.patch(&path, &json!({ "requires_pushed_requests": false })).expect(200);
    let form = browser.consent(&app.query(&[]));
    admin.patch(&path, &json!({ "requires_pushed_requests": true })).expect(200);
    assert_eq!(browser.submit(&form, APPROVE).param("error").as_deref(), Some("invalid_request"));
    assert_eq!(grants(&grantbook), 1);
}

#[test]
fn p1_a_request_uri_is_good_for_one_grant() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.homepage = Some("https://app.example/".to_owned()));
    let query = pushed(&grantbook, &app, &[("scope", "widgets")]);
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let (first, of_another) = (consent(&ana, &query), consent(&ben, &query));
    // Denying uses nothing up, and the page can be loaded again.
    assert_eq!(
        ana.submit(&first, &[("decision", "deny")]).expect(303).param("error").as_deref(),
        Some("access_denied")
    );
    let code = ana.submit(&consent(&ana, &query), APPROVE).expect(303).param("code").unwrap();
    // A second click leads to the same code, and nobody else to any.
    assert_eq!(ana.submit(&first, APPROVE).expect(303).param("code").as_ref(), Some(&code));
    ben.submit(&of_another, APPROVE).expect(400);
    grantbook.exchange(&app, &code).expect(200);
    let used = ana.submit(&consent(&ana, &query), APPROVE).expect(400);
    assert_eq!(grants(&grantbook), 1);
    // No link leads to the same request again.
    let links = html::links(&used.body);
    assert!(links.iter().any(|(href, _)| href == "https://app.example/"), "{links:?}");
    assert!(!links.iter().any(|(href, _)| href.contains("/oauth/authorize")), "{links:?}");
}

#[test]
fn p1_of_two_nodes_one_grants_what_was_pushed_to_either() {
    let files = tempfile::tempdir().unwrap();
    let key = files.path().join("session.key");
    let store = MemoryStore::new(secrets::new_ledger_identity());
    let node = || {
        let settings = [("SESSION_KEY_FILE", key.to_str().unwrap()), ("ISSUER", "http://127.0.0.1:1")];
        let store = Some(Arc::clone(&store) as _);
        Grantbook::given(Given { settings: &settings, store, ..Given::default() })
    };
    let nodes = [node(), node()];
    let app = nodes[0].app();
    nodes[1].block_on(nodes[1].ledger().reached(Position::new(1)));
    let query = pushed(&nodes[0], &app, &[("scope", "widgets")]);
    // Two people of one account, each on another node, at once.
    let replies: Vec<Reply> = thread::scope(|scope| {
        let threads = [("ana", &nodes[0]), ("ben", &nodes[1])].map(|(user, node)| {
            let browser = node.person(user, "acme");
            let form = consent(&browser, &query);
            scope.spawn(move || browser.submit(&form, APPROVE))
        });
        threads.map(|thread| thread.join().unwrap()).into()
    });
    let mut statuses: Vec<u16> = replies.iter().map(|reply| reply.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [303, 400], "{replies:?}");
    assert_eq!(grants(&nodes[0]), 1);
}

#[test]
fn p1_a_request_uri_is_good_for_a_minute_and_not_lost_in_a_sign_in() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let ask = || pushed(&grantbook, &app, &[("scope", "widgets"), ("state", "s")]);
    let (late, in_time) = (ask(), ask());
    grantbook.clock.advance(Duration::from_secs(59));
    let browser = grantbook.browser();
    let on = browser.get(&format!("/oauth/authorize?{in_time}")).expect(303).location().to_owned();
    grantbook.clock.advance(Duration::from_secs(1));
    assert_eq!(error(&grantbook, &late), "invalid_request_uri");
    // Nobody is sent to an app before signing in, also with what has expired (A7).
    let reply = grantbook.browser().get(&format!("/oauth/authorize?{late}")).expect(303);
    assert!(reply.location().starts_with("/sign-in?"), "{reply:?}");

    grantbook.clock.advance(Duration::from_secs(6 * 60));
    let to_sign_in = browser.get(&on).expect(303).location().to_owned();
    let form = browser.get(&to_sign_in).expect(200).form("/sign-in/dev");
    let back = browser.submit(&form, &[("person", "ana")]).expect(303);
    assert_eq!(back.location(), on);
    let form = browser.get(&on).expect(200).form("/oauth/authorize");
    // A form is good for as long as any other.
    grantbook.clock.advance(Duration::from_secs(599));
    let over = browser.get(&on).expect(303);
    assert_eq!(over.param("error").as_deref(), Some("invalid_request_uri"));
    assert_eq!(over.param("state").as_deref(), Some("s"));
    assert!(browser.submit(&form, APPROVE).expect(303).param("code").is_some());
}

#[test]
fn p1_a_request_uri_of_another_client_or_another_maker_is_refused() {
    let grantbook = Grantbook::start();
    let (app, other) = (grantbook.app(), grantbook.app());
    let request_uri = push(&grantbook, &app, &[("scope", "widgets")]).expect(201).text("request_uri");
    let elsewhere = push(&Grantbook::start(), &app, &[("scope", "widgets")]).error();
    assert_eq!(elsewhere.1, "invalid_client");
    let with = |app: &App, name: &str, value: &str| app.query(&[(name, value)]);
    for query in [
        with(&other, "request_uri", &request_uri),
        with(&app, "request_uri", &touched(&request_uri)),
        with(&app, "request_uri", "urn:ietf:params:oauth:request_uri:"),
        with(&app, "request_uri", "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c"),
    ] {
        assert_eq!(error(&grantbook, &query), "invalid_request_uri", "{query}");
    }
    let foreign = with(&app, "request_uri", "https://evil.example/request.jwt");
    assert_eq!(error(&grantbook, &foreign), "request_uri_not_supported");
    assert_eq!(error(&grantbook, &with(&app, "request", "e30.e30.")), "request_not_supported");
    let twice = app.query(&[("request_uri", &request_uri), ("request_uri", &request_uri)]);
    assert_eq!(error(&grantbook, &twice), "invalid_request");
    // Without a client or a target there is a page.
    let several = grantbook.app_with(|app| app.redirect_uris.push("https://app.example/other".to_owned()));
    let browser = grantbook.person("ana", "acme");
    for query in [
        encode(&[("request_uri", &request_uri)]),
        encode(&[("client_id", &several.client_id), ("request_uri", &request_uri)]),
        encode(&[("client_id", "00000000000000000000000000000000"), ("request_uri", &request_uri)]),
    ] {
        let reply = browser.get(&format!("/oauth/authorize?{query}")).expect(400);
        assert_eq!(reply.location(), "");
    }
    assert_eq!(grants(&grantbook), 0);
}
