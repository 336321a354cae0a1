//! Apps with a client ID metadata document at `/oauth/authorize`, `/oauth/par` and `/oauth/token`: D4.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use grantbook_events::{AppEvent, ClientId, Event};
use serde_json::{Value, json};

use crate::client::{Reply, encode};
use crate::harness::{Given, Grantbook};

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The web site of an app: one document on loopback.
struct Site {
    url: String,
    document: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
    is_over: Arc<AtomicBool>,
}

impl Site {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let url = format!("http://localhost:{}/client.json", address.port());
        let document = Arc::new(Mutex::new(json!({
            "client_id": url,
            "client_name": "Agent",
            "redirect_uris": [format!("http://localhost:{}/callback", address.port())],
            "grant_types": ["authorization_code", "refresh_token"],
        })));
        let (asked, is_over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (shown, count, over) = (Arc::clone(&document), Arc::clone(&asked), Arc::clone(&is_over));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if over.load(Ordering::Acquire) {
                    return;
                }
                let Ok(mut stream) = stream else { continue };
                count.fetch_add(1, Ordering::AcqRel);
                let _ = stream.read(&mut [0; 4096]);
                let body = shown.lock().unwrap().to_string();
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { url, document, asked, is_over }
    }

    fn says(&self, name: &str, value: impl Into<Value>) {
        self.document.lock().unwrap()[name] = value.into();
    }

    fn query(&self) -> String {
        encode(&[
            ("client_id", &self.url),
            ("scope", "widgets"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ])
    }

    fn id(&self) -> ClientId {
        ClientId::of_document(&self.url)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Release);
        let port = self.url.split(['/', ':']).nth(4).unwrap();
        let _ = std::net::TcpStream::connect(format!("127.0.0.1:{port}"));
    }
}

fn exchange(grantbook: &Grantbook, site: &Site, code: &str) -> Reply {
    let form = [("client_id", site.url.as_str()), ("code", code), ("code_verifier", VERIFIER)];
    grantbook.post("/oauth/token", &form)
}

fn recorded(grantbook: &Grantbook) -> Vec<AppEvent> {
    let events = grantbook.events().into_iter();
    events.filter_map(|it| if let Event::App(event) = it.event { Some(event) } else { None }).collect()
}

#[test]
fn d4_an_app_is_installed_by_its_document_and_recorded_when_somebody_approves_it() {
    let (grantbook, site) = (Grantbook::start(), Site::start());
    let stranger = grantbook.browser().get(&format!("/oauth/authorize?{}", site.query())).expect(303);
    assert!(stranger.location().starts_with("/sign-in"), "{stranger:?}");
    assert_eq!(site.asked.load(Ordering::Acquire), 0, "a stranger sends this server nowhere");
    let ana = grantbook.person("ana", "acme");
    let page = ana.get(&format!("/oauth/authorize?{}", site.query())).expect(200);
    let heading = page.body.split("<h1>").nth(1).unwrap().split("</h1>").next().unwrap().to_owned();
    assert!(heading.contains("localhost"), "the host is in the first line: {heading}");
    assert!(page.body.contains("Agent"), "{page:?}");
    assert_eq!(recorded(&grantbook), [], "looking records nothing");
    let code = ana.approve(&site.query()).param("code").unwrap();
    let reply = exchange(&grantbook, &site, &code).expect(200);
    let facts = grantbook.introspect(&reply.text("access_token"));
    assert_eq!(facts["client_id"], site.url, "{facts}");
    assert!(matches!(&recorded(&grantbook)[..], [AppEvent::Registered(app)] if app.client_id == site.id()));
    let token = reply.text("refresh_token");
    let form = [("client_id", site.url.as_str()), ("grant_type", "refresh_token"), ("refresh_token", &token)];
    grantbook.post("/oauth/token", &form).expect(200);
    let operator = grantbook.operator("admin");
    let app = operator.get(&format!("/apps/{}", site.id())).json();
    assert_eq!(app["source"], json!({ "by": "document", "url": site.url }));
    assert_eq!(site.asked.load(Ordering::Acquire), 1, "it is kept");
}

