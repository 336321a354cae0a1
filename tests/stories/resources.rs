//! Resource indicators: tokens that are for some APIs only (RFC 8707).

use grantbook_events::{RefreshPolicy, TokenPolicy};
use serde_json::{Value, json};

use crate::client::{Browser, Pairs, encode};
use crate::harness::{App, CALLBACK, Grantbook};

const FAQS: &str = "https://faqs.example/api";
const MCP: &str = "https://mcp.example/mcp?tenant=1";

/// The token reply to an approval of these scopes for these resources.
#[track_caller]
fn approved(
    grantbook: &Grantbook,
    app: &App,
    scope: &str,
    resources: &[&str],
    exchanged_for: Pairs<'_>,
) -> Value {
    let query = asking(app, scope, resources);
    let code = grantbook.person("ana", "acme").approve(&query).expect(303).param("code").unwrap();
    grantbook.exchange_with(app, &code, exchanged_for).json()
}

fn asking(app: &App, scope: &str, resources: &[&str]) -> String {
    let mut query = vec![("client_id", app.client_id.as_str()), ("scope", scope)];
    query.extend(resources.iter().map(|resource| ("resource", *resource)));
    encode(&query)
}

fn audience(grantbook: &Grantbook, reply: &Value) -> Value {
    grantbook.introspect(reply["access_token"].as_str().unwrap())["aud"].clone()
}

#[test]
fn u1_a_token_is_for_the_resources_that_were_asked_for() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let any = approved(&grantbook, &app, "widgets", &[], &[]);
    assert_eq!(audience(&grantbook, &any), Value::Null);
    let both = approved(&grantbook, &app, "widgets", &[FAQS, MCP, FAQS], &[]);
    assert_eq!(audience(&grantbook, &both), json!([FAQS, MCP]));
    // The token endpoint narrows, and never widens.
    let one = approved(&grantbook, &app, "widgets", &[FAQS, MCP], &[("resource", MCP)]);
    assert_eq!(audience(&grantbook, &one), json!([MCP]));
    let other = approved(&grantbook, &app, "widgets", &[FAQS], &[("resource", MCP)]);
    assert_eq!(other["error"], "invalid_target", "{other}");
}

#[test]
fn u1_a_resource_that_is_none_or_not_of_the_list_is_an_invalid_target() {
    let list = format!("{MCP} {FAQS}");
    let grantbook = Grantbook::with(&[("TOKENS_RESOURCES", &list)]);
    let app = grantbook.app();
    let browser: Browser = grantbook.person("ana", "acme");
    for wrong in ["faqs", "/mcp", "https://faqs.example/#part", "https://faqs.example/"] {
        let query = asking(&app, "widgets", &[FAQS, wrong]);
        let reply = browser.get(&format!("/oauth/authorize?{query}")).expect(303);
        assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
        assert_eq!(reply.param("error").as_deref(), Some("invalid_target"), "{wrong}");
        let form = [&app.credentials()[..], &[("scope", "widgets"), ("resource", wrong)]].concat();
        assert_eq!(grantbook.post("/oauth/par", &form).error(), (400, "invalid_target".to_owned()));
    }
    for right in [&[][..], &[""], &[FAQS, MCP]] {
        browser.consent(&asking(&app, "widgets", right));
    }
}

#[test]
fn u1_a_pushed_request_keeps_its_resources() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let asked = [("scope", "widgets"), ("resource", FAQS), ("resource", MCP)];
    let form = [&app.credentials()[..], &asked].concat();
    let request_uri = grantbook.post("/oauth/par", &form).expect(201).text("request_uri");
    let id = ("client_id", app.client_id.as_str());
    let query = encode(&[id, ("request_uri", &request_uri), ("resource", "https://evil.example/")]);
    let browser = grantbook.person("ana", "acme");
    let on = browser.get(&format!("/oauth/authorize?{query}")).expect(303).location().to_owned();
    let form = browser.get(&on).expect(200).form("/oauth/authorize");
    let code = browser.submit(&form, &[("decision", "approve")]).param("code").unwrap();
    let reply = grantbook.exchange(&app, &code).expect(200).json();
    assert_eq!(audience(&grantbook, &reply), json!([FAQS, MCP]));
}

/// What an app may do at one API it does not get at another with a request for something else (A14).
#[test]
fn u1_a_request_for_more_keeps_what_the_app_has_for_the_same_resources_only() {
    let grantbook = Grantbook::start();
    for (resources, scope) in [
        (&[FAQS][..], "widgets contacts"),
        (&["https://other.example/"], "contacts"),
        (&[FAQS, "https://another.example/"], "contacts"),
        // One that is for any API is for more than these.
        (&[], "contacts"),
    ] {
        // An app of its own, since a second request for contacts asks for nothing new.
        let app = grantbook.app();
        approved(&grantbook, &app, "widgets", &[FAQS, MCP], &[]);
        assert_eq!(approved(&grantbook, &app, "contacts", resources, &[])["scope"], scope, "{resources:?}");
    }
}

#[test]
fn u1_a_refresh_token_keeps_what_was_granted_and_a_refusal_burns_nothing() {
    let grantbook = Grantbook::with(&[("TOKENS_RESOURCES", &format!("{FAQS} {MCP}"))]);
    let app = grantbook.app_with(|app| {
        let refresh = Some(RefreshPolicy::default());
        app.token_policy = TokenPolicy { lifetime_seconds: Some(3600), refresh };
    });
    let browser = grantbook.person("ana", "acme");
    let query = asking(&app, "widgets", &[FAQS, MCP]);
    let page = browser.get(&format!("/oauth/authorize?{query}"));
    assert!(page.body.contains(FAQS), "the person sees it: {page:?}");
    let code = browser.approve(&query).param("code").unwrap();
    for wrong in ["https://other.example/", "https://faqs.example/api#part", "faqs"] {
        let refused = grantbook.exchange_with(&app, &code, &[("resource", wrong)]);
        assert_eq!(refused.error(), (400, "invalid_target".to_owned()), "{wrong}");
    }
    let narrowed = grantbook.exchange_with(&app, &code, &[("resource", MCP)]).expect(200).json();
    let token = narrowed["refresh_token"].as_str().unwrap();
    let grant = [("grant_type", "refresh_token"), ("refresh_token", token)];
    let refreshed = grantbook.post("/oauth/token", &[&app.credentials()[..], &grant].concat()).expect(200);
    assert_eq!(audience(&grantbook, &refreshed.json()), json!([FAQS, MCP]));
    // A grant for any is not one for an API that is not on the list.
    let any = browser.approve(&app.query(&[])).param("code").unwrap();
    let refused = grantbook.exchange_with(&app, &any, &[("resource", "https://other.example/")]);
    assert_eq!(refused.error(), (400, "invalid_target".to_owned()));
}
