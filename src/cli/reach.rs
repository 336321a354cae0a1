//! How a command gets at the ledger: through a server, always. Knows: where servers are found. Must not
//! know: what they are asked.
//!
//! In this order: the server that is named; the one that serves the ledger on this machine; else one in
//! this process, for as long as the command takes. So there is one way in, and the ledger's lock guards it.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Runtime;
use ureq::http::Method;
use url::{Host, Url};

use super::api::{Api, Query};
use super::failure::Failure;
use super::ledger_place::served_by;
use super::place::{Place, SHARED};
use super::running::Running;
use super::runtime::runtime;
use super::{control, log, output};
use crate::config::{self, Config, KEY_VARIABLE, Remote, SERVER_VARIABLE};
use crate::secrets::PlainSecret;
use crate::server::StartError;
use crate::store::{SqliteStore, StoreError};

/// How often a ledger that is in use is tried again: a server may be starting or stopping, or another
/// command may be at it.
const TRIES: u32 = 20;
/// How often a server that still folds its ledger is asked again.
const READY_TRIES: u32 = 300;
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the ledger is, and how to answer.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = SHARED)]
pub(super) struct Reach {
    #[command(flatten)]
    place: Place,
    /// A server elsewhere, such as http://127.0.0.1:8700; its operator key is read from GRANTBOOK_KEY
    #[arg(long, global = true, value_name = "URL", conflicts_with_all = ["config", "data"])]
    server: Option<String>,
    /// Print one JSON document, as the management API answers, and nothing else
    #[arg(long, global = true)]
    json: bool,
}

/// What a command needs to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// Nothing: an empty directory becomes a ledger.
    Nothing,
    /// A ledger.
    Ledger,
    /// A ledger, and only to read it: it may be where nothing can be written.
    Reading,
}

/// What of the connection failed.
enum Refused {
    /// Another process has the ledger.
    InUse(String),
    /// Nothing can be written where the ledger is.
    CannotWrite(Failure),
    Other(Failure),
}

impl Reach {
    /// Asks a server, and prints what it said.
    pub(super) fn ask(
        &self,
        needs: Needs,
        ask: impl FnOnce(&Api) -> Result<Value, Failure>,
        show: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        // Printed before the server is stopped: a secret is shown once, whatever goes wrong afterwards.
        self.with_api(needs, |api| {
            let answer = ask(api)?;
            if self.json { output::print(&format!("{answer}\n")) } else { output::print(&show(&answer)) }
        })
    }

    /// Prints what a server answers as it comes, however much that is; then it is told how many lines there were.
    pub(super) fn pass_on(
        &self,
        needs: Needs,
        path: &str,
        query: Query<'_>,
        end: impl FnOnce(&Api, u64),
    ) -> Result<(), Failure> {
        self.with_api(needs, |api| {
            let lines = api.pass_on(path, query)?;
            end(api, lines);
            Ok(())
        })
    }

    /// Where the ledger is, unless a server was named.
    pub(super) fn place(&self) -> Option<&Place> {
        self.server.is_none().then_some(&self.place)
    }

    /// Whether the answer is for a program.
    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    fn with_api(&self, needs: Needs, act: impl FnOnce(&Api) -> Result<(), Failure>) -> Result<(), Failure> {
        let remote = Remote::from_process()?;
        match self.server.clone().or(remote.server.filter(|_| !self.place.is_given())) {
            Some(server) => act(&named(&server, remote.key)?),
            None => self.with_ledger(needs, act),
        }
    }

    fn with_ledger(
        &self,
        needs: Needs,
        act: impl FnOnce(&Api) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let config = self.place.load()?;
        // A server that runs already logs what it is asked itself.
        log::begin(&config, log::QUESTIONS)?;
        let (mut tries, mut to_read) = (0, false);
        loop {
            if let Some(api) = serving(&config)? {
                return act(&api);
            }
            if needs != Needs::Nothing && config.store.is_none() {
                SqliteStore::open_read_only(&config.data_dir)?;
            }
            match Here::start(&config, to_read) {
                Ok(here) => {
                    let outcome = act(&here.api);
                    return outcome.and(here.stop());
                }
                Err(Refused::CannotWrite(_)) if needs == Needs::Reading && !to_read => {
                    to_read = true;
                    continue;
                }
                Err(Refused::InUse(_)) if tries < TRIES => thread::sleep(PAUSE),
                Err(Refused::InUse(why)) => return Err(unreachable_server(&config, &why)),
                Err(Refused::CannotWrite(failure) | Refused::Other(failure)) => return Err(failure),
            }
            tries += 1;
        }
    }
}

