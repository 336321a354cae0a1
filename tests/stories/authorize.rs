//! `GET /oauth/authorize`: what is asked of the request itself.

use serde_json::json;

use crate::client::{Reply, encode};
use crate::harness::{App, CALLBACK, Grantbook};
use crate::html;

/// Where the answer to a signed-in person's request leads.
#[track_caller]
fn answer(grantbook: &Grantbook, query: &str) -> Reply {
    let reply = grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{query}")).expect(303);
    assert!(reply.location().starts_with(CALLBACK), "{reply:?}");
    reply
}

#[track_caller]
fn error(grantbook: &Grantbook, query: &str) -> String {
    answer(grantbook, query).param("error").unwrap()
}

/// An error page: no redirect, nothing that an app could have put there.
#[track_caller]
fn assert_error_page(reply: &Reply) {
    assert_eq!(reply.status, 400, "{reply:?}");
    assert_eq!(reply.location(), "", "{reply:?}");
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
    assert_eq!(reply.header("cache-control"), "no-store", "{reply:?}");
    assert!(html::text(&reply.body).contains("This request cannot be answered"), "{reply:?}");
}

#[test]
fn a1_unknown_parameters_are_ignored_and_empty_ones_are_absent() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let query = app.query(&[
        ("nonce", "n"),
        ("nonce", "again"),
        ("prompt", "none"),
        ("redirect_uri", ""),
        ("response_type", ""),
        ("state", ""),
        ("code_challenge", ""),
        ("code_challenge_method", ""),
    ]);
    let reply = grantbook.person("ana", "acme").approve(&query).expect(303);
    assert!(reply.param("code").is_some(), "{reply:?}");
    assert_eq!(reply.param("state"), None);
    // An empty scope is one that was left out, and so is one of spaces.
    let left_out = answer(&grantbook, &encode(&[("client_id", &app.client_id)]));
    assert_eq!(left_out.param("error").as_deref(), Some("invalid_scope"));
    for empty in ["", " ", "   "] {
        let reply = answer(&grantbook, &encode(&[("client_id", &app.client_id), ("scope", empty)]));
        assert_eq!(reply.location(), left_out.location(), "{empty:?}");
    }
}

#[test]
fn a1_repeated_protocol_parameters_are_an_invalid_request() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let challenge = "a".repeat(43);
    let twice = [
        ("scope", "faqs"),
        ("response_type", "code"),
        ("state", "s"),
        ("code_challenge", challenge.as_str()),
        ("code_challenge_method", "S256"),
        ("response_mode", "query"),
    ];
    for (name, value) in twice {
        let query = app.query(&[(name, value), (name, value)]);
        let reply = answer(&grantbook, &query);
        assert_eq!(reply.param("error").as_deref(), Some("invalid_request"), "{name}: {reply:?}");
        assert_eq!(reply.param("state").as_deref(), (name == "state").then_some("s"), "{name}: {reply:?}");
        assert_eq!(reply.param("code"), None);
    }
    // Where the target itself is in doubt there is nobody to tell.
    for (name, value) in [("client_id", app.client_id.as_str()), ("redirect_uri", CALLBACK)] {
        let query = app.query(&[(name, value), (name, value)]);
        assert_error_page(&grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{query}")));
    }
}

#[test]
fn a2_without_a_good_client_and_redirect_uri_there_is_a_page_and_nothing_unescaped() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let hostile = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>\r\nset-cookie: a=b\0\u{202e}";
    let evil = "https://evil.example/";
    let requests = [
        encode(&[("scope", "widgets")]),
        encode(&[("scope", "widgets"), ("client_id", hostile)]),
        encode(&[("scope", "widgets"), ("client_id", "00000000000000000000000000000000")]),
        encode(&[("scope", "widgets"), ("client_id", hostile), ("redirect_uri", evil)]),
        app.query(&[("redirect_uri", hostile)]),
        app.query(&[("redirect_uri", evil), ("state", hostile)]),
        app.query(&[("redirect_uri", "javascript:alert(1)")]),
        app.query(&[("redirect_uri", evil), ("response_type", hostile), ("code_challenge", hostile)]),
        format!("{}&state=%ff", app.query(&[])),
    ];
    for browser in [grantbook.person("ana", "acme"), grantbook.browser()] {
        for query in &requests {
            let reply = browser.get(&format!("/oauth/authorize?{query}"));
            assert_error_page(&reply);
            for part in ["<script", "<img", "alert(", "evil.example"] {
                assert!(!reply.body.contains(part), "{part} in {reply:?}");
            }
            assert!(!reply.headers.keys().any(|name| name == "location"), "{reply:?}");
        }
    }
}

