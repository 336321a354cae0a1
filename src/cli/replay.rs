//! `grantbook replay`: fold the ledger again, from its first event, beside whoever serves it. Reads only.

use std::sync::Arc;
use std::time::Duration;

use clap::Subcommand;
use serde_json::{Map, Value, json};

use super::failure::{EXIT_CODES, Failure};
use super::output;
use super::place::Place;
use super::progress::Progress;
use crate::clock::{Clock as _, SystemClock};
use crate::decisions::scopes::ScopeCatalogue;
use crate::replay::{
    self, Consequence, Finding, Plan, ReplayError, Replayed, ShownState, Step, Until, Verified, Without,
};
use crate::store::SqliteStore;

/// Fold the ledger again, beside whoever serves it; nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_CODES)]
pub(super) struct Replay {
    #[command(flatten)]
    place: Place,
    /// Print one JSON document and nothing else
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Say how much there is to fold, and how long that would take.
    Plan,
    /// Fold from empty, and print what it comes to.
    Run {
        /// Stop after this position, or before the first event recorded after this time
        #[arg(long, value_name = "POSITION|TIME")]
        until: Option<Until>,
        /// Print the state as it was then, one JSON object a line, instead of counts
        #[arg(long, conflicts_with = "json")]
        dump: bool,
    },
    /// Check every record of the ledger: order, digests, revisions, event ids, and that each is an event
    /// that follows from those before it.
    Verify,
    /// Say which installations would end without some of the tokens that are valid now.
    #[command(group = clap::ArgGroup::new("without").required(true))]
    WhatIf {
        /// Without the tokens that have this scope
        #[arg(long, value_name = "SCOPE", group = "without")]
        without_scope: Option<String>,
        /// Without the tokens whose code was sent to this redirect URI
        #[arg(long, value_name = "URI", group = "without")]
        without_redirect: Option<String>,
    },
}

impl Replay {
    pub(super) fn run(self) -> Result<(), Failure> {
        let config = self.place.load()?;
        let store = SqliteStore::open_read_only(&config.data_dir)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(Failure::of)?;
        let outcome = runtime.block_on(self.answer(store, config.scopes));
        runtime.shutdown_background();
        outcome
    }

    async fn answer(self, store: Arc<SqliteStore>, scopes: ScopeCatalogue) -> Result<(), Failure> {
        let mut progress = Progress::new("replay");
        let tell = |step: Step| progress.tell(step.events, step.position.as_u64(), step.head.as_u64());
        match self.task {
            Task::Plan => {
                let plan = replay::plan(&*store, tell).await;
                progress.end();
                output::print(&shown_plan(&plan?, self.json))
            }
            Task::WhatIf { without_scope, without_redirect } => {
                let scope = without_scope.map(|scope| Without::Scope(canonical(&scopes, scope)));
                let Some(without) = scope.or(without_redirect.map(Without::RedirectUri)) else {
                    return Err(Failure::Usage("say without what".to_owned()));
                };
                let consequences = replay::what_if(&*store, &without, SystemClock.now(), tell).await;
                progress.end();
                output::print(&shown_consequences(&consequences?, self.json))
            }
            Task::Verify => {
                let verified = replay::verify(&*store, tell).await;
                progress.end();
                print_verified(&verified?, self.json)
            }
            Task::Run { until, dump } => {
                let until = until.unwrap_or_default();
                let replayed = replay::run(&*store, until, tell).await;
                progress.end();
                if dump { print_state(&replayed?, until) } else { print_counts(&replayed?, self.json) }
            }
        }
    }
}

/// The name by which tokens have a scope. The ledger may know scopes that are in no catalogue any more.
fn canonical(scopes: &ScopeCatalogue, scope: String) -> String {
    match scopes.resolve(&scope).as_deref() {
        Ok([name]) => name.clone(),
        Ok(_) | Err(_) => scope,
    }
}

fn print_state(replayed: &Replayed, until: Until) -> Result<(), Failure> {
    let at = match until {
        Until::Head => SystemClock.now(),
        Until::Time(time) => time,
        Until::Position(_) => replayed.recorded_at.unwrap_or_else(|| SystemClock.now()),
    };
    ShownState::new(&replayed.live, at).write(output::print)
}

