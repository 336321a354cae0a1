//! How a command gets at the ledger: through a server, always. Knows: where servers are found. Must not
//! know: what they are asked.
//!
//! In this order: the server that is named; the one that serves the ledger on this machine; else one in
//! this process, for as long as the command takes. So there is one way in, and the ledger's lock guards it.

use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::Duration;

use clap::Subcommand;
use serde_json::Value;
use tokio::runtime::Runtime;
use ureq::http::Method;
use url::Url;

use super::api::{Api, Request};
use super::failure::Failure;
use super::ledger_place::{self, LedgerFlags, SHARED, served_by};
use super::running::Running;
use super::runtime::runtime;
use super::{control, hints, output};
use crate::config::{self, Config, ConfigError, KEY_VARIABLE, Remote, SERVER_VARIABLE};
use crate::secrets::PlainSecret;
use crate::store::{SqliteStore, StoreError};
use crate::telemetry;

/// What a command logs that serves the ledger itself while it runs: every question about history is logged, whichever
/// way it is asked. The state of the history file is left out.
const QUESTIONS: &str = "off,grantbook::audit=info,grantbook::audit::history=off";

/// How often a ledger that is in use is tried again.
const TRIES: u32 = 20;
/// How often a server that still folds its ledger is asked again.
const READY_TRIES: u32 = 300;
/// The pause before the next try.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the ledger is, and how to answer.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = SHARED)]
pub(super) struct ServerFlags {
    #[command(flatten)]
    pub(super) place: LedgerFlags,
    /// A server elsewhere, such as http://127.0.0.1:8700; its operator key is read from GRANTBOOK_KEY
    #[arg(long = "server", global = true, value_name = "URL", conflicts_with_all = ["config", "data"])]
    pub(super) url: Option<String>,
    /// Print one JSON document, as the management API answers, and nothing else
    #[arg(long, global = true)]
    pub(super) json: bool,
}

/// Commands of one kind that ask a server.
#[derive(Debug, clap::Args)]
pub(super) struct WithServer<C: Subcommand> {
    #[command(subcommand)]
    pub(super) command: C,
    #[command(flatten)]
    pub(super) server: ServerFlags,
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

impl Needs {
    /// What a question or a change needs.
    fn of(request: &Request) -> Self {
        // A question that has a secret in it is asked by POST.
        let is_question = request.method == Method::GET || request.path.starts_with("/audit/");
        if is_question { Self::Reading } else { Self::Ledger }
    }
}

impl ServerFlags {
    /// Asks a server, and prints its reply.
    pub(super) fn ask(&self, request: &Request, show: impl FnOnce(&Value) -> String) -> Result<(), Failure> {
        let ask = |api: &Api| {
            let answer = api.ask(request)?;
            hints::if_empty(api, request, &answer);
            Ok(answer)
        };
        self.act(Needs::of(request), ask, show)
    }

    /// As [`Self::ask`], for what takes more than one request.
    pub(super) fn act(
        &self,
        needs: Needs,
        ask: impl FnOnce(&Api) -> Result<Value, Failure>,
        show: impl FnOnce(&Value) -> String,
    ) -> Result<(), Failure> {
        // Printed before the server is stopped: a secret is shown once, whatever goes wrong afterwards.
        self.with_api(needs, |api| output::answer(&ask(api)?, self.json, show))
    }

    /// Prints a reply of any length as it arrives. If it has no more lines than `head`, nothing was found.
    pub(super) fn pass_on(&self, request: &Request, head: u64) -> Result<(), Failure> {
        self.with_api(Needs::of(request), |api| {
            if api.pass_on(request)? <= head {
                hints::nothing_found(api, request);
            }
            Ok(())
        })
    }

