//! What is shown to people where programs are told in JSON: by what they accept, and by the path.

use crate::client::{Pairs, Reply};
use crate::harness::Grantbook;
use crate::html;

/// What a browser says when it opens a page.
const BROWSER: (&str, &str) =
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8");
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

#[track_caller]
fn assert_page(reply: &Reply, status: u16) {
    assert_eq!(reply.status, status, "{reply:?}");
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
    assert!(reply.header("content-security-policy").contains("default-src 'none'"), "{reply:?}");
    assert!(reply.body.contains(reply.header("x-request-id")), "{reply:?}");
}

#[test]
fn the_address_alone_is_a_page_that_leads_to_the_apps() {
    let grantbook = Grantbook::start();
    let reply = grantbook.send("GET", "/", &[BROWSER], None).expect(200);
    assert!(html::links(&reply.body).iter().any(|(href, _)| href == "/account/apps"), "{reply:?}");
    let ana = grantbook.person("ana", "acme");
    let cookie = format!("grantbook={}", ana.cookies()["grantbook"]);
    let reply = grantbook.send("GET", "/", &[BROWSER, ("cookie", &cookie)], None).expect(200);
    assert!(html::text(&reply.body).contains("signed in as ana"), "{reply:?}");
    assert!(html::links(&reply.body).iter().any(|(href, _)| href == "/sign-out"), "{reply:?}");
    // Programs find nothing there, and are told where they do.
    assert!(grantbook.get("/").problem(404, "not_found").contains("/openapi.json"));
}

#[test]
fn pages_have_an_icon_that_they_may_load() {
    let grantbook = Grantbook::start();
    let page = grantbook.browser().get("/sign-in").expect(200);
    assert!(page.body.contains(r#"<link rel="icon" href="/assets/grantbook.svg""#), "{page:?}");
    assert!(page.header("content-security-policy").contains("img-src 'self'"));
    for path in ["/assets/grantbook.svg", "/favicon.ico"] {
        let icon = grantbook.get(path).expect(200);
        assert_eq!(icon.header("content-type"), "image/svg+xml");
        assert!(icon.body.starts_with("<svg "), "{icon:?}");
    }
}

#[test]
fn who_opens_sign_out_is_asked_and_not_signed_out() {
    let grantbook = Grantbook::start();
    let browser = grantbook.person("ana", "acme");
    let page = browser.get("/sign-out").expect(200);
    browser.get("/account/apps").expect(200);
    let reply = browser.submit(&page.form("/sign-out"), &[]).expect(200);
    let links = html::links(&reply.body);
    assert_eq!(links[0].0, "/sign-in?continue=");
    assert_eq!(links[1].0, "/sign-in?continue=&prompt=select_account");
    browser.get("/account/apps").expect(303);
    let page = browser.get("/sign-out").expect(200);
    assert!(html::text(&page.body).contains("You are signed out"), "{page:?}");
}

#[test]
fn a_refusal_is_a_page_for_people_and_json_for_programs() {
    let grantbook = Grantbook::with(&[("LIMITS_BODY", "1KiB"), ("LIMITS_HEAD", "2KiB")]);
    let (large, long, bad) = ("a".repeat(2048), format!("?x={}", "a".repeat(3000)), &b"csrf=\xff"[..]);
    let send = |method: &str, path: &str, headers: Pairs<'_>, body: Option<&[u8]>| {
        grantbook.send(method, path, headers, body)
    };
    let too_large = "a".repeat(1024 * 1024);
    assert_page(&send("POST", "/oauth/authorize", &[BROWSER, FORM], Some(too_large.as_bytes())), 413);
    assert_page(&send("POST", "/oauth/authorize", &[BROWSER, FORM], Some(bad)), 400);
    let people = ["/sign-in/dev", "/sign-out", "/account/apps/x/uninstall", "/account/tokens/x/revoke"];
    for path in people {
        assert_page(&send("POST", path, &[BROWSER, FORM], Some(large.as_bytes())), 413);
        assert_page(&send("POST", path, &[BROWSER, FORM], Some(bad)), 400);
        send("POST", path, &[FORM], Some(large.as_bytes())).problem(413, "too_large");
        send("POST", path, &[FORM], Some(bad)).problem(400, "invalid_request");
    }
    for path in ["/", "/oauth/authorize", "/sign-in", "/sign-out", "/account/apps"] {
        assert_page(&send("GET", &format!("{path}{long}"), &[BROWSER], None), 431);
        send("GET", &format!("{path}{long}"), &[], None).problem(431, "head_too_large");
    }
    // Programs that name HTML among what they take are programs all the same.
    for path in ["/apps", "/installations", "/audit/events", "/healthz"] {
        send("GET", &format!("{path}{long}"), &[BROWSER], None).problem(431, "head_too_large");
    }
    for (method, path, status) in
        [("GET", "/nowhere", 404), ("DELETE", "/account/apps", 405), ("GET", "/sign-in/dev", 405)]
    {
        let reply = send(method, path, &[BROWSER], None);
        assert_page(&reply, status);
        assert_eq!(html::links(&reply.body)[0].0, "/account/apps");
        let code = if status == 404 { "not_found" } else { "method_not_allowed" };
        send(method, path, &[], None).problem(status, code);
    }
}
