//! `grantbook replay verify`. Knows: where a running server is, and how to ask it. Must not know: what is
//! compared with what.

use serde_json::json;
use ureq::http::Method;

use super::super::api::Api;
use super::super::failure::Failure;
use super::super::ledger_place::served_by;
use super::super::output::{self, one_line};
use super::super::progress::Progress;
use super::super::reach;
use crate::config::Config;
use crate::ledger::Snapshots;
use crate::replay::{self, Against, Finding, ReportedState, Skipped, Step, Verified};
use crate::store::{Store, StoreError};
use grantbook_events::Position;

pub(super) async fn run(
    store: &dyn Store,
    config: &Config,
    snapshots: Snapshots,
    as_json: bool,
) -> Result<(), Failure> {
    let server = reach::serving_if_served(config)?;
    let live = server.as_ref().map(reported).transpose()?;
    let mut progress = Progress::new("verify");
    let mut tell = |step: Step| progress.tell(step.events, step.position.as_u64(), step.head.as_u64());
    let apart = snapshots.apart();
    let history = Some(config.data_dir.clone());
    let against = Against { live, snapshots: Some(snapshots), history };
    let mut verified = replay::verify(store, against, &mut tell).await?;
    if verified.live_differs
        && let Some(api) = &server
    {
        let difference = difference(store, api, &apart, &mut tell).await;
        let why = |why: Failure| {
            let what = format!("what the server has cannot be compared field by field: {why}");
            Some(Finding { position: None, what })
        };
        let difference = difference.unwrap_or_else(why);
        verified.found += difference.iter().len() as u64;
        verified.findings.extend(difference);
    }
    progress.end();
    let missing = Missing { server: server.is_none(), history: !verified.has_history };
    print(&verified, &missing, as_json)
}

/// The server writes down what it has, apart from the snapshots that it keeps, and that is compared field by
/// field.
async fn difference(
    store: &dyn Store,
    api: &Api,
    apart: &Snapshots,
    tell: &mut impl FnMut(Step),
) -> Result<Option<Finding>, Failure> {
    let query = [("kept", "false")];
    let written = api.ask(Method::POST, "/projections/live/snapshots", &query, Some(&json!({})))?;
    let position = Position::new(written.body["position"].as_u64().unwrap_or_default());
    let difference = replay::difference_from(store, position, apart, tell).await;
    apart.clear().map_err(Failure::of)?;
    Ok(difference?)
}

/// Says of a ledger that cannot even be opened what is wrong with it.
pub(super) fn cannot_open(error: StoreError, config: &Config, as_json: bool) -> Result<(), Failure> {
    match error {
        StoreError::Damaged { position, detail } => {
            // Nothing else was looked for.
            let missing = Missing { server: served_by(config)?.is_none(), history: false };
            print(&Verified::damaged(position, &detail), &missing, as_json)
        }
        error => Err(error.into()),
    }
}

/// What a running server reports of its live projection.
fn reported(api: &Api) -> Result<ReportedState, Failure> {
    let answer = api.ask(Method::GET, "/projections", &[], None)?;
    let live =
        answer.body["items"].as_array().and_then(|items| items.iter().find(|item| item["name"] == "live"));
    let said = live.and_then(|live| Some((live["position"].as_u64()?, live["digest"].as_str()?)));
    let (position, digest) = said
        .ok_or_else(|| Failure::Failed(format!("the server at {} does not say how far it is", api.url())))?;
    Ok(ReportedState { position: Position::new(position), digest: digest.to_owned() })
}

/// What could not be compared, because it is not there.
struct Missing {
    server: bool,
    history: bool,
}

/// If anything is wrong, the command has failed, whether that can be printed or not.
fn print(verified: &Verified, missing: &Missing, as_json: bool) -> Result<(), Failure> {
    let printed = output::print(&if as_json { document(verified, missing) } else { text(verified, missing) });
    match verified.findings.first() {
        Some(first) => {
            Err(Failure::Failed(format!("{} things are wrong, the first: {first}", verified.found)))
        }
        None => printed,
    }
}

fn document(verified: &Verified, missing: &Missing) -> String {
    let document = json!({
        "sound": verified.is_sound(),
        "events": verified.events,
        "position": verified.live.position(),
        "digest": verified.live.digest().to_string(),
        "served": !missing.server,
        "skipped": verified.skipped,
        "compared": verified.compared,
        "found": verified.found,
        "findings": verified.findings,
    });
    format!("{document}\n")
}

fn text(verified: &Verified, missing: &Missing) -> String {
    let mut lines: Vec<String> = verified.findings.iter().map(|found| one_line(&found.to_string())).collect();
    if verified.is_sound() {
        let (events, position) = (verified.events, verified.live.position());
        lines.push(format!("the ledger is sound: {events} events, up to position {position}"));
        lines.push(format!("digest {}", verified.live.digest()));
    }
    lines.extend(
        verified.compared.iter().map(|same| format!("the same at position {}: {}", same.position, same.what)),
    );
    let skipped = |Skipped { what, why }: &Skipped| one_line(&format!("skipped: {what}, because {why}"));
    lines.extend(verified.skipped.iter().map(skipped));
    if missing.server {
        lines.push("no server serves this ledger here, so no live projection was compared".to_owned());
    }
    if missing.history {
        lines.push("there is no history file of this ledger here, so none was compared".to_owned());
    }
    lines.push(String::new());
    lines.join("\n")
}
