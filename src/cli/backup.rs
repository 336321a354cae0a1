//! `grantbook backup`.

use std::path::PathBuf;

use serde_json::json;

use super::failure::{EXIT_CODES, Failure};
use super::ledger_flags::LedgerFlags;
use super::ledger_place::only_embedded;
use super::output;
use crate::store;

/// Copy the ledger into one file, also while it is served.
///
/// Every record is verified on the way. The file holds digests of secrets and ids of people: keep it as
/// you keep the ledger.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Backup {
    /// Where to; nothing is replaced
    file: PathBuf,
    #[command(flatten)]
    place: LedgerFlags,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.place.load()?;
        only_embedded(&config, "use the cluster's own backups, or grantbook ledger copy")?;
        let head = store::backup(&config.data_dir, &self.file, |_, _| {})?;
        let file = self.file.display();
        if self.json {
            let done = json!({ "ledger": head.identity, "position": head.position });
            return output::print(&format!("{done}\n"));
        }
        output::print(&format!("{file} holds the ledger up to position {}.\n", head.position))
    }
}
