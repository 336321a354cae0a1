//! `grantbook ledger`: the ledger as a whole, from one place to another.

use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;

use super::failure::{EXIT_CODES, Failure};
use super::ledger_place::LedgerPlace;
use super::output;
use super::progress::Progress;
use super::render::fill;
use super::runtime::block_on;
use super::signals::Signals;
use crate::store::{COMPARING, Copied, EventStoreTarget, Evidence, copy};

const CLUSTER: &str = "esdb://host:2113?tls=false, esdb://host1:2113,host2:2113,host3:2113, or \
                       esdb+discover://cluster.example:2113, with user:password@ before the hosts if need be";
const DONE: &str = "ledger {ledger}: {appended} events copied, {found} were there already, up to position {position} of the \
                    source\nevery one was compared: digest {digest}\n";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Move a ledger from a directory into a cluster, or back.
    Copy(Copy),
}

/// Copy a ledger, record by record, into one that is empty or has a part of it already.
///
/// No server may serve the target meanwhile. Events that the source gets while it is copied are not copied: stop its
/// server first, or copy once while it runs and once more when it is stopped. A copy that was
/// interrupted goes on where it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Copy {
    /// A data directory, or esdb://…
    #[arg(long, value_name = "WHERE")]
    from: String,
    /// A data directory, or esdb://…
    #[arg(long, value_name = "WHERE")]
    to: String,
    /// Print one JSON document and nothing else
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self::Copy(copy) = self;
        let (from, to) = (place("--from", &copy.from)?, place("--to", &copy.to)?);
        block_on(async {
            let mut signals = Signals::listen()?;
            tokio::select! {
                copied = copy.copy(from, to) => copied,
                () = signals.next() => {
                    Err(Failure::new("interrupted; the same command goes on from here"))
                }
            }
        })
    }
}

impl Copy {
    async fn copy(&self, from: LedgerPlace, to: LedgerPlace) -> Result<(), Failure> {
        let source = from.open_to_read().await?;
        let identity = source.head().await?.identity;
        let target = to.open_to_append(identity, Evidence::default()).await?;
        let mut progress = Progress::new(COMPARING);
        let copied = copy(&*source, &*target, |step| {
            progress.begin(step.phase);
            progress.show(step.records, step.position.as_u64(), step.head.as_u64());
        });
        let copied = copied.await;
        drop(progress);
        target.close().await?;
        let Copied { identity, found, appended, head, digest } = copied?;
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let done = json!({ "ledger": identity, "found": found, "appended": appended,
            "position": head, "digest": digest });
        output::answer(&done, self.json, |done| fill(DONE, done))
    }
}

fn place(flag: &str, text: &str) -> Result<LedgerPlace, Failure> {
    if !text.contains("://") {
        return Ok(LedgerPlace::Directory(text.into()));
    }
    // The text is not repeated: it may hold a password.
    let target = EventStoreTarget::parse(text).map_err(|error| {
        Failure::Usage(format!("{flag} {error}; it takes a data directory, or {CLUSTER}"))
    })?;
    Ok(LedgerPlace::Cluster(Arc::new(target)))
}
