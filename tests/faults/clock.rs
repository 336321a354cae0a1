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

impl Timed {
    /// What was installed on an account as of a time, and how many events are listed up to then.
    fn as_of(&self, account: &str, time: Timestamp) -> (bool, Value, usize) {
        let query = format!("account={account}&as_of={time}");
        let answer =
            self.address.ask("GET", &format!("/audit/installations?{query}"), None).expect(200).json();
        let listed = format!("/audit/events?account={account}&until={time}&limit=200");
        let listed = self.address.ask("GET", &listed, None).expect(200).json();
        let installed = answer["items"][0]["installed"].as_bool().unwrap_or(false);
        (installed, answer["as_of"].clone(), listed["items"].as_array().unwrap().len())
    }

    /// Installs an app on an account.
    fn install(&self, app: &App, account: &str) {
        let browser = Browser::new(&self.address.http);
        browser.sign_in("ana", account);
        let code = browser.approve(&app.query()).expect(303).param("code").unwrap();
        self.exchange(app, &code).expect(200);
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
    // What a process records whose clock is not there yet can be told from what was recorded before it began.
    assert_eq!(times, [0, 0, 0, 0, 1, SECOND, SECOND].map(at));
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

/// A clock that was an hour ahead and is put right: recorded time waits for it, over the whole ledger.
#[test]
fn what_is_recorded_under_a_clock_that_was_ahead_is_told_in_order() {
    let data = TempDir::new().unwrap();
    let server = Timed::serve(&data, at(HOUR));
    let app = server.app();
    server.install(&app, "before");
    server.set(0);
    server.install(&app, "one");
    server.install(&app, "two");
    let all = server.address.ask("GET", "/audit/events?order=oldest&limit=200", None).expect(200).json();
    let times: Vec<Timestamp> = all["items"].as_array().unwrap().iter().map(recorded_at).collect();
    assert!(times.is_sorted() && times.len() == 7, "{times:?}");
    assert_eq!(times[6], at(HOUR), "it waits there");
    // What is asked about the past agrees with what is listed, also of a time that the clock has not got to.
    for (time, installed) in [(0, false), (HOUR - 1, false), (HOUR, true)] {
        for account in ["before", "one", "two"] {
            let (is_installed, cut, listed) = server.as_of(account, at(time));
            assert_eq!(
                (is_installed, listed),
                (installed, if installed { 2 } else { 0 }),
                "{account} {time}"
            );
            assert_eq!(cut["out_of_order"], false);
        }
    }
    server.set(2 * HOUR);
    server.install(&app, "later");
    assert!(!server.as_of("later", at(2 * HOUR - 1)).0);
    assert!(server.as_of("later", at(2 * HOUR)).0);
    server.stop();
}

/// Whether the clock was right, ahead or behind, a code lives for a minute and never again.
#[test]
fn a_code_does_not_live_longer_because_the_clock_was_set_back() {
    let data = TempDir::new().unwrap();
    let server = Timed::serve(&data, at(HOUR));
    let app = server.app();
    let refused = (400, "invalid_grant".to_owned());
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let ahead = server.code(&app);
    server.set(0);
    // Recorded time waits an hour ahead; a code that is granted then lives by the clock.
    let (good, late) = (server.code(&app), server.code(&app));
    server.clock.advance(Duration::from_secs(59));
    server.exchange(&app, &good).expect(200);
    server.clock.advance(Duration::from_secs(2));
    assert_eq!(server.exchange(&app, &late).error(), refused, "granted after");
    assert_eq!(server.exchange(&app, &ahead).error(), refused, "granted before");
    for _ in 0..13 {
        server.clock.advance(minutes(5));
        assert_eq!(server.exchange(&app, &ahead).error(), refused);
        assert_eq!(server.exchange(&app, &late).error(), refused);
    }
    server.stop();

    // Nor if the process ended in between, so that only the clock and the ledger can tell.
    let data = TempDir::new().unwrap();
    let server = Timed::serve(&data, at(HOUR));
    let app = server.app();
    let ahead = server.code(&app);
    server.stop();
    let server = Timed::serve(&data, at(0));
    assert_eq!(server.exchange(&app, &ahead).error(), refused);
    let good = server.code(&app);
    server.exchange(&app, &good).expect(200);
    for _ in 0..70 {
        server.clock.advance(minutes(1));
        assert_eq!(server.exchange(&app, &ahead).error(), refused);
    }
    server.stop();
}
