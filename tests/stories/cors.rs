//! What pages of other origins may call: metadata, and what apps ask, without credentials, and nothing else.

use crate::client::{Pairs, Reply, encode};
use crate::harness::Grantbook;

const OPEN: &[(&str, &str)] = &[
    ("/.well-known/oauth-authorization-server", "GET"),
    ("/oauth/par", "POST"),
    ("/oauth/token", "POST"),
    ("/oauth/revoke", "POST"),
    ("/oauth/userinfo", "GET"),
    ("/oauth/register", "POST"),
];
/// The last part may be anything.
const REGISTRATION: &str = "/oauth/register/{client_id}";
const ORIGIN: (&str, &str) = ("origin", "https://spa.example");

/// Anybody may read it, nobody with cookies, and no cache has to tell origins apart.
#[track_caller]
fn assert_open(reply: &Reply) {
    assert_eq!(reply.header("access-control-allow-origin"), "*", "{reply:?}");
    assert_eq!(reply.headers.get_all("access-control-allow-origin").iter().count(), 1, "{reply:?}");
    assert_eq!(reply.header("access-control-allow-credentials"), "", "{reply:?}");
    assert!(!reply.header("vary").to_lowercase().contains("origin"), "{reply:?}");
}

#[track_caller]
fn assert_closed(reply: &Reply) {
    let cors = |name: &str| name.starts_with("access-control-");
    assert!(!reply.headers.keys().any(|name| cors(name.as_str())), "{reply:?}");
}

#[track_caller]
fn preflight(grantbook: &Grantbook, path: &str, method: &str) -> Reply {
    let headers: Pairs<'_> = &[
        ORIGIN,
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type"),
    ];
    grantbook.send("OPTIONS", path, headers, None)
}

#[test]
fn b1_a_page_of_any_origin_may_ask_first() {
    let grantbook = Grantbook::start();
    for (path, method) in OPEN {
        let reply = preflight(&grantbook, path, method).expect(204);
        assert_open(&reply);
        let listed = |name: &str| -> Vec<String> {
            reply.header(name).split(',').map(|item| item.trim().to_lowercase()).collect()
        };
        assert!(listed("access-control-allow-methods").contains(&method.to_lowercase()), "{reply:?}");
        // `*` does not stand for Authorization (Fetch section 3.2.3).
        for header in ["authorization", "content-type"] {
            assert!(listed("access-control-allow-headers").contains(&header.to_owned()), "{reply:?}");
        }
        assert!(listed("allow").contains(&"options".to_owned()), "{reply:?}");
        assert_ne!(reply.header("access-control-max-age"), "");
    }
    for method in ["GET", "PUT", "DELETE"] {
        let reply = preflight(&grantbook, REGISTRATION, method).expect(204);
        assert_open(&reply);
        assert!(reply.header("access-control-allow-methods").contains(method), "{reply:?}");
        assert_open(&grantbook.send(method, REGISTRATION, &[ORIGIN], None));
    }
}

#[test]
fn b1_a_page_reads_answers_and_errors() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    assert_open(&grantbook.send("GET", OPEN[0].0, &[ORIGIN], None).expect(200));
    let code = grantbook.code(&app);
    let exchange = |code: &str| {
        grantbook.post_with("/oauth/token", &[ORIGIN], &[&app.credentials()[..], &[("code", code)]].concat())
    };
    let reply = exchange(&code).expect(200);
    assert_open(&reply);
    let revoked = encode(&[&app.credentials()[..], &[("token", &reply.text("access_token"))]].concat());
    assert_open(&grantbook.post_raw("/oauth/revoke", &[ORIGIN], &revoked).expect(200));

    let long = "x".repeat(100_000);
    for (path, method) in OPEN {
        let body = (*method == "POST").then_some(&b"client_id=x"[..]);
        for (headers, wrong) in [
            (&[ORIGIN][..], "PUT"),
            (&[ORIGIN, ("content-type", "text/plain")][..], *method),
            (&[ORIGIN, ("content-type", "application/x-www-form-urlencoded")][..], *method),
            // Refused before it was routed.
            (&[ORIGIN, ("x-long", long.as_str())][..], *method),
            // A cache may have it from somebody who sent no Origin.
            (&[][..], *method),
        ] {
            let reply = grantbook.send(wrong, path, headers, body);
            assert!(reply.status >= 400 || *method == "GET", "{reply:?}");
            assert_open(&reply);
        }
        let refused = grantbook.send("PUT", path, &[ORIGIN], None).expect(405);
        assert!(refused.header("allow").split(", ").any(|method| method == "OPTIONS"), "{refused:?}");
        // A page has to see why it was refused.
        let exposed = refused.header("access-control-expose-headers").to_lowercase();
        assert!(exposed.contains("www-authenticate") && exposed.contains("x-request-id"), "{refused:?}");
    }
    assert_eq!(exchange(&code).error(), (400, "invalid_grant".to_owned()));
}

#[test]
fn b1_under_the_path_of_an_issuer_it_is_the_same() {
    let issuer = ("ISSUER", "https://auth.example/oauth2");
    let grantbook = Grantbook::with(&[("SIGN_IN_MODE", "none"), issuer]);
    for (path, method) in [
        ("/.well-known/oauth-authorization-server/oauth2", "GET"),
        ("/oauth2/oauth/token", "POST"),
        ("/oauth/revoke", "POST"),
    ] {
        assert_open(&preflight(&grantbook, path, method).expect(204));
        assert_open(&grantbook.send(method, path, &[ORIGIN], None));
    }
    assert_closed(&preflight(&grantbook, "/oauth2/oauth/introspect", "POST"));
}

#[test]
fn b1_nothing_else_is_for_pages_of_other_origins() {
    let grantbook = Grantbook::start();
    let document = grantbook.get("/openapi.json").expect(200).json();
    let documented = document["paths"].as_object().unwrap().keys().map(String::as_str);
    let pages =
        ["/", "/sign-in", "/sign-in/dev", "/sign-in/handoff", "/sign-out", "/account/apps", "/nowhere"];
    let is_open = |path: &&str| *path == REGISTRATION || OPEN.iter().any(|(open, _)| open == path);
    for path in documented.chain(pages).filter(|path| !is_open(path)) {
        for method in ["GET", "POST", "DELETE"] {
            let asked = preflight(&grantbook, path, method);
            assert!(asked.status >= 400, "{method} {path}: {asked:?}");
            assert_closed(&asked);
            assert_closed(&grantbook.send(method, path, &[ORIGIN], None));
        }
    }
}
