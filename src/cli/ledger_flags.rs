//! The flags that say where the ledger is, for commands that need no other setting. Must not know: what is done
//! there.

use std::path::PathBuf;

use super::failure::Failure;
use crate::config::{Config, ConfigFlags, Sources};

/// Over the options that many commands have, in their help: after their own.
pub(super) const SHARED: &str = "Shared options";

/// Where the ledger is.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = SHARED)]
pub(super) struct LedgerFlags {
    /// The configuration file [default: ./grantbook.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory the ledger is in
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// The cluster the ledger is in, if it is not in the directory
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
}

impl LedgerFlags {
    /// The configuration with these flags.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let flags = ConfigFlags {
            config: self.config.clone(),
            data: self.data.clone(),
            store: self.store.clone(),
            ..ConfigFlags::default()
        };
        Ok(Config::load(Sources::from_process(flags)?)?)
    }

    /// Whether any of the flags is set.
    pub(super) fn is_given(&self) -> bool {
        self.config.is_some() || self.data.is_some() || self.store.is_some()
    }
}
