//! A clock that goes backwards, while a server runs and between two. The one family that needs a server in
//! this process: nobody else sets its clock.

use std::sync::Arc;
use std::time::Duration;

use grantbook::clock::ManualClock;
use grantbook::config::{Config, ConfigFile, ConfigFlags, Sources};
use grantbook::http::service::ProcessKey;
use grantbook::secrets;
use grantbook::server::{Parts, Server, listen};
use grantbook::store::{SqliteOptions, SqliteStore};
use grantbook_events::{Role, Timestamp};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::client::{Browser, Http, Reply};
use crate::process::Address;
use crate::wanted::{App, registration};

const START: Timestamp = Timestamp::from_micros(1_767_323_045_000_000);
const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

/// A server whose clock the test sets.
struct Timed {
    clock: Arc<ManualClock>,
    address: Address,
    server: Option<Server>,
    runtime: Runtime,
}

/// A time so many microseconds after the start, or before it.
fn at(micros: i64) -> Timestamp {
    Timestamp::from_micros(START.as_micros() + micros)
}

impl Timed {
    fn serve(data: &TempDir, now: Timestamp) -> Self {
        let settings =
            [("LISTEN", "127.0.0.1:0"), ("SIGN_IN_MODE", "dev"), ("DATA_DIR", data.path().to_str().unwrap())];
        let environment =
            settings.map(|(name, value)| (format!("GRANTBOOK_{name}"), value.to_owned())).to_vec();
        let sources = Sources { file: ConfigFile::Nowhere, environment, flags: ConfigFlags::default() };
        let (config, listener) = listen(Config::load(sources).unwrap()).unwrap();
        let clock = Arc::new(ManualClock::at(now));
        let key = secrets::mint_operator_key();
        let process_key = ProcessKey { name: "faults", role: Role::Admin, digest: key.digest() };
        let options = SqliteOptions { identity: secrets::new_ledger_identity(), now };
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let server = runtime.block_on(async {
            let store = SqliteStore::open(data.path(), options).unwrap();
            let clock = Arc::clone(&clock) as _;
            let parts = Parts { listener, store, clock, process_keys: vec![process_key] };
            let server = Server::start(&config, parts).unwrap();
            server.ledger().caught_up().await.unwrap();
            server
        });
        let http = Http::new(&format!("http://{}", server.address()));
        let address = Address { http, key: key.expose().to_owned() };
        Self { clock, address, server: Some(server), runtime }
    }

    fn set(&self, micros: i64) {
        self.clock.set(at(micros));
    }

    fn app(&self) -> App {
        App::of(&self.address.ask("POST", "/apps", Some(&registration("Timely"))).expect(201))
    }

    /// A code, approved by ana of acme.
    #[track_caller]
    fn code(&self, app: &App) -> String {
        let browser = Browser::new(&self.address.http);
        browser.sign_in("ana", "acme");
        browser.approve(&app.query()).expect(303).param("code").unwrap()
    }

    fn exchange(&self, app: &App, code: &str) -> Reply {
        self.address.http.post_raw("/oauth/token", &[], &app.form(&[("code", code)]))
    }

    /// What happened to the one installation of an app.
    fn history(&self, app: &App) -> Vec<Value> {
        let path = format!("/installations?app={}", app.client_id);
        let listed = self.address.ask("GET", &path, None).expect(200).json();
        let id = listed["items"][0]["installation_id"].as_str().unwrap().to_owned();
        let events = self.address.ask("GET", &format!("/installations/{id}/events"), None).expect(200).json();
        events["items"].as_array().unwrap().clone()
    }

    fn stop(mut self) {
        let server = self.server.take().unwrap();
        self.runtime.block_on(server.stop()).unwrap();
    }
}

fn recorded_at(event: &Value) -> Timestamp {
    event["recorded_at"].as_str().unwrap().parse().unwrap()
}

#[test]
fn recorded_time_does_not_go_back_within_a_stream() {
    let data = TempDir::new().unwrap();
    let server = Timed::serve(&data, START);
    let app = server.app();
    let token = server.exchange(&app, &server.code(&app)).expect(200).text("access_token");
    server.set(-HOUR);
    let code = server.code(&app);
    server.exchange(&app, &code).expect(200);
    server.stop();

    // Nor across a restart, where only the ledger remembers.
    let server = Timed::serve(&data, at(-24 * HOUR));
    let form = app.form(&[("token", &token)]);
    server.address.http.post_raw("/oauth/revoke", &[], &form).expect(200);
    assert!(!server.address.is_active(&token));
    server.set(SECOND);
    let code = server.code(&app);
    server.exchange(&app, &code).expect(200);

    let times: Vec<Timestamp> = server.history(&app).iter().map(recorded_at).collect();
    assert_eq!(times, [0, 0, 0, 0, 0, SECOND, SECOND].map(at));
    server.stop();
}

#[test]
fn what_ended_does_not_begin_again() {
    let data = TempDir::new().unwrap();
    let server = Timed::serve(&data, START);
    let app = server.app();
    let (expired, spent) = (server.code(&app), server.code(&app));
    let token = server.exchange(&app, &spent).expect(200).text("access_token");
    server.clock.advance(Duration::from_secs(61));
    let refused = (400, "invalid_grant".to_owned());
    assert_eq!(server.exchange(&app, &expired).error(), refused);
    // The stream has seen the time at which the code had expired.
    let late = server.code(&app);

    for now in [SECOND, -HOUR] {
        server.set(now);
        assert_eq!(server.exchange(&app, &expired).error(), refused, "an expired code at {now}");
    }
    assert!(server.address.is_active(&token));
    assert_eq!(server.exchange(&app, &spent).error(), refused, "a spent code");
    assert!(!server.address.is_active(&token), "its replay ended the token");
    let token = server.exchange(&app, &late).expect(200).text("access_token");
    server.stop();

    let server = Timed::serve(&data, at(-HOUR));
    assert_eq!(server.exchange(&app, &expired).error(), refused);
    assert_eq!(server.exchange(&app, &spent).error(), refused);
    assert!(server.address.is_active(&token));
    server.stop();
}
