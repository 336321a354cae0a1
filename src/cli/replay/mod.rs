//! `grantbook replay`: fold the ledger again, from its first event, beside the server. Only `rebuild` changes anything,
//! and that through the server.

mod rebuild;
mod shown;
mod verify;

use clap::Subcommand;
use serde_json::json;

use super::connect::ServerFlags;
use super::failure::Failure;
use super::ledger_place::LedgerPlace;
use super::output;
use super::progress::Progress;
use super::runtime::block_on;
use super::table::Wide;
use super::times;
use crate::clock::{Clock as _, SystemClock};
use crate::config::Config;
use crate::decisions::scopes::ScopeCatalogue;
use crate::ledger::{Snapshots, When};
use crate::replay::{self, Consequence, Projection, Step, Until, Without};
use crate::server::SNAPSHOT_DIR;
use crate::store::{Store, StoreError};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Say how much there is to fold, and how long that would take.
    Plan,
    /// Fold from empty, and print the result.
    #[command(after_help = times::HELP)]
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

impl Command {
    pub(super) fn run(self, server: &ServerFlags) -> Result<(), Failure> {
        if let Self::Rebuild { projection } = self {
            return rebuild::run(server, projection);
        }
        if server.url.is_some() {
            let why = "this reads the ledger itself: run it where the ledger is, without --server";
            return Err(Failure::Usage(why.to_owned()));
        }
        let (config, as_json) = (server.place.load()?, server.json);
        block_on(async {
            match LedgerPlace::of(&config).open_to_read().await {
                Err(StoreError::Damaged { position, detail }) if matches!(self, Self::Verify) => {
                    verify::cannot_open(position, &detail, &config, as_json)
                }
                store => self.read(&*store?, &config, as_json).await,
            }
        })
    }

    async fn read(self, store: &dyn Store, config: &Config, as_json: bool) -> Result<(), Failure> {
        let snapshots = Snapshots::new(config.data_dir.join(SNAPSHOT_DIR));
        match self {
            Self::Plan => {
                let plan =
                    with_progress(async |on_step| replay::plan(store, &snapshots, on_step).await).await?;
                output::answer(&json!(plan), as_json, shown::plan_text)
            }
            Self::WhatIf { without_scope, without_redirect, wide } => {
                let scope = without_scope.map(|scope| Without::Scope(canonical(&config.scopes, scope)));
                let Some(without) = scope.or(without_redirect.map(Without::RedirectUri)) else {
                    return Err(Failure::Usage("say without what".to_owned()));
                };
                let now = SystemClock.now();
                let found = async |on_step: OnStep<'_>| replay::what_if(store, &without, now, on_step).await;
                let consequences = match with_progress(found).await? {
                    Some(consequences) => consequences,
                    None => unknown(&without, &config.scopes)?,
                };
                let items = json!({ "items": consequences });
                output::answer(&items, as_json, |items| shown::consequences(items, &wide))
            }
            Self::Verify => verify::run(store, config, snapshots, as_json).await,
            Self::Run { projection: Projection::Live, until, dump } => {
                let until = in_the_past(until, store).await?;
                let replayed =
                    with_progress(async |on_step| replay::run(store, until, on_step).await).await?;
                match dump {
                    true => shown::print_state(&replayed, until),
                    false => output::answer(&shown::counts(&replayed), as_json, shown::counts_text),
                }
            }
            Self::Run { projection: Projection::History, until, dump } => {
                let until = in_the_past(until, store).await?;
                let print = |row: &_| match dump {
                    true => output::print(&format!("{}\n", serde_json::to_string(row)?)),
                    false => Ok(()),
                };
                let folded =
                    async |on_step: OnStep<'_>| replay::run_history(store, until, on_step, print).await;
                let (reading, digest) = with_progress(folded).await?;
                match dump {
                    true => Ok(()),
                    false => output::answer(&shown::rows(&reading, digest), as_json, shown::rows_text),
                }
            }
            Self::Quarantine => {
                let run = async |on_step: OnStep<'_>| replay::run(store, Until::Head, on_step).await;
                let replayed = with_progress(run).await?;
                output::answer(&shown::quarantine(&replayed.live), as_json, shown::quarantine_text)
            }
            // It goes through the server.
            Self::Rebuild { .. } => Ok(()),
        }
    }
}

/// What is called after every few events of a replay.
type OnStep<'a> = &'a mut dyn FnMut(Step);

/// Shows how far a replay is, until it is over.
async fn with_progress<T, E: Into<Failure>>(
    replay: impl AsyncFnOnce(OnStep<'_>) -> Result<T, E>,
) -> Result<T, Failure> {
    let mut progress = Progress::new("replay");
    let mut on_step = |step: Step| progress.show(step.events, step.position.as_u64(), step.head.as_u64());
    replay(&mut on_step).await.map_err(Into::into)
}

/// How far to fold: not to a time that is still to come.
async fn in_the_past(until: Option<When>, store: &dyn Store) -> Result<Until, Failure> {
    let now = SystemClock.now();
    let until = until.map(|when| when.until(now)).unwrap_or_default();
    until.has_come(store.head().await?.position, now)?;
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
            Err(Failure::new(format!("{scope:?} {what} {names}")))
        }
        Without::RedirectUri(uri) => {
            let what = "is no redirect URI: no app and no grant in the ledger has it, word for word";
            Err(Failure::new(format!("{uri:?} {what}")))
        }
    }
}
