//! Apps that registered themselves, as people and operators see them, and what becomes of those that nobody approves.

use std::sync::Arc;
use std::time::Duration;

use grantbook::secrets;
use grantbook::store::{MemoryStore, Store};
use grantbook_events::{ActorKind, AppEvent, Event, Recorded, StreamKind, StreamName, Timestamp};
use serde_json::json;

use crate::harness::{Given, Grantbook, START};
use crate::register::{agent, registered, with};

#[test]
fn d2_the_consent_page_names_the_host_first_and_says_that_nobody_has_checked_the_app() {
    let grantbook = Grantbook::start();
    let mut metadata = with("client_uri", "https://app.example/about");
    metadata["token_endpoint_auth_method"] = json!("none");
    let (app, _) = registered(&grantbook, &metadata);
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let query = app.query(&[("code_challenge", challenge), ("code_challenge_method", "S256")]);
    let ana = grantbook.person("ana", "acme");
    let page = ana.get(&format!("/oauth/authorize?{query}")).expect(200).body;
    let at = |text: &str| page.find(text).unwrap_or_else(|| panic!("no {text:?}: {page}"));
    assert!(
        at("<h1>Let an app from <bdi>app.example</bdi> act on")
            < at("It calls itself “<strong><bdi>Agent</bdi>")
    );
    let server = grantbook.address;
    at(&format!("nobody at <bdi>{server}</bdi> has"));
    assert!(!page.contains("https://app.example/about") && !page.contains("An app by"), "{page}");

    let of_operator = ana.get(&format!("/oauth/authorize?{}", grantbook.app().query(&[]))).expect(200).body;
    assert!(of_operator.contains("An app by") && !of_operator.contains("It calls itself"), "{of_operator}");

    let code = ana.approve(&query).expect(303).param("code").unwrap();
    let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    grantbook.exchange_with(&app, &code, &[("code_verifier", verifier)]).expect(200);
    let installed = ana.get("/account/apps").expect(200).body;
    assert!(installed.contains("not checked by this server; from <bdi>app.example</bdi>"), "{installed}");
}

#[test]
fn d2_an_app_that_nobody_approves_in_time_is_deleted_and_no_other() {
    let store: Arc<dyn Store> = MemoryStore::new(secrets::new_ledger_identity());
    let started = |after: Duration| {
        Grantbook::given(Given {
            store: Some(Arc::clone(&store)),
            at: Some(START.plus(after)),
            ..Given::default()
        })
    };
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    const HOUR: Duration = Duration::from_secs(60 * 60);
    let client_id = |grantbook: &Grantbook| registered(grantbook, &agent()).0.client_id;
    // It goes on, because the store ends with it.
    let first = started(Duration::ZERO);
    let (unapproved, later) = {
        let grantbook = &first;
        let (unapproved, approved) = (client_id(grantbook), registered(grantbook, &agent()).0);
        grantbook.app();
        let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
        let query = approved.query(&[("code_challenge", challenge), ("code_challenge_method", "S256")]);
        grantbook.person("ana", "acme").approve(&query).expect(303);
        grantbook.clock.advance(HOUR);
        (unapproved, client_id(grantbook))
    };
    let deleted = |grantbook: &Grantbook| -> Vec<(StreamName, Timestamp)> {
        let is_deletion = |it: &Recorded| matches!(it.event, Event::App(AppEvent::Deleted(_)));
        let events = grantbook.events().into_iter().filter(is_deletion);
        events
            .map(|it| {
                assert_eq!(it.envelope.actor.kind, ActorKind::System);
                (it.envelope.stream, it.envelope.recorded_at)
            })
            .collect()
    };
    let mut others = vec![];
    for (after, all) in [(30 * DAY, 1), (30 * DAY + HOUR, 2)] {
        others.push(started(after));
        while deleted(&first).len() < all {
            std::thread::yield_now();
        }
    }
    let due =
        |client_id: &str, after| (StreamKind::App(client_id.parse().unwrap()).into(), START.plus(after));
    assert_eq!(deleted(&first), [due(&unapproved, 30 * DAY), due(&later, 30 * DAY + HOUR)]);
}

#[test]
fn d2_an_operator_finds_and_ends_all_apps_of_one_host() {
    let grantbook = Grantbook::start();
    let (one, other) =
        (registered(&grantbook, &agent()).0, with("redirect_uris", json!(["https://evil.example/"])));
    let below = with("redirect_uris", json!(["http://localhost/cb", "https://a.evil.example/cb"]));
    let evil = [&other, &below].map(|metadata| registered(&grantbook, metadata).0.client_id);
    let of_operator = grantbook.app().client_id;
    let ids = |query: &str| -> Vec<String> {
        let apps = grantbook.admin().all(&format!("/apps{query}"), 2);
        apps.iter().map(|app| app["client_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids("?host=evil.example"), evil);
    assert_eq!(ids("?host=il.example"), [""; 0]);
    grantbook.admin().get("/apps?host=").expect(400);
    assert_eq!(ids("?source=operator"), [of_operator.as_str()]);
    assert_eq!(ids("?source=open&host=app.example"), [one.client_id.as_str()]);
    assert_eq!(ids("").len(), 4);

    let url = grantbook.issuer();
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_grantbook"));
        command.args(arguments).args(["--server", &url]).env("GRANTBOOK_KEY", &grantbook.admin_key);
        let done = command.output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    };
    let said = run(&["app", "suspend", "--host", "evil.example", "--reason", "phishing"]);
    assert!(evil.iter().all(|id| said.contains(id)) && !said.contains(&one.client_id), "{said}");
    let is_suspended = |id: &String| {
        let app = grantbook.admin().get(&format!("/apps/{id}")).expect(200).json();
        app["status"]["state"] == "suspended"
    };
    assert!(evil.iter().all(is_suspended) && !is_suspended(&one.client_id) && !is_suspended(&of_operator));
    // Those that are suspended already are left as they are.
    run(&["app", "suspend", "--host", "evil.example", "--reason", "again"]);
    run(&["app", "delete", "--host", "evil.example", "--reason", "gone"]);
    let listed = run(&["app", "list", "--host", "evil.example", "--wide"]);
    assert_eq!(listed.matches("deleted").count(), 2, "{listed}");
}
