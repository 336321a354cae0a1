//! `grantbook serve`.

use std::time::Duration;

use grantbook_events::Role;

use super::control::{ControlFile, WriteError};
use super::failure::{EXIT_CODES, Failure};
use super::running::Running;
use super::runtime::block_on;
use super::signals::Signals;
use super::{log, output};
use crate::config::{Config, ConfigFlags, Sources};
use crate::connections;
use crate::dev::{SampleApp, SampleError, SampleOptions};
use crate::secrets::{self, PlainSecret};
use crate::server::{self, ProcessKey};
use crate::telemetry;

/// The name of the sample app's key, which is the actor of its events.
const SAMPLE_KEY_NAME: &str = "sample app";

/// How often it is looked whether a full disk has room again.
const ROOM_AGAIN: Duration = Duration::from_secs(2);

/// Where people begin who find no sample app.
const ACCOUNT_PAGE: &str = "/account/apps";

/// Serve the OAuth endpoints, the pages and the management API.
///
/// SIGINT, SIGTERM or SIGHUP lets the requests under way finish and closes the ledger; a second one ends the
/// process at once. The log goes to stderr.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: ConfigFlags,
    /// Serve a ledger that lost its end, from what is left of it. The files that have seen more are kept under
    /// another name, and the log says what is missing
    #[arg(long)]
    accept_loss: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let dev = self.flags.dev;
        let config = Config::load(Sources::from_process(self.flags)?)?;
        log::begin(&config, &config.log.filter)?;
        block_on(serve(config, dev, self.accept_loss))
    }
}

async fn serve(config: Config, with_sample: bool, accept_loss: bool) -> Result<(), Failure> {
    let mut signals = Signals::listen().map_err(Failure::of)?;
    let (mut config, listener) = server::listen(config)?;
    config.limits.max_connections = connections::raise_limit(config.limits.max_connections);
    let sample_key = with_sample.then(secrets::mint_operator_key);
    let process_key =
        |key: &PlainSecret| ProcessKey { name: SAMPLE_KEY_NAME, role: Role::Admin, digest: key.digest() };
    let keys = sample_key.iter().map(process_key).collect();
    let running = tokio::select! {
        running = Running::start(&config, listener, keys, accept_loss) => running?,
        // Nothing was served yet, so there is nothing to finish.
        () = signals.next() => return Ok(()),
    };
    let mut sample = None;
    let served = tokio::select! {
        failed = until_it_fails(&config, &running, sample_key, &mut sample) => Err(failed),
        () = signals.next() => Ok(()),
    };
    tracing::info!("stopping");
    let stopped = tokio::select! {
        stopped = stop(sample, running) => stopped,
        () = signals.next() => Err(Failure::Failed(
            "ended at once by a second signal; the next start recovers what was recorded".to_owned(),
        )),
    };
    served.and(stopped)
}

/// The sample app first: its requests under way need the server.
async fn stop(sample: Option<SampleApp>, running: Running) -> Result<(), Failure> {
    if let Some(sample) = sample {
        sample.stop().await;
    }
    running.stop().await
}

/// Serves for as long as this is waited for; comes back only to say why it cannot.
async fn until_it_fails(
    config: &Config,
    running: &Running,
    sample_key: Option<PlainSecret>,
    sample: &mut Option<SampleApp>,
) -> Failure {
    // Removed when this is over: before the server stops taking requests.
    let control = match ControlFile::write(&config.data_dir, running) {
        Ok(control) => Some(control),
        Err(WriteError::NoRoom(why)) => {
            tracing::error!("{why}; commands on this machine do not find the server until there is room");
            None
        }
        Err(WriteError::Other(why)) => return Failure::Failed(why),
    };
    if let Err(failure) = running.ready().await {
        return failure;
    }
    tracing::info!(url = %running.url, issuer = config.issuer.as_str(), "serving");
    if let Some(key) = sample_key {
        match begin_here(config, running, key).await {
            Ok(app) => {
                tell(&app.url, "install the sample app", running);
                *sample = Some(app);
            }
            Err(why @ SampleError::NotMine(_)) => {
                tracing::info!("{why}");
                tell(&format!("{}{ACCOUNT_PAGE}", running.url), "see what is installed", running);
            }
            Err(why) => return Failure::of(why),
        }
    }
    let found = async {
        let _control = match control {
            Some(control) => control,
            None => written_when_there_is_room(config, running).await,
        };
        std::future::pending::<Failure>().await
    };
    tokio::select! {
        failure = running.ended() => failure,
        failure = found => failure,
    }
}

/// What needs no room is served meanwhile.
async fn written_when_there_is_room(config: &Config, running: &Running) -> ControlFile {
    loop {
        tokio::time::sleep(ROOM_AGAIN).await;
        if let Ok(control) = ControlFile::write(&config.data_dir, running) {
            tracing::info!("there is room again; commands on this machine find the server");
            return control;
        }
    }
}

/// Starts the sample app, for people to begin at.
async fn begin_here(config: &Config, running: &Running, key: PlainSecret) -> Result<SampleApp, SampleError> {
    SampleApp::start(SampleOptions {
        grantbook: running.url.clone(),
        issuer: config.issuer.as_str().to_owned(),
        key,
        data_dir: config.data_dir.clone(),
        scopes: config.scopes.names().map(str::to_owned).collect(),
        port: config.listen.port().saturating_add(1),
    })
    .await
}

/// Prints where to begin: last, when everything that a start logs is logged.
fn tell(url: &str, what: &str, running: &Running) {
    let said = format!("Open {url} to {what}; grantbook is at {}\n", running.url);
    // It comes last, after the log.
    telemetry::flush();
    if let Err(Failure::Failed(why)) = output::print(&said) {
        tracing::warn!(%why, "the address could not be printed");
    }
}
