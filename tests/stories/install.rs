//! An app on an account, from an empty directory to an uninstall and back: the real executable, with the
//! client library that apps in Rust use.

use std::sync::Barrier;
use std::thread;

use oauth2::basic::{BasicClient, BasicTokenType};
use oauth2::{
    AccessToken, AuthUrl, AuthorizationCode, ClientId, ClientSecret, CsrfToken, HttpRequest, HttpResponse,
    IntrospectionUrl, PkceCodeChallenge, RedirectUrl, Scope, TokenIntrospectionResponse as _,
    TokenResponse as _, TokenUrl,
};
use serde_json::{Value, json};
use url::Url;

use crate::client::{Browser, Http};
use crate::executable::{Place, Serving};

const CALLBACK: &str = "https://app.example/callback";

/// An app as its developer has it: credentials, and a client library.
pub struct App<'a> {
    serving: &'a Serving,
    client_id: String,
    client_secret: String,
}

/// What an installation brought.
pub struct Installed {
    token: AccessToken,
    token_id: String,
    pub installation_id: String,
}

impl<'a> App<'a> {
    fn register(serving: &'a Serving) -> Self {
        let registration = json!({
            "name": "Story App",
            "owner": "Story Owner",
            "redirect_uris": [CALLBACK],
            "scopes": ["widgets", "faqs"],
        });
        let app = serving.ask("POST", "/apps", Some(registration)).expect(201);
        Self { serving, client_id: app.text("client_id"), client_secret: app.text("client_secret") }
    }

    /// One that is registered, as the management API answers it.
    pub fn of(serving: &'a Serving, app: &Value) -> Self {
        let text = |name: &str| app[name].as_str().unwrap().to_owned();
        Self { serving, client_id: text("client_id"), client_secret: text("client_secret") }
    }

    /// Sends a person to the authorization URL and gives where they come back to.
    fn authorized(&self, url: &Url) -> Url {
        let path = &url[url::Position::BeforePath..];
        // Somebody whom the server does not know yet is asked to sign in, and comes back.
        let browser = Browser::new(&self.serving.http);
        let sign_in = browser.get(path).expect(303).location().to_owned();
        let form = browser.get(&sign_in).expect(200).form("/sign-in/dev");
        let back = browser.submit(&form, &[("user", "ana"), ("account", "acme")]).expect(303);
        let consent = browser.get(back.location()).expect(200).form("/oauth/authorize");
        let approved = browser.submit(&consent, &[("decision", "approve")]).expect(303);
        approved.location().parse().unwrap()
    }

