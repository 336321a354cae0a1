//! `/sign-in` in its dev mode, and the cookie that a sign-in leaves.

use crate::client::Browser;
use crate::harness::Grantbook;
use crate::html;

#[track_caller]
fn assert_signed_in(browser: &Browser, user: &str, account: &str) {
    let page = html::text(&browser.get("/account/apps").expect(200).body);
    assert!(page.contains(user) && page.contains(account), "{page}");
}

#[track_caller]
fn assert_nobody(browser: &Browser) {
    assert_eq!(browser.get("/account/apps").expect(303).location(), "/sign-in?continue=");
}

#[test]
fn a_built_in_person_or_any_other_signs_in() {
    let grantbook = Grantbook::start();
    let browser = grantbook.browser();
    let page = browser.get("/sign-in").expect(200);
    let form = page.form("/sign-in/dev");
    let people: Vec<_> = form.buttons.iter().filter(|(name, _)| name == "person").collect();
    assert!(!people.is_empty(), "{form:?}");
    let reply = browser.submit(&form, &[("person", "chen")]).expect(303);
    assert_eq!(reply.location(), "/account/apps");
    assert_signed_in(&browser, "chen", "globex");
    browser.sign_in("zoe-1@x", "initech/eu");
    assert_signed_in(&browser, "zoe-1@x", "initech/eu");
}

#[test]
fn who_is_nobody_is_told_so_and_not_signed_in() {
    let grantbook = Grantbook::start();
    let browser = grantbook.browser();
    let long = "x".repeat(129);
    let wrong: [&[(&str, &str)]; 7] = [
        &[],
        &[("person", "mallory")],
        &[("user", "ana")],
        &[("account", "acme")],
        &[("user", "ana torres"), ("account", "acme")],
        &[("user", &long), ("account", "acme")],
        &[("user", "<script>alert(1)</script>\u{202e}"), ("account", "acme")],
    ];
    for fields in wrong {
        let form = browser.get("/sign-in").expect(200).form("/sign-in/dev");
        let reply = browser.submit(&form, fields).expect(422);
        assert!(!reply.body.contains("<script"), "{reply:?}");
        // The page has the form again.
        assert_eq!(reply.form("/sign-in/dev").field("csrf"), form.field("csrf"));
        assert_nobody(&browser);
    }
}

#[test]
fn k5_a_sign_in_belongs_to_the_browser_it_was_started_in() {
    let grantbook = Grantbook::start();
    let (browser, other) = (grantbook.browser(), grantbook.browser());
    let form = browser.get("/sign-in").expect(200).form("/sign-in/dev");
    let others = other.get("/sign-in").expect(200).form("/sign-in/dev");
    let me = ("person", "ana");
    let stale = [
        browser.submit(&others, &[me]),
        browser.post("/sign-in/dev", &[me]),
        browser.post("/sign-in/dev", &[("csrf", ""), me]),
        grantbook.browser().submit(&form, &[me]),
    ];
    for reply in &stale {
        assert_eq!(reply.status, 400, "{reply:?}");
        assert!(html::text(&reply.body).contains("You could not be signed in"), "{reply:?}");
        assert_eq!(html::links(&reply.body)[0].0, "/sign-in?continue=");
    }
    assert_nobody(&browser);
    browser.submit(&form, &[me]).expect(303);
    assert_signed_in(&browser, "ana", "acme");
}

#[test]
fn the_way_on_is_a_page_of_ours_and_nothing_else() {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let grantbook = Grantbook::start();
    let browser = grantbook.browser();
    for wrong in ["https://evil.example/", "//evil.example", "/account/apps", "%2F%2Fevil.example", "a+b"] {
        let reply = browser.get(&format!("/sign-in?continue={wrong}")).expect(400);
        assert!(!reply.body.contains("evil.example"), "{reply:?}");
    }
    // What decodes is at most a query of the authorize page.
    for query in ["https://evil.example/", "//evil.example/\\", "x\r\nlocation: https://evil.example/", "#x"]
    {
        let param = URL_SAFE_NO_PAD.encode(query);
        let form = browser.get(&format!("/sign-in?continue={param}")).expect(200).form("/sign-in/dev");
        let reply = browser.submit(&form, &[("person", "ana")]).expect(303);
        assert!(reply.location().starts_with("/oauth/authorize?"), "{reply:?}");
        let safe = reply.location()[17..].bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
        assert!(safe, "{reply:?}");
    }
}