#[test]
fn a2_what_is_wrong_is_said_and_names_are_spelt_as_they_are_sent() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.redirect_uris.push("https://app.example/other".to_owned()));
    let unknown = encode(&[("scope", "widgets"), ("client_id", "00000000000000000000000000000000")]);
    for (query, sentence) in [
        (encode(&[("scope", "widgets")]), "client_id is missing"),
        (encode(&[("scope", "widgets"), ("client_id", "")]), "client_id is missing"),
        (unknown, "The app that sent you here is not registered."),
        (app.query(&[]), "redirect_uri is required"),
        (app.query(&[("client_id", "x")]), "client_id and redirect_uri may be there once only."),
    ] {
        let reply = grantbook.get(&format!("/oauth/authorize?{query}"));
        assert_error_page(&reply);
        let text = html::text(&reply.body);
        assert!(text.contains(sentence), "{sentence}: {text}");
        assert!(!text.contains("Client_id") && !text.contains("Redirect_uri"), "{text}");
    }
}

#[test]
fn a4_an_omitted_redirect_uri_stands_for_the_only_one() {
    let grantbook = Grantbook::start();
    let one = grantbook.app();
    let reply = grantbook.person("ana", "acme").approve(&one.query(&[])).expect(303);
    assert!(reply.location().starts_with(&format!("{CALLBACK}?code=")), "{reply:?}");

    let two = grantbook.app_with(|app| app.redirect_uris.push("https://app.example/other".to_owned()));
    assert_error_page(&grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{}", two.query(&[]))));
    let named = two.query(&[("redirect_uri", "https://app.example/other")]);
    let reply = grantbook.person("ana", "acme").approve(&named).expect(303);
    assert!(reply.location().starts_with("https://app.example/other?code="), "{reply:?}");
}

#[test]
fn a6_no_other_response_type_than_code() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    for kind in ["token", "id_token", "code token", "CODE"] {
        let query = app.query(&[("response_type", kind), ("state", "s")]);
        let reply = answer(&grantbook, &query);
        assert_eq!(reply.param("error").as_deref(), Some("unsupported_response_type"), "{kind}");
        assert_eq!(reply.param("state").as_deref(), Some("s"));
    }
    grantbook.person("ana", "acme").consent(&app.query(&[("response_type", "code")]));
}

#[test]
fn a6_no_other_response_mode_than_query() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    for mode in ["form_post", "fragment", "web_message", "jwt", "query.jwt", "QUERY"] {
        let reply = answer(&grantbook, &app.query(&[("response_mode", mode), ("state", "s")]));
        assert_eq!(reply.param("error").as_deref(), Some("invalid_request"), "{mode}: {reply:?}");
        assert!(reply.param("error_description").unwrap().contains("response_mode"), "{reply:?}");
        assert_eq!(reply.param("state").as_deref(), Some("s"));
    }
    for mode in ["query", ""] {
        grantbook.person("ana", "acme").consent(&app.query(&[("response_mode", mode)]));
    }
}

#[test]
fn a7_nobody_is_sent_to_an_app_before_signing_in() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let good = app.query(&[("state", "s")]);
    let bad = [
        encode(&[("client_id", &app.client_id), ("scope", "no-such-scope"), ("redirect_uri", CALLBACK)]),
        encode(&[("client_id", &app.client_id)]),
        app.query(&[("response_type", "token")]),
        app.query(&[("code_challenge_method", "plain")]),
        app.query(&[("state", "a"), ("state", "b")]),
    ];
    for query in std::iter::once(&good).chain(&bad) {
        let reply = grantbook.browser().get(&format!("/oauth/authorize?{query}")).expect(303);
        assert!(reply.location().starts_with("/sign-in?continue="), "{reply:?}");
    }
    // Once signed in, the request goes on as it came.
    let browser = grantbook.browser();
    let to_sign_in = browser.get(&format!("/oauth/authorize?{good}")).expect(303);
    let form = browser.get(to_sign_in.location()).expect(200).form("/sign-in/dev");
    let onward = browser.submit(&form, &[("person", "ana")]).expect(303);
    assert_eq!(onward.location(), format!("/oauth/authorize?{good}"));
    browser.get(onward.location()).expect(200).form("/oauth/authorize");
}