    /// Goes through the whole grant with the client library.
    pub fn install(&self) -> Installed {
        let url = |path: &str| format!("{}{path}", self.serving.http.base());
        let client = BasicClient::new(ClientId::new(self.client_id.clone()))
            .set_client_secret(ClientSecret::new(self.client_secret.clone()))
            .set_auth_uri(AuthUrl::new(url("/oauth/authorize")).unwrap())
            .set_token_uri(TokenUrl::new(url("/oauth/token")).unwrap())
            .set_introspection_url(IntrospectionUrl::new(url("/oauth/introspect")).unwrap())
            .set_redirect_uri(RedirectUrl::new(CALLBACK.to_owned()).unwrap());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (authorize, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(["faqs", "brands"].map(|scope| Scope::new(scope.to_owned())))
            .set_pkce_challenge(challenge)
            .url();
        let back = self.authorized(&authorize);
        assert!(back.as_str().starts_with(CALLBACK), "{back}");
        assert_eq!(param(&back, "state"), *state.secret());
        assert_eq!(param(&back, "iss"), self.serving.http.base());

        let http = |request: HttpRequest| send(&self.serving.http, request);
        let code = AuthorizationCode::new(param(&back, "code"));
        let reply = client.exchange_code(code).set_pkce_verifier(verifier).request(&http).unwrap();
        assert_eq!(*reply.token_type(), BasicTokenType::Bearer);
        assert_eq!(reply.expires_in(), None);
        let scopes: Vec<_> = reply.scopes().unwrap().iter().map(|scope| scope.as_str()).collect();
        assert_eq!(scopes, ["widgets", "faqs"]);

        let token = reply.access_token().clone();
        let facts = client.introspect(&token).request(&http).unwrap();
        assert!(facts.active());
        assert_eq!((facts.sub(), facts.exp()), (Some("ana"), None));
        assert_eq!(facts.client_id().map(|id| id.as_str()), Some(self.client_id.as_str()));
        let seen = self.serving.introspect(token.secret());
        let text = |name: &str| seen[name].as_str().unwrap().to_owned();
        Installed { token_id: text("jti"), installation_id: text("installation_id"), token }
    }

    fn is_active(&self, installed: &Installed) -> bool {
        self.serving.introspect(installed.token.secret())["active"].as_bool().unwrap()
    }

    /// The installed status, as an operator sees it.
    fn is_installed(&self) -> bool {
        let list = self.serving.ask("GET", &format!("/installations?app={}", self.client_id), None);
        list.expect(200).json()["items"][0]["installed"].as_bool().unwrap()
    }
}

fn param(url: &Url, name: &str) -> String {
    let found = url.query_pairs().find(|(known, _)| known == name);
    found.unwrap_or_else(|| panic!("no {name} in {url}")).1.into_owned()
}

/// Carries a request of the client library.
fn send(http: &Http, request: HttpRequest) -> Result<HttpResponse, ureq::Error> {
    let (parts, body) = request.into_parts();
    let headers: Vec<_> =
        parts.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
    let path = parts.uri.path_and_query().unwrap().as_str();
    let reply = http.try_send(parts.method.as_str(), path, &headers, Some(&body))?;
    let mut response = HttpResponse::new(reply.body.into_bytes());
    *response.status_mut() = reply.status.try_into().unwrap();
    *response.headers_mut() = reply.headers;
    Ok(response)
}

/// The types of the events of a stream, as the command line prints them.
fn types_of(place: &Place, stream: &str) -> Vec<String> {
    let lines = place.ok(&["events", "--stream", stream]);
    let types = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["type"].clone());
    types.map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn an_app_is_installed_used_revoked_uninstalled_and_installed_again() {
    let place = Place::empty();
    let serving = place.serve();
    let app = App::register(&serving);
    let first = app.install();
    assert!(app.is_installed());

    let credentials = [("client_id", app.client_id.as_str()), ("client_secret", &app.client_secret)];
    let revocation = [&credentials[..], &[("token", first.token.secret().as_str())]].concat();
    serving.http.post("/oauth/revoke", &revocation).expect(200);
    assert!(!app.is_active(&first) && !app.is_installed());

    let second = app.install();
    assert_eq!(second.installation_id, first.installation_id);
    assert!(app.is_active(&second) && app.is_installed() && !app.is_active(&first));

    let installation = format!("/installations/{}", second.installation_id);
    serving.ask("DELETE", &format!("{installation}?note=done"), None).expect(200);
    assert!(!app.is_active(&second) && !app.is_installed());

    let third = app.install();
    assert!(app.is_active(&third) && app.is_installed());
    serving.ask("DELETE", &format!("/tokens/{}", third.token_id), None);
    assert!(!app.is_active(&third) && !app.is_installed());

    let types = types_of(&place, &format!("installation-{}", third.installation_id));
    let granted = ["access-granted", "code-exchanged"];
    let told: [&[&str]; 6] =
        [&granted, &["token-revoked"], &granted, &["app-uninstalled"], &granted, &["token-revoked"]];
    assert_eq!(types, told.concat());
    serving.stop();
}

#[test]
fn what_was_installed_is_installed_after_a_restart() {
    let place = Place::empty();
    let serving = place.serve();
    let app = App::register(&serving);
    let (kept, revoked) = (app.install(), app.install());
    serving.ask("DELETE", &format!("/tokens/{}", revoked.token_id), None);
    let events = place.ok(&["events"]);
    let App { client_id, client_secret, .. } = app;
    serving.stop();
    assert_eq!(place.ok(&["events"]), events);

    let serving = place.serve();
    let app = App { serving: &serving, client_id, client_secret };
    assert!(app.is_active(&kept) && !app.is_active(&revoked) && app.is_installed());
    let again = app.install();
    assert!(app.is_active(&again) && app.is_active(&kept));
    serving.stop();
}

#[test]
fn c2_of_64_exchanges_of_one_code_exactly_one_is_granted() {
    const CALLERS: usize = 64;
    let place = Place::empty();
    let serving = place.serve();
    let app = App::register(&serving);
    let query = format!("/oauth/authorize?client_id={}&scope=faqs", app.client_id);
    let back = app.authorized(&Url::parse(serving.http.base()).unwrap().join(&query).unwrap());
    let code = param(&back, "code");
    let form =
        [("client_id", app.client_id.as_str()), ("client_secret", &app.client_secret), ("code", &code)];
    let barrier = Barrier::new(CALLERS);
    let replies: Vec<_> = thread::scope(|scope| {
        let exchange = || {
            barrier.wait();
            serving.http.post("/oauth/token", &form)
        };
        let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(exchange)).collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let (granted, refused): (Vec<_>, Vec<_>) = replies.iter().partition(|reply| reply.status == 200);
    assert_eq!(granted.len(), 1);
    for reply in refused {
        assert_eq!(reply.error(), (400, "invalid_grant".to_owned()));
    }
    // A code that is presented twice has leaked, so what it brought is revoked (RFC 6749 section 4.1.2).
    assert_eq!(serving.introspect(&granted[0].text("access_token")), json!({ "active": false }));
    serving.stop();
}

/// What would end without something is told, with or without a server, by any name of a scope.
#[test]
fn what_would_end_without_a_scope_or_a_redirect_uri_is_told_and_nothing_ends() {
    let place = Place::empty();
    let serving = place.serve();
    let app = App::register(&serving);
    let installed = app.install();
    let what_if = |flag: &str, value: &str| place.json(&["replay", "what-if", flag, value, "--json"]);
    for (flag, value) in
        [("--without-scope", "widgets"), ("--without-scope", "brands"), ("--without-redirect", CALLBACK)]
    {
        let items = &what_if(flag, value)["items"];
        assert_eq!(items[0]["installation_id"], installed.installation_id, "{items}");
        assert_eq!((&items[0]["ends"], &items[0]["tokens_gone"]), (&json!(true), &json!(1)));
    }
    // The app may ask for it, and has not.
    assert_eq!(what_if("--without-scope", "contacts")["items"], json!([]));
    for (flag, value, said) in [
        ("--without-scope", "nosuch", "\"nosuch\" is no scope: no app and no grant in the ledger has it"),
        ("--without-redirect", "https://elsewhere.example/", "is no redirect URI: no app and no grant"),
    ] {
        let (code, refused) = place.fails(&["replay", "what-if", flag, value]);
        assert!(code == 1 && refused.contains(said), "{code}: {refused}");
    }
    assert!(app.is_active(&installed));
    serving.stop();
    let said = place.ok(&["replay", "what-if", "--without-scope", "faqs"]);
    assert!(
        said.contains(&installed.installation_id) && said.contains("1 installations would end"),
        "{said}"
    );
    let (code, said) = place.fails(&["replay", "what-if"]);
    assert!(code == 2 && said.contains("--without-scope"), "{code}: {said}");
}

/// An auditor reads the story of an installation; that is logged, and a key that may not is refused.
#[test]
fn an_auditor_is_told_what_happened_and_the_asking_is_logged() {
    let place = Place::empty();
    let key = |role: &str| {
        let made = place.json(&["key", "new", "--name", role, "--role", role, "--json"]);
        format!("Bearer {}", made["key"].as_str().unwrap())
    };
    let (auditor, resource) = (key("auditor"), key("resource"));
    let serving = place.serve();
    let installed = App::register(&serving).install();
    let path = format!("/audit/installations/{}/timeline", installed.installation_id);
    let get = |path: &str, bearer: &str| serving.http.send("GET", path, &[("authorization", bearer)], None);
    let told = get(&path, &auditor).expect(200).json();
    let sentence = |at: usize| told["items"][at]["sentence"].as_str().unwrap();
    assert!(sentence(0).starts_with("The app Story App"), "{told}");
    assert!(sentence(1).contains("granted by user ana"), "{told}");
    assert!(
        sentence(2).contains(&installed.token_id) && sentence(2).ends_with("The app is installed."),
        "{told}"
    );
    get(&path, &resource).expect(403);
    let nowhere = "/audit/installations/98f1b1a0-279b-5082-a1d9-c221440d2739/timeline";
    get(nowhere, &auditor).expect(404);
    let explained = place.ok(&["audit", "explain", &installed.installation_id]);
    assert!(explained.contains("The app is installed.") && explained.contains("at position"), "{explained}");
    let wide = "actor=ana&type=code-exchanged&since=2026-01-01T00%3A00%3A00Z&after=0&limit=3";
    get(&format!("/audit/events?{wide}"), &auditor).expect(200);
    get("/audit/events?reason=two%0Alines&before=-1", &auditor).expect(400);
    get("/audit/diff?account=acme&from=1&to=2", &auditor).expect(200);
    get("/audit/installations?account=acme&as_of=gbt_oops", &auditor).expect(400);
    let log = serving.stop();
    let lines = |what: &str, question: &str| {
        let is_it =
            |line: &&str| line.contains(what) && line.contains(question) && line.contains("request_id");
        log.lines().filter(is_it).count()
    };
    assert_eq!(lines("history was asked about", ""), 7, "{log}");
    assert_eq!(lines("a question about history was refused", &path), 1, "{log}");
    for question in [
        wide,
        "reason=two%0Alines&before=-1",
        "account=acme&from=1&to=2",
        "account=acme&as_of=%28a+secret%29",
    ] {
        assert_eq!(lines("history was asked about", question), 1, "{question}: {log}");
    }
    assert!(!log.contains("gbt_oops"), "{log}");
}

/// An auditor asks the past on the command line, with a server and without; nothing is appended by that.
#[test]
fn an_auditor_asks_what_was_true_then_and_what_changed() {
    let place = Place::empty();
    let serving = place.serve();
    let app = App::register(&serving);
    let installed = app.install();
    let before =
        serving.ask("GET", "/projections", None).expect(200).json()["items"][0]["position"].to_string();
    serving.ask("DELETE", &format!("/tokens/{}", installed.token_id), None);
    let events = place.ok(&["events"]);

    let ask = || {
        let token = installed.token_id.as_str();
        let then = place.ok(&["audit", "installations", "--account", "acme", "--as-of", &before]);
        assert!(then.contains("Story App: installed since") && then.contains(token), "{then}");
        let now = place.ok(&["audit", "installations", "--account", "acme"]);
        assert!(now.contains("not installed, ended"), "{now}");
        let valid = place.ok(&["audit", "token", token, "--as-of", &before]);
        assert!(valid.contains(": valid\n"), "{valid}");
        let ended = place.ok(&["audit", "token", token]);
        assert!(ended.contains(": not valid\n") && ended.contains("was revoked by operator"), "{ended}");
        let changed = place.ok(&["audit", "diff", "--account", "acme", "--from", &before]);
        assert!(
            changed.contains("ended") && changed.contains(&format!("tokens ended: {token}")),
            "{changed}"
        );
        let explained = place.ok(&["audit", "explain", token]);
        assert_eq!(explained.lines().count(), 8, "registered, granted, exchanged, revoked: {explained}");
        let listed = place.ok(&["audit", "events", "--token", token, "--oldest-first"]);
        let types: Vec<_> = listed.lines().map(|line| line.split_whitespace().nth(2).unwrap()).collect();
        assert_eq!(types, ["WHAT", "code-exchanged", "token-revoked"], "{listed}");
        assert!(listed.trim_end().ends_with("operator"), "the reason: {listed}");
        let all = place.ok(&["audit", "events", "--format", "ndjson"]);
        assert_eq!(all.lines().count(), events.lines().count());
        let csv = place.ok(&["audit", "events", "--format", "csv", "--type", "token-revoked"]);
        assert_eq!(csv.split("\r\n").count(), 3, "a header, a line, and the end: {csv}");
        let page = place.json(&["audit", "events", "--limit", "1", "--json"]);
        assert_eq!(page["items"][0]["type"], "token-revoked");
        let cursor = page["next_cursor"].as_str().unwrap();
        let next = place.json(&["audit", "events", "--limit", "1", "--cursor", cursor, "--json"]);
        assert_eq!(next["items"][0]["type"], "code-exchanged");
        // A head; and people are told that there is more.
        for (format, more) in [("text", 2), ("ndjson", 0), ("csv", 1)] {
            let next = ["audit", "events", "--limit", "1", "--cursor", cursor, "--format", format];
            let next = place.ok(&next);
            assert_eq!(next.lines().count(), 1 + more, "{next}");
            assert!(next.contains("code-exchanged") && !next.contains("token-revoked"), "{next}");
        }
    };
    ask();
    serving.stop();
    ask();
    for limit in ["0", "201"] {
        let (code, said) = place.fails(&["audit", "events", "--format", "csv", "--limit", limit]);
        assert!(code == 2 && said.contains("1..=200"), "{code}: {said}");
    }
    let (code, said) = place.fails(&["audit", "explain", "acme"]);
    assert!(code == 2 && said.contains("the id of an installation or of a token"), "{code}: {said}");
    let (code, said) = place.fails(&["audit", "installations", "--account", "acme", "--as-of", "then"]);
    assert!(code == 2 && said.contains("neither a position"), "{code}: {said}");
    let to_come = "2999-01-01T00:00:00Z";
    for asked in [
        &["audit", "installations", "--account", "acme", "--as-of", to_come][..],
        &["audit", "token", &installed.token_id, "--as-of", to_come],
        &["audit", "diff", "--account", "acme", "--from", &before, "--to", to_come],
        &["replay", "run", "--until", to_come],
        &["replay", "run", "--until", to_come, "--projection", "history"],
    ] {
        let (code, said) = place.fails(asked);
        assert!(code == 1 && said.contains("2999-01-01T00:00:00.000000Z is still to come"), "{code}: {said}");
        assert!(said.contains(&format!("the ledger ends at position {}", events.lines().count())), "{said}");
    }
    assert_eq!(place.ok(&["events"]), events, "asking changes nothing");
    let verified = place.ok(&["replay", "verify"]);
    assert!(verified.contains("the history, row by row"), "{verified}");
    let rebuilt = place.ok(&["replay", "rebuild", "--projection", "history"]);
    assert!(rebuilt.starts_with("history is rebuilt of") && rebuilt.contains("was the same"), "{rebuilt}");
    let folded = place.ok(&["replay", "run", "--projection", "history", "--dump"]);
    assert_eq!(folded, place.ok(&["audit", "events", "--format", "ndjson", "--oldest-first"]));
}