fn print_counts(replayed: &Replayed, as_json: bool) -> Result<(), Failure> {
    let counts = replayed.live.counts();
    let digest = replayed.live.digest().to_string();
    if as_json {
        let types: Map<String, Value> =
            replayed.types.iter().map(|(name, count)| (name.clone(), json!(count))).collect();
        let done = json!({
            "position": replayed.position(),
            "recorded_at": replayed.recorded_at,
            "events": replayed.events(),
            "types": types,
            "live": {
                "apps": counts.apps,
                "installations": counts.installations,
                "tokens": counts.tokens,
                "operator_keys": counts.operator_keys,
                "digest": digest,
            },
        });
        return output::print(&format!("{done}\n"));
    }
    let mut text = format!("{} events folded, up to position {}", replayed.events(), replayed.position());
    if let Some(at) = replayed.recorded_at {
        text.push_str(&format!(", recorded at {at}"));
    }
    text.push('\n');
    for (name, count) in &replayed.types {
        text.push_str(&format!("{count:>12}  {name}\n"));
    }
    text.push_str(&format!(
        "live: {} apps, {} installations, {} tokens, {} operator keys\ndigest {digest}\n",
        counts.apps, counts.installations, counts.tokens, counts.operator_keys
    ));
    output::print(&text)
}

/// Says what is wrong, if anything is; then the command has failed.
fn print_verified(verified: &Verified, as_json: bool) -> Result<(), Failure> {
    let digest = verified.live.digest().to_string();
    let (events, position) = (verified.events, verified.live.position());
    let findings = &verified.findings;
    if as_json {
        let finding = |found: &Finding| json!({ "position": found.position, "what": found.what });
        let done = json!({
            "sound": verified.is_sound(),
            "events": events,
            "position": position,
            "digest": digest,
            "found": verified.found,
            "findings": findings.iter().map(finding).collect::<Vec<_>>(),
        });
        output::print(&format!("{done}\n"))?;
    } else if verified.is_sound() {
        return output::print(&format!(
            "the ledger is sound: {events} events, up to position {position}\ndigest {digest}\n"
        ));
    } else {
        let lines = findings.iter().map(|found| format!("{}\n", output::one_line(&found.to_string())));
        output::print(&lines.collect::<String>())?;
    }
    match findings.first() {
        Some(first) => Err(Failure::Failed(format!(
            "the ledger is damaged in {} places, first at {first}",
            verified.found
        ))),
        None => Ok(()),
    }
}

fn shown_consequences(consequences: &[Consequence], as_json: bool) -> String {
    if as_json {
        let shown = |consequence: &Consequence| {
            json!({
                "installation_id": consequence.installation_id,
                "client_id": consequence.client_id,
                "account_id": consequence.account_id,
                "ends": consequence.ends(),
                "tokens_gone": consequence.tokens_gone,
                "tokens_left": consequence.tokens_left,
            })
        };
        let items: Vec<Value> = consequences.iter().map(shown).collect();
        return format!("{}\n", json!({ "items": items }));
    }
    let ended = consequences.iter().filter(|consequence| consequence.ends()).count();
    let mut text = String::new();
    for consequence in consequences {
        let Consequence { installation_id, client_id, account_id, tokens_gone, tokens_left } = consequence;
        let what = if consequence.ends() { "ends" } else { "stays" };
        text.push_str(&format!(
            "{what:<5}  {installation_id}  app {client_id} on {account_id}: {tokens_gone} of {} tokens gone\n",
            tokens_gone + tokens_left
        ));
    }
    text.push_str(&format!(
        "{ended} installations would end, {} would stay with fewer tokens\n",
        consequences.len() - ended
    ));
    text
}

fn shown_plan(plan: &Plan, as_json: bool) -> String {
    if as_json {
        let type_of = |((name, version), count): (&(String, u16), &u64)| json!({ "type": name, "version": version, "events": count });
        let types: Vec<Value> = plan.types.iter().map(type_of).collect();
        let plan = json!({
            "events": plan.events,
            "position": plan.position,
            "bytes": plan.bytes,
            "first_at": plan.first_at,
            "last_at": plan.last_at,
            "types": types,
            "estimated_seconds": rounded(plan.estimate()),
        });
        return format!("{plan}\n");
    }
    let mut text = format!("{} events, {} bytes\n", plan.events, plan.bytes);
    if let (Some(first), Some(last), Some(position)) = (plan.first_at, plan.last_at, plan.position) {
        text.push_str(&format!("recorded from {first} to {last}, up to position {position}\n"));
    }
    for ((name, version), count) in &plan.types {
        text.push_str(&format!("{count:>12}  {name} (version {version})\n"));
    }
    text.push_str(&format!("a replay takes about {} s\n", rounded(plan.estimate())));
    text
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).ceil() / 10.0
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