#[test]
fn d4_a_document_that_changed_changes_the_app_and_a_wrong_one_is_refused() {
    let (grantbook, site) = (Grantbook::start(), Site::start());
    let ana = grantbook.person("ana", "acme");
    // What its document names is what it gets if it names none, and no bound.
    site.says("scope", "faqs elsewhere:read");
    let code = ana.approve(&site.query().replace("scope=widgets&", "")).param("code").unwrap();
    assert_eq!(exchange(&grantbook, &site, &code).expect(200).text("scope"), "faqs");
    ana.approve(&site.query()).param("code").unwrap();
    site.says("client_name", "New agent");
    grantbook.clock.advance(std::time::Duration::from_secs(700));
    let ana = grantbook.person("ana", "acme");
    ana.approve(&site.query()).param("code").unwrap();
    assert!(
        matches!(&recorded(&grantbook)[..], [_, AppEvent::Updated(changes)] if changes.name.as_deref() == Some("New agent")),
        "{:?}",
        recorded(&grantbook)
    );
    site.says("client_id", "https://elsewhere.example/client.json");
    grantbook.clock.advance(std::time::Duration::from_secs(700));
    let refused = grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{}", site.query()));
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("to the letter"), "{refused:?}");
}

#[test]
fn d4_an_operator_ends_what_a_document_says_for_good() {
    let (grantbook, site) = (Grantbook::start(), Site::start());
    let code = grantbook.person("ana", "acme").approve(&site.query()).param("code").unwrap();
    let reply = exchange(&grantbook, &site, &code).expect(200);
    let operator = grantbook.operator("admin");
    site.says("redirect_uris", json!(["http://127.0.0.1/callback"]));
    let of_host = operator.get("/apps?host=localhost").json();
    assert_eq!(of_host["items"][0]["client_id"], site.id().to_string(), "{of_host}");
    operator.post(&format!("/apps/{}/suspend", site.id()), &json!({ "reason": "abuse" })).expect(200);
    assert!(!grantbook.is_active(&reply.text("access_token")));
    let refused = grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{}", site.query()));
    assert_eq!(refused.status, 400);
    assert!(refused.body.contains("suspended"), "{refused:?}");
}

#[test]
fn d4_only_the_hosts_that_are_configured_may_have_apps() {
    let site = Site::start();
    for (documents, status) in
        [("off", 400), ("app.example", 400), ("any,!localhost", 400), ("localhost", 200)]
    {
        let settings = [("REGISTRATION_DOCUMENTS", documents)];
        let grantbook = Grantbook::given(Given { settings: &settings, ..Given::default() });
        let page = grantbook.person("ana", "acme").get(&format!("/oauth/authorize?{}", site.query()));
        assert_eq!(page.status, status, "{documents}: {page:?}");
        let metadata = grantbook.get("/.well-known/oauth-authorization-server").json();
        assert_eq!(metadata["client_id_metadata_document_supported"], documents != "off");
    }
}

#[test]
fn d4_a_request_is_pushed_by_an_app_that_nobody_approved_yet() {
    let (grantbook, site) = (Grantbook::start(), Site::start());
    let form = [
        ("client_id", site.url.as_str()),
        ("scope", "widgets"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let pushed = grantbook.post("/oauth/par", &form).expect(201).text("request_uri");
    let query = encode(&[("client_id", &site.url), ("request_uri", &pushed)]);
    let ana = grantbook.person("ana", "acme");
    let arrived = ana.get(&format!("/oauth/authorize?{query}")).expect(303);
    let (_, query) = arrived.location().split_once('?').unwrap();
    let code = ana.approve(query).param("code").unwrap();
    exchange(&grantbook, &site, &code).expect(200);
    let id = site.id().to_string();
    let by_id = encode(&[("client_id", id.as_str()), ("scope", "widgets")]);
    assert_eq!(ana.get(&format!("/oauth/authorize?{by_id}")).status, 400, "its URL is its only name");
}