#[test]
fn a7_a_session_that_is_over_is_no_session() {
    let grantbook = Grantbook::with(&[("SESSION_LIFETIME", "1m")]);
    let app = grantbook.app();
    let browser = grantbook.person("ana", "acme");
    browser.consent(&app.query(&[]));
    grantbook.clock.advance(std::time::Duration::from_secs(60));
    let reply = browser.get(&format!("/oauth/authorize?{}", app.query(&[]))).expect(303);
    assert!(reply.location().starts_with("/sign-in?continue="), "{reply:?}");
}

fn state_survives(grantbook: &Grantbook, app: &App, state: &str) {
    let shown: String = state.chars().take(20).collect();
    let query = app.query(&[("state", state)]);
    let browser = grantbook.browser();
    // The long way round: through the sign-in, as a person who was not signed in.
    let to_sign_in = browser.get(&format!("/oauth/authorize?{query}")).expect(303);
    let form = browser.get(to_sign_in.location()).expect(200).form("/sign-in/dev");
    let onward = browser.submit(&form, &[("person", "ana")]).expect(303);
    let form = browser.get(onward.location()).expect(200).form("/oauth/authorize");
    for (decision, sign) in [("deny", "error"), ("approve", "code")] {
        let reply = browser.submit(&form, &[("decision", decision)]).expect(303);
        assert_eq!(reply.param("state").as_deref(), Some(state), "{decision} {shown}");
        assert!(reply.param(sign).is_some(), "{decision} {shown}");
        // As for apps that decode `%20` only.
        assert!(!reply.location().contains('+'), "{reply:?}");
    }
    let wrong = encode(&[("client_id", &app.client_id), ("scope", "no-such-scope"), ("state", state)]);
    assert_eq!(answer(grantbook, &wrong).param("state").as_deref(), Some(state), "{shown}");
}

#[test]
fn a8_state_comes_back_byte_for_byte() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    // 16 KiB of everything that can be printed; of two bytes a character, none of which a query may hold;
    // and of what grows most on its way.
    let long: String = ('!'..='~').cycle().take(16 * 1024).collect();
    let wide = "\u{e9}".repeat(8 * 1024);
    let grows = "&%".repeat(8 * 1024);
    let states = [
        "plain",
        "a+b c%20d%2Bé&x=y#z?/:;",
        "%",
        "%%41%",
        "日本語 \u{1f511} \u{0301}",
        "\r\nlocation: https://evil.example/\t\0",
        "<script>\"'&amp;",
        "{\"json\":[1,2]}",
        " ",
        &long,
        &wide,
        &grows,
    ];
    for state in states {
        state_survives(&grantbook, &app, state);
    }
}

#[test]
fn a8_absent_state_stays_absent_and_too_long_a_one_is_refused() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let reply = grantbook.person("ana", "acme").approve(&app.query(&[])).expect(303);
    assert!(!reply.location().contains("state"), "{reply:?}");
    // Whoever is refused has to recognise the answer (RFC 6749 section 4.1.2.1).
    for too_long in ["s".repeat(16 * 1024 + 1), "s".repeat(40 * 1024)] {
        let reply = answer(&grantbook, &app.query(&[("state", &too_long)]));
        assert_eq!(reply.param("error").as_deref(), Some("invalid_request"));
        assert_eq!(reply.param("state"), Some(too_long));
    }
}

#[test]
fn a8_the_redirect_uris_own_query_survives_and_the_issuer_is_named() {
    let grantbook = Grantbook::start();
    for (uri, begins) in [
        ("https://app.example/cb", "https://app.example/cb?code="),
        ("https://app.example/cb?tenant=a%2Bb&x=", "https://app.example/cb?tenant=a%2Bb&x=&code="),
        ("https://app.example/cb?", "https://app.example/cb?code="),
        ("com.example.app:/cb?from=grantbook", "com.example.app:/cb?from=grantbook&code="),
    ] {
        let app = grantbook.app_with(|app| app.redirect_uris = vec![uri.to_owned()]);
        let query = app.query(&[("redirect_uri", uri), ("state", "s")]);
        let reply = grantbook.person("ana", "acme").approve(&query).expect(303);
        assert!(reply.location().starts_with(begins), "{reply:?}");
        assert_eq!(reply.param("iss"), Some(grantbook.issuer()));
    }
    let app = grantbook.app();
    let wrong = encode(&[("client_id", &app.client_id), ("scope", "no-such-scope")]);
    assert_eq!(answer(&grantbook, &wrong).param("iss"), Some(grantbook.issuer()));
}

