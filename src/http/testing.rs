//! A server in this process, on a ledger in memory, with a key of each role; every route for programs; and everything that was ever answered, to look for secrets in.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{self, HeaderMap};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::test::{TestRequest, call_service, init_service, read_body};
use actix_web::{App, web};
use grantbook_events::{
    Actor, ActorKind, ClientId, InstallationId, Position, Role, SecretDigest, Timestamp, TokenId,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::endpoint::no_such_path;
use super::endpoints;
use super::input::path_config;
use crate::audit::History;
use crate::clock::{Clock, ManualClock};
use crate::config::{Config, Sources};
use crate::decisions::{ExchangeCode, GrantAccess, NewRefresh, TokenRules};
use crate::http::observe::observe;
use crate::http::service::{ProcessKey, Service};
use crate::ledger::{Ledger, Origin};
use crate::secrets::{self, CodeKey, MintedRefresh, PlainSecret, RefreshKey};
use crate::store::{MemoryStore, Store};
use crate::telemetry::Metrics;

/// One route, and the weakest role that may use it.
#[derive(Debug)]
pub(crate) struct RouteUnderTest {
    pub method: &'static str,
    pub path: &'static str,
    pub needs: Option<Role>,
}

const fn route(method: &'static str, path: &'static str, needs: Option<Role>) -> RouteUnderTest {
    RouteUnderTest { method, path, needs }
}

const ADMIN: Option<Role> = Some(Role::Admin);
const AUDITOR: Option<Role> = Some(Role::Auditor);

pub(crate) const ROUTES: &[RouteUnderTest] = &[
    route("POST", "/apps", ADMIN),
    route("GET", "/apps", AUDITOR),
    route("GET", "/apps/{client_id}", AUDITOR),
    route("PATCH", "/apps/{client_id}", ADMIN),
    route("DELETE", "/apps/{client_id}", ADMIN),
    route("POST", "/apps/{client_id}/secrets", ADMIN),
    route("DELETE", "/apps/{client_id}/secrets/{secret_id}", ADMIN),
    route("POST", "/apps/{client_id}/suspend", ADMIN),
    route("POST", "/apps/{client_id}/resume", ADMIN),
    route("GET", "/installations", AUDITOR),
    route("GET", "/installations/{installation_id}", AUDITOR),
    route("GET", "/installations/{installation_id}/events", AUDITOR),
    route("GET", "/audit/events", AUDITOR),
    route("GET", "/audit/installations", AUDITOR),
    route("GET", "/audit/installations/{installation_id}/timeline", AUDITOR),
    route("GET", "/audit/token/{token_id}", AUDITOR),
    route("GET", "/audit/token/{token_id}/timeline", AUDITOR),
    route("POST", "/audit/token", AUDITOR),
    route("POST", "/audit/token/timeline", AUDITOR),
    route("GET", "/audit/diff", AUDITOR),
    route("DELETE", "/installations/{installation_id}", ADMIN),
    route("DELETE", "/tokens/{token_id}", ADMIN),
    route("POST", "/tokens/leaked", ADMIN),
    route("GET", "/projections", AUDITOR),
    route("POST", "/projections/live/snapshots", ADMIN),
    route("POST", "/projections/{name}/rebuild", ADMIN),
    route("GET", "/projections/{name}/rebuild", AUDITOR),
    route("DELETE", "/projections/{name}/rebuild", ADMIN),
    route("POST", "/keys", ADMIN),
    route("GET", "/keys", AUDITOR),
    route("DELETE", "/keys/{key_id}", ADMIN),
    route("GET", "/healthz", None),
    route("GET", "/readyz", None),
    route("GET", "/metrics", None),
    route("GET", "/openapi.json", None),
];

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: impl AsRef<str>) -> &str {
        self.headers.get(name.as_ref()).map_or("", |value| value.to_str().unwrap())
    }

    /// The body, if the status is as expected.
    #[track_caller]
    pub fn json(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        serde_json::from_str(&self.text).unwrap()
    }

    /// The detail of a problem with this status; every problem has the same shape.
    #[track_caller]
    pub fn problem(&self, status: u16) -> String {
        let problem = self.json(status);
        assert_eq!(self.header(header::CONTENT_TYPE), "application/problem+json");
        assert_eq!(self.header(header::CACHE_CONTROL), "no-store");
        assert_eq!(problem["status"], status);
        assert!(problem["code"].is_string() && problem["title"].is_string());
        assert_eq!(problem.as_object().unwrap().len(), 4);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

pub(crate) struct TestServer {
    pub service: web::Data<Service>,
    pub clock: Arc<ManualClock>,
    pub store: Arc<MemoryStore>,
    keys: Vec<(Role, PlainSecret)>,
    answers: RefCell<String>,
    _dir: tempfile::TempDir,
}

/// An app's installation with one token.
pub(crate) struct TestToken {
    pub installation_id: InstallationId,
    pub token_id: TokenId,
    pub token: PlainSecret,
    pub code: PlainSecret,
}

impl TestServer {
    pub async fn start() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_micros(1_767_323_045_000_000)));
        let store = MemoryStore::new(Uuid::from_u128(1));
        let ledger = Ledger::open(Arc::clone(&store) as Arc<dyn Store>, Arc::clone(&clock) as Arc<dyn Clock>);
        ledger.caught_up().await.unwrap();
        let keys: Vec<_> = [Role::Admin, Role::Auditor, Role::Resource, Role::Registrar]
            .map(|role| (role, secrets::mint_operator_key()))
            .into();
        let process_keys = keys
            .iter()
            .map(|(role, key)| ProcessKey { name: "test", role: *role, digest: key.digest() })
            .collect();
        let metrics = Arc::new(Metrics::new(clock.now()));
        let dir = tempfile::tempdir().unwrap();
        let history = History::start(&ledger, dir.path().to_owned());
        let settings =
            [("GRANTBOOK_ISSUER", "https://grantbook.example"), ("GRANTBOOK_SECRETS_ROTATION_OVERLAP", "1h")];
        let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let config = Config::load(Sources { environment, ..Sources::none() }).unwrap();
        let service = web::Data::new(Service::new(
            config,
            &ledger,
            &history,
            process_keys,
            RefreshKey::random(),
            metrics,
        ));
        Self { service, clock, store, keys, answers: RefCell::default(), _dir: dir }
    }

    /// Goes on with another ledger.
    pub fn with_ledger(&mut self, ledger: Arc<Ledger>) {
        let history = Arc::clone(&self.service.history);
        self.replace(self.service.config.clone(), &ledger, &history);
    }

    /// Goes on with another history.
    pub fn with_history(&mut self, history: Arc<History>) {
        let ledger = Arc::clone(&self.service.ledger);
        self.replace(self.service.config.clone(), &ledger, &history);
    }

    fn replace(&mut self, config: Config, ledger: &Arc<Ledger>, history: &Arc<History>) {
        let (keys, metrics) = (self.service.process_keys.clone(), Arc::clone(&self.service.metrics));
        self.service =
            web::Data::new(Service::new(config, ledger, history, keys, RefreshKey::random(), metrics));
    }

    pub fn key(&self, role: Role) -> &str {
        self.keys.iter().find(|(known, _)| *known == role).unwrap().1.expose()
    }

    pub async fn send(&self, request: TestRequest) -> Answer {
        let app = App::new()
            .app_data(self.service.clone())
            .app_data(path_config())
            .configure(endpoints::serve)
            .default_service(web::to(no_such_path))
            .wrap(from_fn(observe));
        let response = call_service(&init_service(app).await, request.to_request()).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let text = String::from_utf8(read_body(response).await.to_vec()).unwrap();
        self.answers.borrow_mut().push_str(&format!("{status} {headers:?}\n{text}\n"));
        Answer { status, headers, text }
    }

    pub async fn ask(&self, role: Role, method: &str, uri: &str, body: Option<Value>) -> Answer {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let authorization = (header::AUTHORIZATION, format!("Bearer {}", self.key(role)));
        let request = TestRequest::with_uri(uri).method(method).insert_header(authorization);
        self.send(body.into_iter().fold(request, |request, body| request.set_json(body))).await
    }

    pub async fn get(&self, uri: &str) -> Answer {
        self.ask(Role::Auditor, "GET", uri, None).await
    }

    pub async fn post(&self, uri: &str, body: Value) -> Answer {
        self.ask(Role::Admin, "POST", uri, Some(body)).await
    }

    pub async fn patch(&self, uri: &str, body: Value) -> Answer {
        self.ask(Role::Admin, "PATCH", uri, Some(body)).await
    }

    pub async fn delete(&self, uri: &str) -> Answer {
        self.ask(Role::Admin, "DELETE", uri, None).await
    }

    pub async fn register(&self, name: &str) -> Value {
        self.post("/apps", new_app(name)).await.json(201)
    }

    /// A user approves an app, and the app exchanges the code.
    pub async fn install(&self, app: &Value, account: &str) -> TestToken {
        let client_id: ClientId = app["client_id"].as_str().unwrap().parse().unwrap();
        let account_id = account.parse().unwrap();
        let installation_id = InstallationId::of(&client_id, &account_id);
        let now = self.clock.now();
        let grant_id = secrets::new_grant_id(now);
        let code = CodeKey::random().code(installation_id, grant_id, "session");
        let token = secrets::mint_token(installation_id);
        let refresh = MintedRefresh::first(installation_id);
        let grant = GrantAccess {
            grant_id,
            client_id,
            account_id,
            user_id: "ada".parse().unwrap(),
            scopes: vec!["faqs".to_owned()],
            redirect_uri: "https://app.example/callback".to_owned(),
            redirect_uri_sent: false,
            resources: Vec::new(),
            code_challenge: None,
            code_digest: code.digest(),
            code_lifetime: Duration::from_secs(60),
            codes_dead_until: None,
            approved_at: now,
            not_before: now,
        };
        let exchange = ExchangeCode {
            installation_id,
            client_id,
            secret_id: None,
            codes_dead_until: None,
            code_digest: code.digest(),
            redirect_uri: None,
            verifier_challenge: None,
            presented_at: now,
            code_lifetime: Duration::from_secs(60),
            token_id: secrets::new_token_id(now),
            token_digest: token.digest(),
            refresh: NewRefresh {
                token_id: secrets::new_token_id(now),
                digest: refresh.plain.digest(),
                family_digest: refresh.family_digest,
            },
            resources: Vec::new(),
            rules: TokenRules { lifetime: None, refresh: None, max_live_per_user: 10 },
        };
        let actor = Actor { kind: ActorKind::User, id: "ada".to_owned() };
        let origin = Origin { actor, request_id: "r-1".parse().unwrap() };
        self.service.ledger.settle(&origin, &grant).await.unwrap().unwrap();
        self.service.ledger.settle(&origin, &exchange).await.unwrap().unwrap();
        TestToken { installation_id, token_id: exchange.token_id, token, code }
    }

    pub fn is_valid(&self, token: &PlainSecret) -> bool {
        self.service.ledger.live().is_valid(&token.digest(), self.clock.now())
    }

    /// Everything answered so far, headers too.
    pub fn answers(&self) -> String {
        self.answers.borrow().clone()
    }

    /// Everything in the ledger.
    pub async fn ledger_text(&self) -> String {
        let records = self.store.read_all(Position::START, 1000).await.unwrap();
        records.iter().map(|record| format!("{} {}\n", record.metadata, record.payload)).collect()
    }
}

pub(crate) fn new_app(name: &str) -> Value {
    json!({
        "name": name,
        "owner": "Widgets Inc.",
        "redirect_uris": ["https://app.example/callback"],
        "scopes": ["faqs", "brands"],
    })
}

/// Whether a text holds the digest of a secret, or the secret itself, however often it should not.
pub(crate) fn count_of(text: &str, secret: &str) -> usize {
    let digest: SecretDigest = secrets::digest(secret);
    text.matches(secret).count() + text.matches(&digest.to_string()).count()
}
