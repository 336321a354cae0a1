//! `POST /oauth/authorize`: the consent page, and what a person's decision does.

use std::time::Duration;

use crate::client::{Browser, Reply, encode};
use crate::harness::{CALLBACK, Grantbook, touched};
use crate::html;

/// The form is not taken: a page, no redirect.
#[track_caller]
fn assert_stale(reply: &Reply) {
    assert_eq!((reply.status, reply.location()), (400, ""), "{reply:?}");
    let page = html::text(&reply.body);
    let titles = ["This form is no longer good", "You are not signed in any more"];
    assert!(titles.iter().any(|title| page.contains(title)), "{reply:?}");
    // It leads on, and says so once.
    assert_eq!((html::links(&reply.body).len(), page.contains("Go back")), (1, false), "{reply:?}");
}

fn exchanged(grantbook: &Grantbook) -> usize {
    use grantbook_events::{Event, InstallationEvent};
    let is_grant = |event: &Event| matches!(event, Event::Installation(InstallationEvent::AccessGranted(_)));
    grantbook.events().iter().filter(|recorded| is_grant(&recorded.event)).count()
}

#[test]
fn a9_a_redirect_after_a_post_is_303() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.browser();
    let form = browser.get("/sign-in").expect(200).form("/sign-in/dev");
    let signed_in = browser.submit(&form, &[("person", "ana")]);
    let form = browser.consent(&app.query(&[]));
    let denied = browser.submit(&form, &[("decision", "deny")]);
    let approved = browser.submit(&form, &[("decision", "approve")]);
    for reply in [&signed_in, &denied, &approved] {
        assert_eq!(reply.status, 303, "{reply:?}");
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("referrer-policy"), "no-referrer");
    }
    assert!(approved.location().starts_with(CALLBACK));
}

#[test]
fn a10_the_consent_page_says_who_asks_for_what_and_where_it_leads() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| {
        app.name = "Chatty <b>Cathy</b>".to_owned();
        app.owner = "Cathy & Sons".to_owned();
        app.redirect_uris = vec!["https://app.example:8443/callback".to_owned()];
    });
    let query = encode(&[("client_id", &app.client_id), ("scope", "brands contacts")]);
    let reply = grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{query}")).expect(200);
    assert!(!reply.body.contains("<b>Cathy"), "{reply:?}");
    let text = html::text(&reply.body);
    for part in
        ["Chatty <b>Cathy</b>", "Cathy & Sons", "app.example:8443", "acme", "ana", "widgets", "contacts"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    for absent in ["faqs", "conversations", "brands"] {
        assert!(!text.contains(absent), "{absent} in {text}");
    }
}

#[test]
fn a10_the_consent_page_says_what_is_installed_already_and_what_is_new() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let (ana, ben) = (grantbook.person("ana", "acme"), grantbook.person("ben", "acme"));
    let asked = |browser: &Browser, scope: &str| {
        let query = encode(&[("client_id", &app.client_id), ("scope", scope)]);
        html::text(&browser.get(&format!("/oauth/authorize?{query}")).expect(200).body)
    };
    let first = asked(&ana, "widgets");
    assert!(first.contains("Install Sample App on acme?") && !first.contains("already"), "{first}");
    grantbook.exchange(&app, &grantbook.code_of(&ana, &app)).expect(200);
    grantbook.clock.advance(Duration::from_secs(1800));
    let more = asked(&ana, "widgets contacts");
    assert!(more.contains("Let Sample App do more on acme?"), "{more}");
    assert!(more.contains("It is installed there already, since 2 January 2026, 03:04 UTC."), "{more}");
    let (new, held) = more.split_once("You let it do this already, and it still may").unwrap();
    let new = new.split_once("New: if you approve, it may also").unwrap().1;
    assert!(new.contains("contacts") && !new.contains("widgets"), "{more}");
    assert!(held.contains("widgets") && !held.contains("contacts"), "{more}");
    // What another user approved is new from this one.
    let first = asked(&ben, "widgets contacts");
    assert!(first.contains("Approve Sample App on acme?"), "{first}");
    assert!(first.contains("already, since 2 January 2026, 03:04 UTC. This is new from you."), "{first}");
    assert!(!first.contains("New:") && !first.contains("You let it"), "{first}");
    let same = asked(&ana, "widgets");
    assert!(
        same.contains("Approve Sample App on acme again?") && same.contains("asks for nothing new"),
        "{same}"
    );
    assert!(!same.contains("New:") && same.contains("widgets"), "{same}");
    // On another account it is not installed.
    assert!(asked(&grantbook.person("ana", "globex"), "widgets").contains("Install Sample App on globex?"));
}

