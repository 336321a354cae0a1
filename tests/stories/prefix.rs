//! An issuer with a path: everything a browser or an app follows stays under it, whether the proxy in front
//! takes the path off or leaves it on.

use crate::client::{Browser, Pairs, Reply};
use crate::harness::{App, CALLBACK, Grantbook};

const ISSUER: &str = "http://localhost:9443/auth";
const PREFIX: &str = "/auth";
const METADATA: &str = "/.well-known/oauth-authorization-server/auth";

/// What the proxy in front does with the path.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Proxy {
    TakesItOff,
    LeavesItOn,
}

impl Proxy {
    /// The path that grantbook is asked for when a browser asks the proxy for this one.
    #[track_caller]
    fn pass(self, path: &str) -> &str {
        let own = path.strip_prefix(PREFIX).filter(|own| own.starts_with('/'));
        match (own, self) {
            // Another server has every other path of the host.
            (None, _) if path == METADATA => path,
            (None, _) => panic!("{path} is not under {PREFIX}"),
            (Some(own), Self::TakesItOff) => own,
            (Some(_), Self::LeavesItOn) => path,
        }
    }

    #[track_caller]
    fn get(self, browser: &Browser, path: &str) -> Reply {
        let reply = browser.get(self.pass(path));
        assert!(links(&reply.body).iter().all(|link| link.starts_with("/auth/")), "{reply:?}");
        reply
    }

    /// Sends the form of a page that leads to one of our own paths.
    #[track_caller]
    fn submit(self, browser: &Browser, page: &Reply, action: &str, added: Pairs<'_>) -> Reply {
        let mut form = page.form(&format!("{PREFIX}{action}"));
        form.action = self.pass(&form.action).to_owned();
        browser.submit(&form, added)
    }
}

/// Every link, form and file of a page that is on its own host.
fn links(page: &str) -> Vec<String> {
    let values = ["href=\"", "action=\"", "src=\""].into_iter().flat_map(|name| page.split(name).skip(1));
    let values = values.filter_map(|rest| rest.split('"').next());
    values.filter(|value| !value.contains("://")).map(str::to_owned).collect()
}

fn started() -> (Grantbook, App) {
    let grantbook = Grantbook::with(&[("ISSUER", ISSUER)]);
    let app = grantbook.app();
    (grantbook, app)
}

#[test]
fn the_whole_flow_stays_under_the_path_of_the_issuer() {
    for proxy in [Proxy::TakesItOff, Proxy::LeavesItOn] {
        let (grantbook, app) = started();
        let browser = grantbook.browser();
        let asked = format!("/auth/oauth/authorize?{}", app.query(&[("state", "/a?b")]));
        let to_sign_in = proxy.get(&browser, &asked).expect(303).location().to_owned();
        let sign_in = proxy.get(&browser, &to_sign_in).expect(200);
        assert!(links(&sign_in.body).contains(&"/auth/assets/grantbook.css".to_owned()), "{sign_in:?}");
        let wrong = proxy.submit(&browser, &sign_in, "/sign-in/dev", &[("user", ""), ("account", "")]);
        let ana = [("user", "ana"), ("account", "acme")];
        let back = proxy.submit(&browser, &wrong.expect(422), "/sign-in/dev", &ana).expect(303);
        let consent = proxy.get(&browser, back.location()).expect(200);
        let answer =
            proxy.submit(&browser, &consent, "/oauth/authorize", &[("decision", "approve")]).expect(303);
        assert!(answer.location().starts_with(CALLBACK), "{answer:?}");
        assert_eq!(answer.param("iss").as_deref(), Some(ISSUER));
        assert_eq!(answer.param("state").as_deref(), Some("/a?b"));

        let code = answer.param("code").unwrap();
        let form = [&app.credentials()[..], &[("code", code.as_str())]].concat();
        let token = grantbook.post(proxy.pass("/auth/oauth/token"), &form).expect(200).text("access_token");
        assert_eq!(grantbook.introspect(&token)["iss"], ISSUER);

        let account = proxy.get(&browser, "/auth/account/apps").expect(200);
        let uninstall = links(&account.body).into_iter().find(|link| link.ends_with("/uninstall")).unwrap();
        let uninstall = uninstall.strip_prefix(PREFIX).unwrap();
        let ended = proxy.submit(&browser, &account, uninstall, &[]).expect(303);
        let after = proxy.get(&browser, ended.location()).expect(200);
        assert!(!grantbook.is_active(&token));
        let out = proxy.submit(&browser, &after, "/sign-out", &[]).expect(200);
        assert!(links(&out.body).iter().all(|link| link.starts_with("/auth/")), "{out:?}");
        assert!(links(&out.body).iter().any(|link| link.starts_with("/auth/sign-in")), "{out:?}");
        proxy.get(&browser, "/auth/assets/grantbook.css").expect(200);
    }
}