    fn with_api(&self, needs: Needs, act: impl FnOnce(&Api) -> Result<(), Failure>) -> Result<(), Failure> {
        let remote = Remote::from_process().map_err(ConfigError::from)?;
        if let Some(server) = self.url.clone().or(remote.server.filter(|_| !self.place.is_any_set())) {
            return act(&named(&server, remote.key)?);
        }
        let config = self.place.load()?;
        // A server that runs already logs what it is asked itself.
        telemetry::init(config.log.format, QUESTIONS)?;
        let instead = format!(": to ask it, use --server and {KEY_VARIABLE}");
        let (api, own) = unless_in_use(&config, &instead, || connect(&config, needs))?;
        let outcome = act(&api);
        drop(api);
        outcome.and(own.map_or(Ok(()), |(runtime, server)| Ok(runtime.block_on(server.server.stop())?)))
    }
}

/// Tries again for a while if another process has the ledger: a server may be starting or stopping, or another command
/// may be at it. A failure says what to do `instead`.
fn unless_in_use<T>(
    config: &Config,
    instead: &str,
    mut attempt: impl FnMut() -> Result<T, Failure>,
) -> Result<T, Failure> {
    let mut tries = 0;
    loop {
        let failure = match attempt() {
            Ok(done) => return Ok(done),
            Err(failure) => failure,
        };
        let Some(StoreError::InUse(why)) = failure.cause() else { return Err(failure) };
        if tries == TRIES {
            let file = control::path(&config.data_dir);
            let why = format!("{why}; {} does not lead to it{instead}", file.display());
            return Err(Failure::new(why));
        }
        tries += 1;
        thread::sleep(PAUSE);
    }
}

/// The server that `--server` or its variable names.
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
    if !config::is_loopback(&url) {
        output::complain("warning: the operator key crosses the network unencrypted; a tunnel would hide it");
    }
    Ok(Api::new(url, key, None))
}

/// The server that serves the ledger on this machine, if one does. A server that has the ledger and cannot be asked is
/// a failure.
pub(super) fn serving_if_served(config: &Config) -> Result<Option<Api>, Failure> {
    unless_in_use(config, ", so what it serves cannot be compared", || match serving(config)? {
        Some(api) => Ok(Some(api)),
        None => served_by(config)?.map_or(Ok(None), |why| Err(StoreError::InUse(why).into())),
    })
}

/// The server that serves the ledger on this machine, if one does. Another program at the address of a crashed
/// server does not know its key.
pub(super) fn serving(config: &Config) -> Result<Option<Api>, Failure> {
    let Some(control) = control::read(&config.data_dir)? else { return Ok(None) };
    let Ok(url) = Url::parse(&control.url) else { return Ok(None) };
    let api = Api::new(url, PlainSecret::presented(control.key), config::person());
    let keys = Request::get("/keys").query("limit", Some(1));
    for _ in 0..READY_TRIES {
        match api.reply(&keys) {
            Ok((200, body)) if body["items"].is_array() => return Ok(Some(api)),
            Ok((503, body)) if body["code"] == "not_ready" => thread::sleep(PAUSE),
            Ok(_) | Err(_) => return Ok(None),
        }
    }
    let url = api.url();
    Err(Failure::new(format!("the server at {url} has not read its ledger yet: try again later")))
}

/// A server of this process, and what it runs on.
type Own = (Runtime, Running);

/// The server that serves the ledger, or one in this process.
fn connect(config: &Config, needs: Needs) -> Result<(Api, Option<Own>), Failure> {
    if let Some(api) = serving(config)? {
        return Ok((api, None));
    }
    if needs != Needs::Nothing && config.store.is_none() {
        SqliteStore::open_read_only(&config.data_dir)?;
    }
    let started = start(config, false);
    let (runtime, server) = match started.as_ref().err().and_then(Failure::cause) {
        Some(StoreError::CannotWrite(_)) if needs == Needs::Reading => start(config, true)?,
        _ => started?,
    };
    let key = PlainSecret::presented(server.key.expose());
    let api = Api::new(Url::parse(&server.url)?, key, config::person());
    Ok((api, Some((runtime, server))))
}

fn start(config: &Config, to_read: bool) -> Result<Own, Failure> {
    let runtime = runtime()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let server = runtime.block_on(async {
        let opened = match to_read {
            true => ledger_place::open_where_nothing_is_written(config).await?,
            false => ledger_place::open(config, None).await?,
        };
        let server = Running::start(config, listener, Vec::new(), opened)?;
        match server.ready().await {
            Ok(()) => Ok(server),
            // The first failure is the one to report.
            Err(failure) => {
                let _ = server.server.stop().await;
                Err(failure)
            }
        }
    });
    Ok((runtime, server?))
}
