//! A server in this process, on a port of its own, with a clock that the story sets.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use grantbook::clock::{Clock as _, ManualClock};
use grantbook::config::{Config, ConfigFile, ConfigFlags, Sources};
use grantbook::decisions::{Command, RegisterApp, Registration};
use grantbook::http::service::ProcessKey;
use grantbook::ledger::{self, Ledger, Origin};
use grantbook::secrets;
use grantbook::server::{Parts, Server, listen};
use grantbook::store::{MemoryStore, Store};
use grantbook_events::{Actor, ActorKind, NewSecret, Position, Recorded, Role, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::{Browser, Http, Pairs, Reply, encode};

/// When every story begins.
pub const START: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
/// Where the apps of these stories live.
pub const CALLBACK: &str = "https://app.example/callback";

/// An app as its developer knows it.
#[derive(Debug, Clone)]
pub struct App {
    pub client_id: String,
    /// None for a public client.
    pub secret: Option<String>,
}

/// What differs from the default.
#[derive(Default)]
pub struct Given<'a> {
    /// Settings, named as the environment names them, without the prefix.
    pub settings: Pairs<'a>,
    /// Where the ledger rests: in memory unless said otherwise.
    pub store: Option<Arc<dyn Store>>,
    /// When it starts: at [`START`] unless said otherwise.
    pub at: Option<Timestamp>,
}

/// A running server.
pub struct Grantbook {
    pub http: Http,
    pub clock: Arc<ManualClock>,
    pub address: SocketAddr,
    /// A key of the role `admin`.
    pub admin_key: String,
    store: Arc<dyn Store>,
    server: Option<Server>,
    // Behind the server, so that it goes after it.
    runtime: Runtime,
    _data: TempDir,
}

impl Deref for Grantbook {
    type Target = Http;

    fn deref(&self) -> &Http {
        &self.http
    }
}

impl Grantbook {
    pub fn start() -> Self {
        Self::given(Given::default())
    }

    pub fn with(settings: Pairs<'_>) -> Self {
        Self::given(Given { settings, ..Given::default() })
    }

