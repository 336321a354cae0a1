//! `grantbook backup` and `grantbook restore`: the embedded ledger as one file, and back.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::failure::Failure;
use super::ledger_place::LedgerFlags;
use super::output;
use crate::config::Config;
use crate::store::{self, Head};

/// Copy the ledger into one file, also while it is served.
///
/// Every record is verified on the way. The file holds digests of secrets and ids of people: keep it as
/// you keep the ledger.
#[derive(Debug, clap::Args)]
pub(super) struct Backup {
    /// Where to; nothing is replaced
    file: PathBuf,
    #[command(flatten)]
    place: LedgerFlags,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

/// Make the ledger of an empty directory from a backup.
///
/// Every record and every chain of records is verified first.
#[derive(Debug, clap::Args)]
pub(super) struct Restore {
    /// The backup
    file: PathBuf,
    #[command(flatten)]
    place: LedgerFlags,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

impl Backup {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = embedded(&self.place, "use the cluster's own backups, or grantbook ledger copy")?;
        print(&self.file, &store::backup(&config.data_dir, &self.file, |_, _| {})?, self.json)
    }
}

impl Restore {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = embedded(&self.place, "restore into a directory, then use grantbook ledger copy")?;
        print(&config.data_dir, &store::restore(&self.file, &config.data_dir, |_, _| {})?, self.json)
    }
}

/// The configuration of a ledger in a directory.
fn embedded(place: &LedgerFlags, instead: &str) -> Result<Config, Failure> {
    let config = place.load()?;
    match &config.store {
        None => Ok(config),
        Some(_) => Err(Failure::Usage(format!("this ledger is in a cluster: {instead}"))),
    }
}

fn print(place: &Path, head: &Head, as_json: bool) -> Result<(), Failure> {
    let done = json!({ "ledger": head.identity, "position": head.position });
    output::answer(&done, as_json, |_| {
        format!("{} holds the ledger up to position {}.\n", place.display(), head.position)
    })
}
