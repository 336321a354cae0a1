//! `grantbook serve`.

use std::io::ErrorKind;
use std::time::Duration;

use grantbook_events::Role;

use super::control::ControlFile;
use super::failure::Failure;
use super::running::{KEY_NAME, Running};
use super::runtime::block_on;
use super::signals::Signals;
use super::{ledger_place, output};
use crate::config::{self, Config, ConfigFlags, Sources};
use crate::connections;
use crate::dev::{SampleApp, SampleError, SampleOptions};
use crate::secrets::{self, PlainSecret};
use crate::server::{self, ProcessKey};
use crate::telemetry;

/// The name of the sample app's key, which is the actor of its events.
const SAMPLE_KEY_NAME: &str = "sample app";

/// The pause before a full disk is tried again.
const ROOM_AGAIN: Duration = Duration::from_secs(2);

/// Where people begin who find no sample app.
const ACCOUNT_PAGE: &str = "/account/apps";

/// Serve the OAuth endpoints, the pages and the management API.
///
/// SIGINT, SIGTERM or SIGHUP lets the requests under way finish and closes the ledger; a second one ends the
/// process at once. The log goes to stderr.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: ConfigFlags,
    /// Serve a ledger that lost its end, from what is left of it. The files that have seen more are kept under
    /// another name, the log says what is missing, and an event records it
    #[arg(long)]
    accept_loss: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let dev = self.flags.dev;
        let config = Config::load(Sources::from_process(self.flags)?)?;
        telemetry::init(config.log.format, &config.log.filter)?;
        block_on(serve(config, dev, self.accept_loss))
    }
}

async fn serve(config: Config, with_sample: bool, accept_loss: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen()?;
    let (mut config, listener) = server::listen(config)?;
    config.limits.max_connections = connections::raise_limit(config.limits.max_connections);
    let sample_key = with_sample.then(secrets::mint_operator_key);
    let process_key =
        |key: &PlainSecret| ProcessKey { name: SAMPLE_KEY_NAME, role: Role::Admin, digest: key.digest() };
    let keys = sample_key.iter().map(process_key).collect();
    let operator = || config::person().unwrap_or_else(|| KEY_NAME.to_owned());
    let accepts_loss = accept_loss.then(operator);
    let opened = tokio::select! {
        opened = ledger_place::open(&config, accepts_loss) => opened?,
        // Nothing was served yet, so there is nothing to finish.
        () = signals.next() => return Ok(()),
    };
    let running = Running::start(&config, listener, keys, opened)?;
    let mut sample = None;
    let serving = async {
        match begin(&config, &running, sample_key, &mut sample).await {
            Ok(()) => {
                running.server.ended().await;
                Failure::new("the web server ended by itself; its log says why")
            }
            Err(failure) => failure,
        }
    };
    let served = tokio::select! {
        // The control file is written before anything is waited for.
        biased;
        failure = keep_control_file(&config, &running) => Err(failure),
        failure = serving => Err(failure),
        () = signals.next() => Ok(()),
    };
    tracing::info!("stopping");
    let stopped = tokio::select! {
        stopped = stop(sample, running) => stopped,
        () = signals.next() => Err(Failure::new(
            "ended at once by a second signal; the next start recovers what was recorded",
        )),
    };
    served.and(stopped)
}

/// The sample app first: its requests under way need the server.
async fn stop(sample: Option<SampleApp>, running: Running) -> Result<(), Failure> {
    if let Some(sample) = sample {
        sample.stop().await;
    }
    Ok(running.server.stop().await?)
}

/// Keeps the file by which commands on this machine find the server, for as long as this is waited for. A full disk may get room
/// again, and what needs no room is served meanwhile.
async fn keep_control_file(config: &Config, running: &Running) -> Failure {
    let mut had_room = true;
    let _control = loop {
        match ControlFile::write(&config.data_dir, running) {
            Ok(control) => break control,
            Err(_) if !had_room => {}
            Err(error) if matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) => {
                tracing::error!(
                    "{error}; commands on this machine do not find the server until there is room"
                );
                had_room = false;
            }
            Err(error) => return error.into(),
        }
        tokio::time::sleep(ROOM_AGAIN).await;
    };
    if !had_room {
        tracing::info!("there is room again; commands on this machine find the server");
    }
    std::future::pending().await
}

/// Waits for the ledger to be folded, and starts the sample app if there is a key for it.
async fn begin(
    config: &Config,
    running: &Running,
    sample_key: Option<PlainSecret>,
    sample: &mut Option<SampleApp>,
) -> Result<(), Failure> {
    running.ready().await?;
    tracing::info!(url = %running.url, issuer = config.issuer.as_str(), "serving");
    let Some(key) = sample_key else { return Ok(()) };
    let options = SampleOptions {
        grantbook: running.url.clone(),
        issuer: config.issuer.as_str().to_owned(),
        key,
        data_dir: config.data_dir.clone(),
        scopes: config.scopes.names().map(str::to_owned).collect(),
        port: config.listen.port().saturating_add(1),
    };
    match SampleApp::start(options).await {
        Ok(app) => {
            print_start(&app.url, "install the sample app", running);
            *sample = Some(app);
        }
        Err(why @ SampleError::NotMine(_)) => {
            tracing::info!("{why}");
            print_start(&format!("{}{ACCOUNT_PAGE}", running.url), "see what is installed", running);
        }
        Err(why) => return Err(why.into()),
    }
    Ok(())
}

/// Prints where to begin: last, when everything that a start logs is logged.
fn print_start(url: &str, what: &str, running: &Running) {
    telemetry::flush();
    let line = format!("Open {url} to {what}; grantbook is at {}\n", running.url);
    if let Err(Failure::Failed(why)) = output::print(&line) {
        tracing::warn!(%why, "the address could not be printed");
    }
}
