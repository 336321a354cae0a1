//! `grantbook serve`.

use std::error::Error;
use std::sync::Arc;

use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigFlags, Sources};
use crate::secrets;
use crate::server::{self, Parts, Server};
use crate::store::{SqliteOptions, SqliteStore};

/// Serve the OAuth endpoints, the pages and the management API.
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    #[command(flatten)]
    flags: ConfigFlags,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Box<dyn Error>> {
        let config = Config::load(Sources::from_process(self.flags)?)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(serve(config))
    }
}

async fn serve(config: Config) -> Result<(), Box<dyn Error>> {
    let (config, listener) = server::listen(config)?;
    let clock = SystemClock;
    let options = SqliteOptions { identity: secrets::new_ledger_identity(), now: clock.now() };
    let store = SqliteStore::open(&config.data_dir, options)?;
    let parts = Parts { listener, store, clock: Arc::new(clock), process_keys: Vec::new() };
    let server = Server::start(&config, parts)?;
    tracing::info!(address = %server.address(), "serving");
    tokio::signal::ctrl_c().await?;
    server.stop().await?;
    Ok(())
}