#[test]
fn a12_scopes_are_checked_and_named_canonically() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.scopes.retain(|scope| scope != "contacts"));
    let with_scope = |scope: &str| encode(&[("client_id", &app.client_id), ("scope", scope)]);
    let wrong = [
        "no-such-scope",
        "widgets no-such-scope",
        "contacts",
        "widgets contacts",
        "Widgets",
        "wid\"gets",
        "a\tb",
    ];
    for scope in wrong {
        assert_eq!(error(&grantbook, &with_scope(scope)), "invalid_scope", "{scope:?}");
    }
    assert_eq!(error(&grantbook, &encode(&[("client_id", &app.client_id)])), "invalid_scope");
    for (scope, canonical) in [
        ("faqs widgets", "widgets faqs"),
        ("widgets widgets faqs faqs widgets", "widgets faqs"),
        ("brands", "widgets"),
        ("widget brands widgets", "widgets"),
        ("conversations faqs brands", "widgets faqs conversations"),
        (" faqs  widgets ", "widgets faqs"),
    ] {
        let reply = grantbook.person("ana", "acme").approve(&with_scope(scope)).expect(303);
        let token = grantbook.exchange(&app, &reply.param("code").unwrap()).expect(200);
        assert_eq!(token.text("scope"), canonical, "{scope}");
        assert_eq!(grantbook.introspect(&token.text("access_token"))["scope"], canonical);
    }
}

#[test]
fn a12_an_app_that_names_no_scope_gets_its_default_ones() {
    let grantbook = Grantbook::start();
    let app = grantbook.app_with(|app| app.default_scopes = vec!["contacts".into(), "brands".into()]);
    let scope = |query: &str| {
        let reply = grantbook.person("ana", "acme").approve(query).expect(303);
        grantbook.exchange(&app, &reply.param("code").unwrap()).expect(200).text("scope")
    };
    let id = ("client_id", app.client_id.as_str());
    assert_eq!(scope(&encode(&[id])), "widgets contacts");
    assert_eq!(scope(&encode(&[id, ("scope", "widgets")])), "widgets");
    let path = format!("/apps/{}", app.client_id);
    grantbook.admin().patch(&path, &json!({ "default_scopes": [] })).expect(200);
    assert_eq!(error(&grantbook, &encode(&[id])), "invalid_scope");
}

#[test]
fn a13_pkce_is_s256_and_public_clients_need_it() {
    let grantbook = Grantbook::start();
    let (app, public) = (grantbook.app(), grantbook.public_app());
    let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    for added in [
        vec![("code_challenge", challenge), ("code_challenge_method", "plain")],
        vec![("code_challenge", challenge), ("code_challenge_method", "s256")],
        // Without a method it would be `plain` (RFC 7636 section 4.3).
        vec![("code_challenge", challenge)],
        vec![("code_challenge_method", "S256")],
        vec![("code_challenge", "short"), ("code_challenge_method", "S256")],
    ] {
        for app in [&app, &public] {
            assert_eq!(error(&grantbook, &app.query(&added)), "invalid_request", "{added:?}");
        }
    }
    assert_eq!(error(&grantbook, &public.query(&[])), "invalid_request");
}

#[test]
fn a13_the_verifier_and_the_challenge_belong_together() {
    let grantbook = Grantbook::start();
    let (app, public) = (grantbook.app(), grantbook.public_app());
    let browser = grantbook.person("ana", "acme");
    // The example of RFC 7636 appendix B.
    let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let challenge = [
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ];
    for app in [&app, &public] {
        let code = browser.approve(&app.query(&challenge)).expect(303).param("code").unwrap();
        let invalid_grant = (400, "invalid_grant".to_owned());
        assert_eq!(grantbook.exchange(app, &code).error(), invalid_grant);
        for wrong in [challenge[0].1, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK"] {
            assert_eq!(
                grantbook.exchange_with(app, &code, &[("code_verifier", wrong)]).error(),
                invalid_grant
            );
        }
        // Whoever does not know the verifier burns nothing.
        let token = grantbook.exchange_with(app, &code, &[verifier]).expect(200).text("access_token");
        assert!(grantbook.is_active(&token));
    }
    let without_challenge = grantbook.code(&app);
    let reply = grantbook.exchange_with(&app, &without_challenge, &[verifier]);
    assert_eq!(reply.error(), (400, "invalid_request".to_owned()));
    grantbook.exchange(&app, &without_challenge).expect(200);
}
