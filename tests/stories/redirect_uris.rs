//! Redirect URIs on `/oauth/authorize`: what is nearly registered is not registered.

use crate::harness::Grantbook;

/// A registered URI, and what must not pass for it.
const NEAR_MISSES: &[(&str, &[&str])] = &[
    (
        "https://app.example/callback",
        &[
            "https://app.example/callback/",
            "https://app.example/callback?",
            "https://app.example/callback?x=1",
            "https://app.example/callback#",
            "https://app.example/callback#x",
            "https://app.example/callbac",
            "https://app.example/callback2",
            "https://app.example/Callback",
            "https://APP.example/callback",
            "HTTPS://app.example/callback",
            "http://app.example/callback",
            "https://app.example:443/callback",
            "https://app.example:8443/callback",
            "https://app.example./callback",
            "https://app.example//callback",
            "https://app.example/./callback",
            "https://app.example/a/../callback",
            "https://app.example/callback/../callback",
            "https://app.example/callback/..",
            "https://app.example/%63allback",
            "https://app.example/callback%20",
            "https://app.example/callback ",
            " https://app.example/callback",
            "https://app.example/callback\t",
            "https://app.example/callback\r\nx: y",
            "https://app.example/callback%0d%0ax:%20y",
            "https://app.example/callback\0",
            "https://app.example/callback%00",
            "https://app.example\\callback",
            "https:\\\\app.example/callback",
            "https:/app.example/callback",
            "//app.example/callback",
            "/callback",
            "https://user@app.example/callback",
            "https://app.example@evil.example/callback",
            "https://app.example:x@evil.example/callback",
            "https://app.example%40evil.example/callback",
            "https://app.example.evil.example/callback",
            "https://evil.example/https://app.example/callback",
            "https://evil.example#https://app.example/callback",
            "https://evil.example\\@app.example/callback",
            "https://аpp.example/callback",
            "https://sub.app.example/callback",
            "https://*.example/callback",
        ],
    ),
    (
        "https://app.example/cb?tenant=1",
        &[
            "https://app.example/cb",
            "https://app.example/cb?tenant=2",
            "https://app.example/cb?tenant=1&x=2",
            "https://app.example/cb?x=2&tenant=1",
            "https://app.example/cb?tenant=%31",
        ],
    ),
    (
        "http://127.0.0.1/cb",
        &[
            "http://127.0.0.1:0/cb",
            "http://127.0.0.1:65536/cb",
            "http://127.0.0.1:/cb",
            "http://127.0.0.1:80x/cb",
            "http://127.0.0.1:00080/cb",
            "http://127.0.0.1:8080/other",
            "http://127.0.0.1:8080@evil.example/cb",
            "http://127.0.0.1.evil.example/cb",
            "http://127.0.0.2:8080/cb",
            "http://[::1]:8080/cb",
            "http://localhost:8080/cb",
            "https://127.0.0.1:8080/cb",
        ],
    ),
    (
        "http://localhost/cb",
        &[
            "http://127.0.0.1/cb",
            "http://127.0.0.1:8080/cb",
            "https://localhost:8080/cb",
            "http://localhost:8080/other",
            "http://localhost.evil.example:8080/cb",
            "http://localhost:8080@evil.example/cb",
            "http://LOCALHOST:8080/cb",
        ],
    ),
    ("https://app.example", &["https://app.example//", "https://app.example/x", "https://app.example/?"]),
    ("com.example.app:/cb", &["com.example.app://cb", "com.example.app:/cb/", "com.example.app:cb"]),
];

#[test]
fn a3_what_is_nearly_registered_gets_nothing_through() {
    let grantbook = Grantbook::start();
    let browser = grantbook.person("ana", "acme");
    for (registered, near_misses) in NEAR_MISSES {
        let app = grantbook.app_with(|app| app.redirect_uris = vec![(*registered).to_owned()]);
        let page = |uri| browser.get(&format!("/oauth/authorize?{}", app.query(&[("redirect_uri", uri)])));
        page(registered).expect(200);
        for near_miss in *near_misses {
            let reply = page(near_miss);
            assert_eq!((reply.status, reply.location()), (400, ""), "{near_miss:?} for {registered}");
        }
    }
}

#[test]
fn a3_only_the_port_of_loopback_may_differ() {
    let grantbook = Grantbook::start();
    for (registered, sent) in [
        ("http://127.0.0.1/cb", "http://127.0.0.1:51234/cb"),
        ("http://127.0.0.1:8000/cb", "http://127.0.0.1:51234/cb"),
        ("http://127.0.0.1:8000/cb", "http://127.0.0.1/cb"),
        ("http://[::1]/cb?a=b", "http://[::1]:51234/cb?a=b"),
        ("http://localhost/cb", "http://localhost:51234/cb"),
        ("http://localhost:8000/cb", "http://localhost:51234/cb"),
    ] {
        let app = grantbook.app_with(|app| app.redirect_uris = vec![registered.to_owned()]);
        let reply =
            grantbook.person("ana", "acme").approve(&app.query(&[("redirect_uri", sent)])).expect(303);
        assert!(reply.location().starts_with(sent), "{reply:?}");
        // The exchange names the one that was sent, not the one that is registered.
        let code = reply.param("code").unwrap();
        let wrong = grantbook.exchange_with(&app, &code, &[("redirect_uri", registered)]);
        assert_eq!(wrong.error(), (400, "invalid_grant".to_owned()));
        grantbook.exchange_with(&app, &code, &[("redirect_uri", sent)]).expect(200);
    }
}

#[test]
fn a3_an_empty_path_is_the_root() {
    let grantbook = Grantbook::start();
    let browser = grantbook.person("ana", "acme");
    for (registered, sent) in
        [("https://app.example", "https://app.example/"), ("https://app.example/", "https://app.example")]
    {
        let app = grantbook.app_with(|app| app.redirect_uris = vec![registered.to_owned()]);
        for named in [registered, sent] {
            let reply = browser.approve(&app.query(&[("redirect_uri", sent)])).expect(303);
            let code = reply.param("code").unwrap();
            grantbook.exchange_with(&app, &code, &[("redirect_uri", named)]).expect(200);
        }
    }
}
