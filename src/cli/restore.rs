//! `grantbook restore`.

use std::path::PathBuf;

use serde_json::json;

use super::failure::{EXIT_CODES, Failure};
use super::ledger_flags::LedgerFlags;
use super::ledger_place::only_embedded;
use super::output;
use crate::store;

/// Make the ledger of an empty directory from a backup.
///
/// Every record and every chain of records is verified first.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    place: LedgerFlags,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.place.load()?;
        only_embedded(&config, "restore into a directory, then use grantbook ledger copy")?;
        let head = store::restore(&self.file, &config.data_dir, |_, _| {})?;
        if self.json {
            let done = json!({ "ledger": head.identity, "position": head.position });
            return output::print(&format!("{done}\n"));
        }
        let dir = config.data_dir.display();
        output::print(&format!("{dir} holds the ledger up to position {}.\n", head.position))
    }
}