#[test]
fn a10_pages_run_nothing_are_kept_nowhere_and_cannot_be_framed() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let consent = format!("/oauth/authorize?{}", app.query(&[]));
    for path in [consent.as_str(), "/sign-in", "/account/apps", "/oauth/authorize"] {
        let reply = browser.get(path);
        let policy = reply.header("content-security-policy");
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(policy.contains(directive), "{path}: {policy}");
        }
        assert!(!policy.contains("script-src") && !policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(reply.header("x-frame-options"), "DENY", "{path}");
        assert_eq!(reply.header("cache-control"), "no-store", "{path}");
        assert_eq!(reply.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
        assert!(!reply.body.contains("<script"), "{path}");
    }
}

#[test]
fn a10_denying_tells_the_app_and_records_nothing() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let before = grantbook.events().len();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[("state", "s")]));
    let reply = browser.submit(&form, &[("decision", "deny")]).expect(303);
    assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
    assert_eq!(reply.param("error").as_deref(), Some("access_denied"));
    assert_eq!(reply.param("state").as_deref(), Some("s"));
    assert_eq!(reply.param("code"), None);
    assert_eq!(grantbook.events().len(), before);
}

#[test]
fn a10_a_form_is_good_in_the_session_it_was_made_for_only() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    let ticket = form.field("ticket");

    let approve = |browser: &Browser, ticket: &str| {
        browser.post("/oauth/authorize", &[("ticket", ticket), ("decision", "approve")])
    };
    // The same person, signed in elsewhere; nobody; a ticket that was touched; none at all.
    assert_stale(&approve(&grantbook.person("ana", "acme"), ticket));
    assert_stale(&approve(&grantbook.browser(), ticket));
    assert_stale(&approve(&browser, &touched(ticket)));
    assert_stale(&approve(&browser, ""));
    // A ticket of another form of the same session.
    let csrf = browser.get("/sign-in").expect(200).form("/sign-in/dev").field("csrf").to_owned();
    assert_stale(&approve(&browser, &csrf));
    assert_eq!(exchanged(&grantbook), 0);

    // A form without a decision decides nothing.
    for decision in [&[][..], &[("decision", "")], &[("decision", "Approve")]] {
        assert_eq!(browser.submit(&form, decision).status, 400);
    }
    assert_eq!(exchanged(&grantbook), 0);
    browser.submit(&form, &[("decision", "approve")]).expect(303);
    assert_eq!(exchanged(&grantbook), 1);
}

#[test]
fn a10_a_form_is_for_the_request_it_was_made_for() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    // What is added to the form changes nothing.
    let added = [
        ("scope", "widgets faqs contacts"),
        ("redirect_uri", "https://evil.example/"),
        ("user", "ben"),
        ("decision", "approve"),
    ];
    let reply = browser.submit(&form, &added).expect(303);
    assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
    let token = grantbook.exchange(&app, &reply.param("code").unwrap()).expect(200);
    assert_eq!(token.text("scope"), "widgets");
    assert_eq!(grantbook.introspect(&token.text("access_token"))["sub"], "ana");
}

#[test]
fn a10_a_form_that_was_open_too_long_is_refused() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    grantbook.clock.advance(Duration::from_secs(10 * 60));
    assert_stale(&browser.submit(&form, &[("decision", "approve")]));
    assert_eq!(exchanged(&grantbook), 0);
}

#[test]
fn a11_a_form_that_one_person_started_is_not_finished_by_another() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    // Another person in the same browser, and the same person on another account.
    for (user, account) in [("ben", "acme"), ("ana", "globex")] {
        let browser = browser.copy();
        browser.sign_in(user, account);
        assert_stale(&browser.submit(&form, &[("decision", "approve")]));
        assert_stale(&browser.submit(&form, &[("decision", "deny")]));
    }
    assert_eq!(exchanged(&grantbook), 0);
}

#[test]
fn a10_what_changed_about_the_app_counts_when_the_form_comes_back() {
    use grantbook::decisions::{Changes, UpdateApp};
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    let form = browser.consent(&app.query(&[]));
    let changes = Changes { scopes: Some(vec!["faqs".to_owned()]), ..Changes::default() };
    let client_id = app.client_id.parse().unwrap();
    grantbook.settle(&UpdateApp::new(client_id, &changes, &Default::default()).unwrap());
    let reply = browser.submit(&form, &[("decision", "approve")]).expect(303);
    assert_eq!(reply.param("error").as_deref(), Some("invalid_scope"));
    assert_eq!(exchanged(&grantbook), 0);
}
