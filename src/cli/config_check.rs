//! `grantbook config check`.

use clap::Subcommand;

use super::failure::{EXIT_CODES, Failure};
use super::output;
use crate::config::{Config, ConfigFlags, Sources};

/// Look at the configuration.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct ConfigCommand {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Say what is wrong with the configuration, or print it with the source of every value.
    Check {
        #[command(flatten)]
        flags: Box<ConfigFlags>,
    },
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Command::Check { flags } = self.command;
        let config = Config::load(Sources::from_process(*flags)?)?;
        output::print(&config.render())
    }
}