#[test]
fn pages_that_say_no_stay_under_it_too() {
    for proxy in [Proxy::TakesItOff, Proxy::LeavesItOn] {
        let (grantbook, app) = started();
        let browser = grantbook.browser();
        assert!(
            proxy.get(&browser, "/auth/account/apps").expect(303).location().starts_with("/auth/sign-in")
        );
        for (path, status) in [
            ("/auth/oauth/authorize?client_id=nobody", 400),
            ("/auth/sign-in?continue=wrong", 400),
            ("/auth/sign-in/handoff?token=wrong", 400),
        ] {
            let page = proxy.get(&browser, path).expect(status);
            assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
        }
        let html = [("accept", "text/html")];
        let root = grantbook.send("GET", proxy.pass("/auth/"), &html, None);
        assert!(root.status == 200 || root.location().starts_with("/auth/"), "{root:?}");
        for path in ["/auth/nothing/here", "/auth/authority"] {
            let page = grantbook.send("GET", proxy.pass(path), &html, None).expect(404);
            assert!(links(&page.body).iter().all(|link| link.starts_with("/auth/")), "{page:?}");
        }
        // A redirect to an app is to the app, whatever its path is.
        let denied = format!("/auth/oauth/authorize?{}", app.query(&[("response_type", "token")]));
        browser.try_send("GET", proxy.pass(&denied), None).unwrap();
        let sign_in = proxy.get(&browser, "/auth/sign-in").expect(200);
        proxy.submit(&browser, &sign_in, "/sign-in/dev", &[("user", "ana"), ("account", "acme")]).expect(303);
        assert!(proxy.get(&browser, &denied).expect(303).location().starts_with(CALLBACK));
    }
}

#[test]
fn the_metadata_is_where_rfc_8414_puts_it_and_names_what_is_there() {
    for proxy in [Proxy::TakesItOff, Proxy::LeavesItOn] {
        let (grantbook, _) = started();
        let browser = grantbook.browser();
        // Some clients look where OpenID Connect puts it.
        for path in [METADATA, "/auth/.well-known/oauth-authorization-server"] {
            let metadata = browser.get(proxy.pass(path)).expect(200).json();
            assert_eq!(metadata["issuer"], ISSUER);
            let endpoints =
                metadata.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint"));
            for (name, endpoint) in endpoints {
                let path = endpoint.as_str().unwrap().strip_prefix("http://localhost:9443").unwrap();
                assert_ne!(browser.get(proxy.pass(path)).status, 404, "{name}");
            }
        }
        assert_eq!(browser.get("/.well-known/oauth-authorization-server/other").status, 404);
        // Pages of other origins read it, and exchange codes.
        for path in [METADATA, "/auth/oauth/token"] {
            let asked =
                grantbook.send("OPTIONS", proxy.pass(path), &[("origin", "https://app.example")], None);
            assert_eq!(asked.expect(204).header("access-control-allow-origin"), "*");
        }
        let document = grantbook.get(proxy.pass("/auth/openapi.json")).expect(200).json();
        assert_eq!(document["servers"][0]["url"], ISSUER);
    }
}

#[test]
fn an_operator_finds_what_was_made_under_it() {
    for proxy in [Proxy::TakesItOff, Proxy::LeavesItOn] {
        let (grantbook, _) = started();
        let bearer = format!("Bearer {}", grantbook.admin_key);
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let app =
            r#"{"name":"One","owner":"Owner","redirect_uris":["https://app.example/cb"],"scopes":["faqs"]}"#;
        let made =
            grantbook.send("POST", proxy.pass("/auth/apps"), &headers, Some(app.as_bytes())).expect(201);
        let path = made.location().strip_prefix("http://localhost:9443").unwrap();
        assert!(path.starts_with("/auth/apps/"), "{path}");
        grantbook.send("GET", proxy.pass(path), &headers, None).expect(200);
    }
}
