//! `grantbook replay`: fold the ledger again, from its first event, beside the server. Only `rebuild` changes anything,
//! and that through the server.

mod rebuild;
mod shown;
mod verify;

use std::sync::Arc;

use clap::Subcommand;

use super::failure::{EXIT_CODES, Failure};
use super::ledger_place::open_to_read;
use super::output;
use super::progress::Progress;
use super::reach::Reach;
use super::runtime::block_on;
use super::table::Wide;
use super::when;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::decisions::scopes::ScopeCatalogue;
use crate::ledger::{Snapshots, When};
use crate::replay::{self, Consequence, Projection, ReplayError, Step, Until, Without};
use crate::server::SNAPSHOT_DIR;
use crate::store::Store;

/// Fold the ledger again, beside the server; nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Replay {
    #[command(flatten)]
    reach: Reach,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Say how much there is to fold, and how long that would take.
    Plan,
    /// Fold from empty, and print the result.
    #[command(after_help = when::HELP)]
    Run {
        /// Which projection
        #[arg(long, value_name = "NAME", default_value = "live")]
        projection: Projection,
        /// Stop after this position, or before the first event recorded after this time
        #[arg(long, value_name = "WHEN")]
        until: Option<When>,
        /// Print the state as it was then, one JSON object a line, instead of counts
        #[arg(long, conflicts_with = "json")]
        dump: bool,
    },
    /// Check every record of the ledger: order, digests, revisions, event ids, and that each is an event
    /// that follows from those before it; and compare its fold with the running server, the snapshots
    /// and the history.
    Verify,
    /// Build a projection of the running server again, beside the one that is served.
    Rebuild {
        /// Which projection
        #[arg(long, value_name = "NAME")]
        projection: Projection,
    },
    /// List the streams with an event that cannot be read or folded: nothing in them counts.
    Quarantine,
    /// Say which installations would end without some of the tokens that are valid now.
    #[command(group = clap::ArgGroup::new("without").required(true))]
    WhatIf {
        /// Without the tokens that have this scope
        #[arg(long, value_name = "SCOPE", group = "without")]
        without_scope: Option<String>,
        /// Without the tokens whose code was sent to this redirect URI
        #[arg(long, value_name = "URI", group = "without")]
        without_redirect: Option<String>,
        #[command(flatten)]
        wide: Wide,
    },
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { reach, task } = self;
        if let Task::Rebuild { projection } = task {
            return rebuild::run(&reach, projection);
        }
        let config = reach.place().ok_or_else(|| {
            let why = "this reads the ledger itself: run it where the ledger is, without --server";
            Failure::Usage(why.to_owned())
        })?;
        let config = config.load()?;
        block_on(async {
            let store = match open_to_read(&config).await {
                Err(error) if matches!(task, Task::Verify) => {
                    return verify::cannot_open(error, &config, reach.is_json());
                }
                store => store?,
            };
            answer(task, store, &config, reach.is_json()).await
        })
    }
}

async fn answer(task: Task, store: Arc<dyn Store>, config: &Config, as_json: bool) -> Result<(), Failure> {
    let mut progress = Progress::new("replay");
    let tell = |step: Step| progress.tell(step.events, step.position.as_u64(), step.head.as_u64());
    let snapshots = Snapshots::new(config.data_dir.join(SNAPSHOT_DIR));
    match task {
        Task::Plan => {
            let plan = replay::plan(&*store, &snapshots, tell).await;
            progress.end();
            output::print(&shown::plan(&plan?, as_json))
        }
        Task::WhatIf { without_scope, without_redirect, wide } => {
            let scope = without_scope.map(|scope| Without::Scope(canonical(&config.scopes, scope)));
            let Some(without) = scope.or(without_redirect.map(Without::RedirectUri)) else {
                return Err(Failure::Usage("say without what".to_owned()));
            };
            let consequences = replay::what_if(&*store, &without, SystemClock.now(), tell).await;
            progress.end();
            let consequences = match consequences? {
                Some(consequences) => consequences,
                None => unknown(&without, &config.scopes)?,
            };
            output::print(&shown::consequences(&consequences, as_json, &wide))
        }
        Task::Verify => verify::run(&*store, config, snapshots, as_json).await,
        Task::Run { projection: Projection::Live, until, dump } => {
            let until = in_the_past(until, &*store).await?;
            let replayed = replay::run(&*store, until, tell).await;
            progress.end();
            if dump {
                shown::print_state(&replayed?, until)
            } else {
                output::print(&shown::counts(&replayed?, as_json))
            }
        }
        Task::Run { projection: Projection::History, until, dump } => {
            let print = |row: &_| if dump { output::print(&shown::history_row(row)?) } else { Ok(()) };
            let until = in_the_past(until, &*store).await?;
            let folded = replay::run_history(&*store, until, tell, print).await;
            progress.end();
            let (reading, digest) = folded?;
            if dump { Ok(()) } else { output::print(&shown::history(&reading, digest, as_json)) }
        }
        Task::Quarantine => {
            let replayed = replay::run(&*store, Until::Head, tell).await;
            progress.end();
            output::print(&shown::quarantine(&replayed?.live.quarantined(), as_json)?)
        }
        // It goes through the server.
        Task::Rebuild { .. } => Ok(()),
    }
}

/// How far to fold: not to a time that is still to come.
async fn in_the_past(until: Option<When>, store: &dyn Store) -> Result<Until, Failure> {
    let now = SystemClock.now();
    let until = until.map(|when| when.until(now)).unwrap_or_default();
    until.has_come(store.head().await?.position, now).map_err(Failure::of)?;
    Ok(until)
}

/// The name by which tokens have a scope. The ledger may know scopes that are in no catalogue any more.
fn canonical(scopes: &ScopeCatalogue, scope: String) -> String {
    match scopes.resolve(&scope).as_deref() {
        Ok([name]) => name.clone(),
        Ok(_) | Err(_) => scope,
    }
}

/// Without what nothing in the ledger has, nothing ends; or its name is wrong.
fn unknown(without: &Without, scopes: &ScopeCatalogue) -> Result<Vec<Consequence>, Failure> {
    match without {
        Without::Scope(scope) if scopes.names().any(|name| name == scope) => Ok(Vec::new()),
        Without::Scope(scope) => {
            let names = scopes.names().collect::<Vec<_>>().join(", ");
            let what = "is no scope: no app and no grant in the ledger has it, and the configuration has";
            Err(Failure::Failed(format!("{scope:?} {what} {names}")))
        }
        Without::RedirectUri(uri) => {
            let what = "is no redirect URI: no app and no grant in the ledger has it, word for word";
            Err(Failure::Failed(format!("{uri:?} {what}")))
        }
    }
}

impl From<ReplayError> for Failure {
    fn from(error: ReplayError) -> Self {
        Self::of(error)
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Self {
        Self::of(error)
    }
}
