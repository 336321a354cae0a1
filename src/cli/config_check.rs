//! `grantbook config check`.

use clap::Subcommand;

use super::failure::Failure;
use super::output;
use crate::config::{Config, ConfigFlags, Sources};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say everything that is wrong with the configuration, or print it with the source of every value.
    Check {
        /// Print one JSON document and nothing else: whether it is right, and all mistakes or all values
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        flags: Box<ConfigFlags>,
    },
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Check { json, flags } = self;
        let config = Sources::from_process(*flags).and_then(Config::load);
        match config {
            Ok(config) if json => output::print(&format!("{}\n", config.document())),
            Ok(config) => output::print(&config.render()),
            Err(error) => {
                if json {
                    output::print(&format!("{}\n", error.document()))?;
                }
                Err(error.into())
            }
        }
    }
}
