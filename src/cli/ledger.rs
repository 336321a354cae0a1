//! `grantbook ledger`: the ledger as a whole, from one place to another.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Subcommand;
use serde_json::json;
use uuid::Uuid;

use super::failure::{EXIT_CODES, Failure};
use super::ledger_place;
use super::output;
use super::progress::Progress;
use super::runtime::block_on;
use super::signals::Signals;
use crate::store::{Copied, CopyError, CopyPhase, CopyStep, EventStoreTarget, SqliteEvidence, Store, copy};

/// The ledger as a whole.
#[derive(Debug, clap::Args)]
pub(super) struct LedgerCommand {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Move a ledger from a directory into a cluster, or back.
    Copy(Copy),
}

/// Copy a ledger, record by record, into one that is empty or has a part of it already.
///
/// Nobody may serve the target meanwhile. What the source gets while it is copied is not copied: stop its
/// server first, or copy once while it runs and once more when it is stopped. A copy that was
/// interrupted goes on where it ended.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
struct Copy {
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

/// Where a ledger is.
enum Place {
    Directory(PathBuf),
    Cluster(Arc<EventStoreTarget>),
}

impl LedgerCommand {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Task::Copy(copy) = self.task;
        let (from, to) = (Place::of("--from", &copy.from)?, Place::of("--to", &copy.to)?);
        block_on(async {
            let mut signals = Signals::listen().map_err(Failure::of)?;
            tokio::select! {
                copied = copy.copy(&from, &to) => copied,
                () = signals.next() => {
                    Err(Failure::Failed("interrupted; the same command goes on from here".to_owned()))
                }
            }
        })
    }
}

impl Copy {
    async fn copy(&self, from: &Place, to: &Place) -> Result<(), Failure> {
        let source = from.open_to_read().await?;
        let identity = source.head().await?.identity;
        let target = to.open_as(identity).await?;
        let mut progress: Option<(CopyPhase, Progress)> = None;
        let copied = copy(&*source, &*target, |step| tell(&mut progress, step)).await;
        if let Some((_, mut progress)) = progress {
            progress.end();
        }
        target.close().await?;
        output::print(&shown(&copied?, self.json))
    }
}

/// Each phase has a progress of its own.
fn tell(progress: &mut Option<(CopyPhase, Progress)>, step: CopyStep) {
    let is_another = progress.as_ref().is_none_or(|(phase, _)| *phase != step.phase);
    if is_another {
        if let Some((_, ended)) = progress {
            ended.end();
        }
        *progress = Some((
            step.phase,
            Progress::new(match step.phase {
                CopyPhase::Comparing => "compare",
                CopyPhase::Copying => "copy",
                CopyPhase::Verifying => "verify",
            }),
        ));
    }
    if let Some((_, progress)) = progress {
        progress.tell(step.records, step.position.as_u64(), step.head.as_u64());
    }
}

fn shown(copied: &Copied, as_json: bool) -> String {
    let digest: String = copied.digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let Copied { identity, found, appended, head, .. } = copied;
    if as_json {
        let done = json!({ "ledger": identity, "found": found, "appended": appended,
            "position": head.as_u64(), "digest": digest });
        return format!("{done}\n");
    }
    format!(
        "ledger {identity}: {appended} events copied, {found} were there already, up to position {head} of the \
         source\nevery one was compared: digest {digest}\n"
    )
}

impl Place {
    fn of(flag: &str, text: &str) -> Result<Self, Failure> {
        if !text.contains("://") {
            return Ok(Self::Directory(text.into()));
        }
        // Not repeated: it may hold a password.
        let target =
            EventStoreTarget::parse(text).map_err(|error| Failure::Usage(format!("{flag} {error}")))?;
        Ok(Self::Cluster(Arc::new(target)))
    }

    async fn open_to_read(&self) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Directory(dir) => ledger_place::read_directory(dir).await?,
            Self::Cluster(target) => ledger_place::in_cluster(target, None)?,
        })
    }

    /// Opens it to append; one that has no identity is given this one.
    async fn open_as(&self, identity: Uuid) -> Result<Arc<dyn Store>, Failure> {
        Ok(match self {
            Self::Directory(dir) => {
                ledger_place::in_directory(dir, identity, SqliteEvidence::default()).await?
            }
            Self::Cluster(target) => ledger_place::in_cluster(target, Some(identity))?,
        })
    }
}

impl From<CopyError> for Failure {
    fn from(error: CopyError) -> Self {
        Self::of(error)
    }
}
