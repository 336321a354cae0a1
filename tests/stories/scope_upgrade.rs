//! An app that is installed asks for more, or for less (A14).

use std::collections::BTreeSet;

use grantbook::decisions::{Changes, RevokeToken, TokenHolder, UpdateApp, WhichToken};
use grantbook::secrets;
use grantbook_events::{InstallationId, RevocationReason};
use serde_json::{Value, json};

use crate::client::{Browser, encode};
use crate::harness::{App, Grantbook};
use crate::html;

/// The token reply to an approval.
#[track_caller]
fn approved(grantbook: &Grantbook, browser: &Browser, app: &App, scope: &str) -> Value {
    let reply = browser.approve(&asking(app, scope)).expect(303);
    grantbook.exchange(app, &reply.param("code").unwrap()).expect(200).json()
}

fn asking(app: &App, scope: &str) -> String {
    encode(&[("client_id", &app.client_id), ("scope", scope)])
}

/// The scopes that a page shows.
fn shown(browser: &Browser, app: &App, scope: &str) -> BTreeSet<String> {
    let page = browser.get(&format!("/oauth/authorize?{}", asking(app, scope))).expect(200);
    let names = ["widgets", "faqs", "contacts", "conversations"].iter().filter(|name| {
        let text = html::text(&page.body);
        text.contains(&format!(". {name}")) || text.contains(&format!(".{name}"))
    });
    names.map(|&name| name.to_owned()).collect()
}

fn names(scope: &Value) -> BTreeSet<String> {
    scope.as_str().unwrap().split(' ').map(str::to_owned).collect()
}

fn scope_of(grantbook: &Grantbook, reply: &Value) -> Value {
    grantbook.introspect(reply["access_token"].as_str().unwrap())["scope"].clone()
}

fn revoke(grantbook: &Grantbook, app: &App, reply: &Value) {
    let installation_id = InstallationId::of(&app.client_id.parse().unwrap(), &"acme".parse().unwrap());
    let token = secrets::digest(reply["access_token"].as_str().unwrap());
    grantbook.settle(&RevokeToken {
        installation_id,
        token: WhichToken::Digest(token),
        holder: TokenHolder::User("ana".parse().unwrap()),
        reason: RevocationReason::User,
        note: None,
    });
}

#[test]
fn a14_a_request_for_more_is_granted_with_what_the_app_has() {
    let grantbook = Grantbook::start();
    let (app, admin) = (grantbook.app(), grantbook.admin());
    let ana = grantbook.person("ana", "acme");
    let first = approved(&grantbook, &ana, &app, "widgets faqs");
    let before = grantbook.events().len().to_string();

    assert_eq!(shown(&ana, &app, "contacts"), names(&json!("widgets faqs contacts")));
    let second = approved(&grantbook, &ana, &app, "contacts");
    assert_eq!(second["scope"], "widgets faqs contacts");
    // The older token keeps what it had.
    assert_eq!(scope_of(&grantbook, &first), "widgets faqs");
    assert_eq!(scope_of(&grantbook, &second), "widgets faqs contacts");
    let changed = admin.get(&format!("/audit/diff?account=acme&from={before}")).expect(200).json();
    let change = &changed["items"][0];
    assert_eq!(
        (&change["change"], &change["scopes_added"], &change["scopes_removed"], &change["tokens_ended"]),
        (&json!("changed"), &json!(["contacts"]), &json!([]), &json!([])),
        "{changed}"
    );

    // A request for nothing new is granted as it is.
    assert_eq!(shown(&ana, &app, "faqs"), names(&json!("faqs")));
    let third = approved(&grantbook, &ana, &app, "faqs");
    assert_eq!(third["scope"], "faqs");
    assert_eq!(scope_of(&grantbook, &second), "widgets faqs contacts");
}

#[test]
fn a14_only_what_the_same_person_gave_on_the_same_account_counts() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    approved(&grantbook, &grantbook.person("ana", "acme"), &app, "widgets");
    for (user, account) in [("ben", "acme"), ("ana", "globex")] {
        let browser = grantbook.person(user, account);
        assert_eq!(shown(&browser, &app, "contacts"), names(&json!("contacts")));
        assert_eq!(approved(&grantbook, &browser, &app, "contacts")["scope"], "contacts", "{user} {account}");
    }
    let other = grantbook.app();
    let ana = grantbook.person("ana", "acme");
    assert_eq!(approved(&grantbook, &ana, &other, "contacts")["scope"], "contacts");
}

#[test]
fn a14_what_an_app_may_not_ask_for_any_more_or_lost_is_not_granted_again() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let ana = grantbook.person("ana", "acme");
    let first = approved(&grantbook, &ana, &app, "widgets faqs");
    let changes = Changes { scopes: Some(vec!["faqs".into(), "contacts".into()]), ..Changes::default() };
    let client_id = app.client_id.parse().unwrap();
    grantbook.settle(&UpdateApp::new(client_id, &changes, &Default::default()).unwrap());
    assert_eq!(approved(&grantbook, &ana, &app, "contacts")["scope"], "faqs contacts");
    assert_eq!(scope_of(&grantbook, &first), "widgets faqs", "a live token is not narrowed");
}

#[test]
fn a14_what_is_granted_is_what_the_page_showed() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let ana = grantbook.person("ana", "acme");
    approved(&grantbook, &ana, &app, "widgets");
    let form = ana.consent(&asking(&app, "contacts"));
    // In another tab the app gets more, which the page did not show.
    approved(&grantbook, &ana, &app, "faqs");
    let code = ana.submit(&form, &[("decision", "approve")]).expect(303).param("code").unwrap();
    assert_eq!(grantbook.exchange(&app, &code).expect(200).text("scope"), "widgets contacts");
    // What it has now is shown next time.
    assert_eq!(shown(&ana, &app, "conversations").len(), 4);
}

#[test]
fn a14_a_form_that_shows_what_was_revoked_since_grants_nothing() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let ana = grantbook.person("ana", "acme");
    let first = approved(&grantbook, &ana, &app, "widgets");
    let form = ana.consent(&asking(&app, "contacts"));
    revoke(&grantbook, &app, &first);
    let count = grantbook.events().len();
    let stale = ana.submit(&form, &[("decision", "approve")]).expect(400);
    assert_eq!(
        ana.submit(&form, &[("decision", "deny")]).expect(303).param("error").as_deref(),
        Some("access_denied")
    );
    assert!(html::text(&stale.body).contains("has changed since it was shown"), "{stale:?}");
    assert_eq!(grantbook.events().len(), count);
    assert_eq!(approved(&grantbook, &ana, &app, "contacts")["scope"], "contacts");
}