#[test]
fn the_session_is_a_cookie_that_only_this_server_reads() {
    for (settings, name, is_secure) in
        [(&[][..], "grantbook", false), (&[("ISSUER", "https://auth.example")][..], "__Host-grantbook", true)]
    {
        let grantbook = Grantbook::with(settings);
        let browser = grantbook.browser();
        let form = browser.get("/sign-in").expect(200).form("/sign-in/dev");
        let before = browser.cookies();
        // Base64 has no full stop, so no cookie holds these names by chance.
        let reply = browser.submit(&form, &[("user", "ana.torres"), ("account", "acme.inc")]).expect(303);
        let set = reply.header("set-cookie");
        let (pair, attributes) = set.split_once(';').unwrap();
        assert!(pair.starts_with(&format!("{name}=")), "{set}");
        for attribute in ["HttpOnly", "SameSite=Lax", "Path=/"] {
            assert!(attributes.contains(attribute), "{set}");
        }
        assert_eq!(attributes.contains("Secure"), is_secure, "{set}");
        assert!(!attributes.contains("Domain"), "{set}");
        // Encrypted: who is signed in cannot be read from it, and nothing planted before is kept.
        assert!(!pair.contains("ana.torres") && !pair.contains("acme.inc"), "{set}");
        assert_ne!(before, browser.cookies());
    }
}

/// What a browser with exactly this cookie header gets, and the header may be any bytes.
fn account_page(grantbook: &Grantbook, cookie: &[u8]) -> String {
    let head = b"GET /account/apps HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncookie: ";
    grantbook.send_bytes(&[&head[..], cookie, b"\r\n\r\n"].concat())
}

#[test]
fn only_a_cookie_of_our_name_to_the_letter_is_our_session() {
    for (settings, name) in
        [(&[][..], "grantbook"), (&[("ISSUER", "https://auth.example")], "__Host-grantbook")]
    {
        let grantbook = Grantbook::with(&[&[("SIGN_IN_MODE", "dev")], settings].concat());
        let value = grantbook.person("ana", "acme").cookies().remove(name).unwrap();
        let signed_in = |cookie: &[u8]| match account_page(&grantbook, cookie).get(9..12) {
            Some("200") => true,
            Some("303") => false,
            other => panic!("{other:?}"),
        };
        assert!(signed_in(format!("{name}={value}").as_bytes()));
        // A sibling host can set each of these for the whole domain, and the last spells the same name.
        for other in [
            name.to_uppercase(),
            format!("{name}%20"),
            name.replace('n', "%6e"),
            format!("%{:02X}{}", name.as_bytes()[0], &name[1..]),
        ] {
            assert!(!signed_in(format!("{other}={value}").as_bytes()), "{other}");
            assert!(signed_in(format!("{other}=x; {name}={value}; {other}=y").as_bytes()), "{other}");
        }
        // What neighbours set is theirs, whatever it is.
        for neighbour in [&b"x=\xE9"[..], b"\xff\xfe", b"=", b"", b"x", b"x=%zz", b"%ff=%ff"] {
            let ours = format!("{name}={value}");
            assert!(signed_in(&[neighbour, b"; ", ours.as_bytes()].concat()), "{neighbour:?}");
            assert!(signed_in(&[ours.as_bytes(), b"; ", neighbour].concat()), "{neighbour:?}");
        }
        // Nobody can tell which of two is ours.
        assert!(!signed_in(format!("{name}={value}; {name}=x").as_bytes()));
        assert!(!signed_in(format!("{name}=x; {name}={value}").as_bytes()));
    }
}

#[test]
fn a_session_that_was_touched_is_no_session() {
    let grantbook = Grantbook::start();
    let browser = grantbook.person("ana", "acme");
    let cookie = browser.cookies().remove("grantbook").unwrap();
    for at in (0..cookie.len()).step_by(41) {
        let mut touched = cookie.clone().into_bytes();
        touched[at] = if touched[at] == b'A' { b'B' } else { b'A' };
        let touched = format!("grantbook={}", String::from_utf8(touched).unwrap());
        let reply = grantbook.send("GET", "/account/apps", &[("cookie", &touched)], None);
        assert_eq!(reply.status, 303, "byte {at}: {reply:?}");
    }
    assert_signed_in(&browser, "ana", "acme");
    // Another server has another key.
    let reply =
        Grantbook::start().send("GET", "/account/apps", &[("cookie", &format!("grantbook={cookie}"))], None);
    assert_eq!(reply.status, 303, "{reply:?}");
}

#[test]
fn nobody_signs_in_where_no_sign_in_is_configured() {
    let grantbook = Grantbook::with(&[("SIGN_IN_MODE", "none")]);
    let browser = grantbook.browser();
    let reply = browser.get("/sign-in").expect(503);
    assert!(reply.header("content-type").starts_with("text/html"), "{reply:?}");
    browser.post("/sign-in/dev", &[("person", "ana")]).expect(400);
    browser.get("/sign-in/handoff?token=x").expect(400);
    assert_nobody(&browser);
}