    pub fn given(given: Given<'_>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let defaults = [
            ("LISTEN", "127.0.0.1:0"),
            ("SIGN_IN_MODE", "dev"),
            ("DATA_DIR", data.path().to_str().unwrap()),
            ("LIMITS_SHUTDOWN_TIMEOUT", "1s"),
        ];
        let settings = defaults.iter().chain(given.settings);
        let environment =
            settings.map(|(name, value)| (format!("GRANTBOOK_{name}"), (*value).to_owned())).collect();
        let sources = Sources { file: ConfigFile::Nowhere, environment, flags: ConfigFlags::default() };
        let (config, listener) = listen(Config::load(sources).unwrap()).unwrap();
        let clock = Arc::new(ManualClock::at(given.at.unwrap_or(START)));
        let admin_key = secrets::mint_operator_key();
        let key = ProcessKey { name: "stories", role: Role::Admin, digest: admin_key.digest() };
        let store = given.store.unwrap_or_else(|| MemoryStore::new(secrets::new_ledger_identity()));
        let parts = Parts {
            listener,
            store: Arc::clone(&store),
            clock: Arc::clone(&clock) as _,
            process_keys: vec![key],
        };
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let server = {
            let _within = runtime.enter();
            Server::start(&config, parts).unwrap()
        };
        let address = server.address();
        let http = Http::new(&format!("http://{address}"));
        let server = Some(server);
        let admin_key = admin_key.expose().to_owned();
        Self { http, clock, address, admin_key, store, server, runtime, _data: data }.when_folded()
    }

    /// Waits until the ledger is folded, or is known never to be.
    fn when_folded(self) -> Self {
        let _ = self.runtime.block_on(self.ledger().caught_up());
        self
    }

    pub fn ledger(&self) -> &Arc<Ledger> {
        self.server.as_ref().unwrap().ledger()
    }

    /// All that was ever recorded.
    pub fn events(&self) -> Vec<Recorded> {
        let records = self.block_on(self.store.read_all(Position::new(0), usize::MAX)).unwrap();
        records.iter().map(|record| ledger::read(record).unwrap()).collect()
    }

    /// What the configuration derives from the address.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Settles a command behind the server's back: what operators have done before the story begins.
    #[track_caller]
    pub fn settle<C: Command>(&self, command: &C) -> C::Answer {
        let actor = Actor { kind: ActorKind::Operator, id: "stories".to_owned() };
        let origin = Origin { actor, request_id: secrets::new_request_id() };
        self.runtime.block_on(self.ledger().settle(&origin, command)).unwrap().unwrap()
    }

    /// Runs a future to its end.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// An app that may ask for every scope, with one redirect URI.
    pub fn app(&self) -> App {
        self.app_with(|_| {})
    }

    /// An app that differs from the default.
    pub fn app_with(&self, change: impl FnOnce(&mut Registration)) -> App {
        self.register(true, change)
    }

    /// An app without a secret.
    pub fn public_app(&self) -> App {
        self.register(false, |_| {})
    }

    fn register(&self, confidential: bool, change: impl FnOnce(&mut Registration)) -> App {
        let client_id = secrets::new_client_id();
        let secret = confidential.then(secrets::mint_client_secret);
        let mut registration = Registration {
            name: "Sample App".to_owned(),
            owner: "Sample Owner".to_owned(),
            redirect_uris: vec![CALLBACK.to_owned()],
            scopes: ["widgets", "faqs", "contacts", "conversations"].map(str::to_owned).to_vec(),
            ..Registration::default()
        };
        change(&mut registration);
        let new_secret = secret.as_ref().map(|secret| NewSecret {
            secret_id: secrets::new_secret_id(self.clock.now()),
            digest: secret.digest(),
        });
        let catalogue = Default::default();
        self.settle(&RegisterApp::new(client_id, new_secret, &registration, &catalogue).unwrap());
        let secret = secret.map(|secret| secret.expose().to_owned());
        App { client_id: client_id.to_string(), secret }
    }

    /// A browser that nobody is signed in with.
    pub fn browser(&self) -> Browser {
        Browser::new(&self.http)
    }

    /// A browser with a person.
    #[track_caller]
    pub fn person(&self, user: &str, account: &str) -> Browser {
        let browser = self.browser();
        browser.sign_in(user, account);
        browser
    }

    /// A code for the app, approved by ana of acme.
    #[track_caller]
    pub fn code(&self, app: &App) -> String {
        self.code_of(&self.person("ana", "acme"), app)
    }

    /// A code for the app, approved by the person of a browser.
    #[track_caller]
    pub fn code_of(&self, browser: &Browser, app: &App) -> String {
        let reply = browser.approve(&app.query(&[])).expect(303);
        reply.param("code").unwrap_or_else(|| panic!("no code: {reply:?}"))
    }

    /// A token for the app, approved by ana of acme.
    #[track_caller]
    pub fn token(&self, app: &App) -> String {
        self.exchange(app, &self.code(app)).expect(200).text("access_token")
    }

    pub fn exchange(&self, app: &App, code: &str) -> Reply {
        self.exchange_with(app, code, &[])
    }

    /// Exchanges a code; the client authenticates in the body.
    #[track_caller]
    pub fn exchange_with(&self, app: &App, code: &str, added: Pairs<'_>) -> Reply {
        self.http.post("/oauth/token", &[&app.credentials()[..], &[("code", code)], added].concat())
    }

    /// What a resource server is told of a token.
    #[track_caller]
    pub fn introspect(&self, token: &str) -> Value {
        let bearer = format!("Bearer {}", self.admin_key);
        let headers = [("authorization", bearer.as_str())];
        self.http.post_with("/oauth/introspect", &headers, &[("token", token)]).expect(200).json()
    }

    #[track_caller]
    pub fn is_active(&self, token: &str) -> bool {
        self.introspect(token)["active"].as_bool().unwrap()
    }
}

impl Drop for Grantbook {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            let stopped = self.runtime.block_on(server.stop());
            assert!(stopped.is_ok() || std::thread::panicking(), "{stopped:?}");
        }
    }
}

impl App {
    /// An authorization request for widgets.
    pub fn query(&self, added: Pairs<'_>) -> String {
        encode(&[&[("client_id", self.client_id.as_str()), ("scope", "widgets")], added].concat())
    }

    /// Its credentials as a form has them.
    pub fn credentials(&self) -> Vec<(&str, &str)> {
        let secret = self.secret.iter().map(|secret| ("client_secret", secret.as_str()));
        std::iter::once(("client_id", self.client_id.as_str())).chain(secret).collect()
    }

    /// Its credentials as a header.
    pub fn basic(&self) -> String {
        basic(&self.client_id, self.secret.as_deref().unwrap_or_default())
    }
}

/// The same text but for its last character.
pub fn touched(text: &str) -> String {
    let mut touched = text.to_owned();
    let last = if touched.pop() == Some('A') { 'B' } else { 'A' };
    touched.push(last);
    touched
}

/// A Basic header of credentials that are form-encoded already.
pub fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}