fn unreachable_server(config: &Config, why: &str) -> Failure {
    let file = control::path(&config.data_dir);
    Failure::Failed(format!(
        "{why}; {} does not lead to it: to ask it, use --server and {KEY_VARIABLE}",
        file.display()
    ))
}

/// The server that somebody named.
fn named(server: &str, key: Option<PlainSecret>) -> Result<Api, Failure> {
    let right = "it takes an http URL without a path, such as http://127.0.0.1:8700";
    let wrong = |what: &str| {
        Failure::Usage(format!("--server (or {SERVER_VARIABLE}) is {server:?}: {what}; {right}"))
    };
    let url = Url::parse(server).map_err(|error| wrong(&error.to_string()))?;
    match url.scheme() {
        "http" => {}
        "https" => {
            let instead = "run this beside the server, or through a tunnel to it";
            return Err(wrong(&format!("this grantbook asks over plain http only, so {instead}")));
        }
        _ => return Err(wrong("that is no web address")),
    }
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("it says more than where the server is"));
    }
    let key = key.ok_or_else(|| {
        Failure::Usage(format!("a server elsewhere is asked with an operator key: set {KEY_VARIABLE}"))
    })?;
    if !is_loopback(&url) {
        output::complain("warning: the operator key crosses the network unencrypted; a tunnel would hide it");
    }
    Ok(Api::new(url, key))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// The server that serves the ledger on this machine, or none if really none does: one that has the ledger,
/// and cannot be asked, is a failure.
pub(super) fn serving_if_served(config: &Config) -> Result<Option<Api>, Failure> {
    let mut tries = 0;
    loop {
        if let Some(api) = serving(config)? {
            return Ok(Some(api));
        }
        match served_by(config)? {
            None => return Ok(None),
            // It may be starting, or stopping.
            Some(_) if tries < TRIES => thread::sleep(PAUSE),
            Some(why) => {
                let file = control::path(&config.data_dir);
                return Err(Failure::Failed(format!(
                    "{why}; {} does not lead to it, so what it serves cannot be compared",
                    file.display()
                )));
            }
        }
        tries += 1;
    }
}

/// The server that serves the ledger on this machine, if one does. Whatever else may be at the address
/// that a crashed server left behind does not know its key.
pub(super) fn serving(config: &Config) -> Result<Option<Api>, Failure> {
    let Some(control) = control::read(&config.data_dir)? else { return Ok(None) };
    let Ok(url) = Url::parse(&control.url) else { return Ok(None) };
    let api = Api::new(url, control.key).by(config::person());
    for _ in 0..READY_TRIES {
        match api.ask(Method::GET, "/keys", &[("limit", "1")], None) {
            Ok(answer) if answer.status == 200 && answer.body["items"].is_array() => return Ok(Some(api)),
            Ok(answer) if answer.status == 503 && answer.body["code"] == "not_ready" => thread::sleep(PAUSE),
            Ok(_) | Err(_) => return Ok(None),
        }
    }
    let url = api.url();
    Err(Failure::Failed(format!("the server at {url} has not read its ledger yet: try again later")))
}

/// A server in this process.
struct Here {
    runtime: Runtime,
    server: Running,
    api: Api,
}

impl Here {
    fn start(config: &Config, to_read: bool) -> Result<Self, Refused> {
        let failed = |error: std::io::Error| Refused::Other(Failure::of(error));
        let runtime = runtime().map_err(failed)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
        let server = runtime
            .block_on(async {
                if to_read {
                    Running::start_to_read(config, listener).await
                } else {
                    Running::start(config, listener, Vec::new(), false).await
                }
            })
            .map_err(|error| match error {
                StartError::Store(StoreError::InUse(why)) => Refused::InUse(why),
                StartError::Store(error @ StoreError::CannotWrite(_)) => Refused::CannotWrite(error.into()),
                error => Refused::Other(error.into()),
            })?;
        if let Err(failure) = runtime.block_on(server.ready()) {
            // The first failure is the one to report.
            let _ = runtime.block_on(server.stop());
            return Err(Refused::Other(failure));
        }
        let url = Url::parse(&server.url).map_err(|error| Refused::Other(Failure::of(error)))?;
        let api = Api::new(url, PlainSecret::presented(server.key.expose())).by(config::person());
        Ok(Self { runtime, server, api })
    }

    fn stop(self) -> Result<(), Failure> {
        drop(self.api);
        self.runtime.block_on(self.server.stop())
    }
}
