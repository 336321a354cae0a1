//! `grantbook replay verify`. Knows: where a running server is, and how to ask it. Must not know: what is
//! compared with what.

use grantbook_events::Position;
use serde_json::{Value, json};

use super::super::api::{Api, Request};
use super::super::connect;
use super::super::failure::Failure;
use super::super::ledger_place::served_by;
use super::super::output;
use super::super::progress::Progress;
use super::super::render::{fill, items};
use crate::config::Config;
use crate::ledger::Snapshots;
use crate::replay::{self, Against, Finding, ReportedState, Step, Verified};
use crate::store::Store;

pub(super) async fn run(
    store: &dyn Store,
    config: &Config,
    snapshots: Snapshots,
    as_json: bool,
) -> Result<(), Failure> {
    let server = connect::serving_if_served(config)?;
    let live = server.as_ref().map(reported).transpose()?;
    let mut progress = Progress::new("verify");
    let mut on_step = |step: Step| progress.show(step.events, step.position.as_u64(), step.head.as_u64());
    let apart = snapshots.apart();
    let history = Some(config.data_dir.clone());
    let against = Against { live, snapshots: Some(snapshots), history };
    let mut verified = replay::verify(store, against, &mut on_step).await?;
    if verified.live_differs
        && let Some(api) = &server
    {
        let difference = difference(store, api, &apart, &mut on_step).await;
        let why = |why: Failure| {
            let what = format!("what the server has cannot be compared field by field: {}", why.why());
            Some(Finding { position: None, what })
        };
        let difference = difference.unwrap_or_else(why);
        verified.found += difference.iter().len() as u64;
        verified.findings.extend(difference);
    }
    drop(progress);
    print(&verified, server.is_some(), as_json)
}

/// The server writes down what it has, apart from the snapshots that it keeps, and that is compared field by
/// field.
async fn difference(
    store: &dyn Store,
    api: &Api,
    apart: &Snapshots,
    on_step: &mut impl FnMut(Step),
) -> Result<Option<Finding>, Failure> {
    let written = Request::post("/projections/live/snapshots", json!({})).query("kept", Some(false));
    let position = Position::new(api.ask(&written)?["position"].as_u64().unwrap_or_default());
    let difference = replay::difference_from(store, position, apart, on_step).await;
    apart.clear()?;
    Ok(difference?)
}

/// Says of a ledger that cannot even be opened what is wrong with it.
pub(super) fn cannot_open(
    position: Position,
    detail: &str,
    config: &Config,
    as_json: bool,
) -> Result<(), Failure> {
    // Whether there is a history was not looked at.
    let verified = Verified { has_history: true, ..Verified::damaged(position, detail) };
    print(&verified, served_by(config)?.is_some(), as_json)
}

/// What a running server reports of its live projection.
fn reported(api: &Api) -> Result<ReportedState, Failure> {
    let answer = api.ask(&Request::get("/projections"))?;
    let live = items(&answer, "items").iter().find(|item| item["name"] == "live");
    let said = live.and_then(|live| Some((live["position"].as_u64()?, live["digest"].as_str()?)));
    let (position, digest) =
        said.ok_or_else(|| Failure::new(format!("the server at {} does not say how far it is", api.url())))?;
    Ok(ReportedState { position: Position::new(position), digest: digest.to_owned() })
}

/// If anything is wrong, the command has failed, whether that can be printed or not.
fn print(verified: &Verified, is_served: bool, as_json: bool) -> Result<(), Failure> {
    let mut document = json!(verified);
    document["sound"] = json!(verified.is_sound());
    document["position"] = json!(verified.live.position());
    document["digest"] = json!(verified.live.digest().to_string());
    document["served"] = json!(is_served);
    let printed = output::answer(&document, as_json, |document| text(document, verified.has_history));
    match verified.findings.first() {
        Some(first) => Err(Failure::new(format!("{} things are wrong, the first: {first}", verified.found))),
        None => printed,
    }
}

fn text(verified: &Value, has_history: bool) -> String {
    let lines = |name: &str, line: &str| -> String {
        items(verified, name).iter().map(|item| fill(line, item)).collect()
    };
    let finding = |found: &Value| match found["position"].is_null() {
        true => fill("{what}\n", found),
        false => fill("position {position}: {what}\n", found),
    };
    let mut text: String = items(verified, "findings").iter().map(finding).collect();
    if verified["sound"] == json!(true) {
        let sound = "the ledger is sound: {events} events, up to position {position}\ndigest {digest}\n";
        text.push_str(&fill(sound, verified));
    }
    text.push_str(&lines("compared", "the same at position {position}: {what}\n"));
    text.push_str(&lines("skipped", "skipped: {what}, because {why}\n"));
    if verified["served"] == json!(false) {
        text.push_str("no server serves this ledger here, so no live projection was compared\n");
    }
    if !has_history {
        text.push_str("there is no history file of this ledger here, so none was compared\n");
    }
    text
}
