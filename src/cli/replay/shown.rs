//! The results of replays, as people and programs are shown them. Knows: texts and JSON. Must not know: how
//! anything is folded.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use grantbook_events::Position;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::{Poison, StateDigest};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output;
use super::super::table::{Column, Wide};
use crate::clock::{Clock as _, SystemClock};
use crate::replay::{Consequence, Plan, Reading, Replayed, Until, dump};

pub(super) fn print_state(replayed: &Replayed, until: Until) -> Result<(), Failure> {
    let at = match until {
        Until::Head => SystemClock.now(),
        Until::Time(time) => time,
        Until::Position(_) => replayed.reading.recorded_at.unwrap_or_else(|| SystemClock.now()),
    };
    if replayed.reading.events == 0 {
        output::remark("no events");
    }
    dump(&replayed.live, at, output::print)
}

pub(super) fn counts(replayed: &Replayed, as_json: bool) -> String {
    let Replayed { live, types, reading } = replayed;
    let (counts, digest) = (live.counts(), live.digest().to_string());
    if as_json {
        let done = json!({
            "position": reading.position,
            "recorded_at": reading.recorded_at,
            "events": reading.events,
            "out_of_order": reading.out_of_order,
            "types": types,
            "live": {
                "apps": counts.apps,
                "installations": counts.installations,
                "tokens": counts.tokens,
                "operator_keys": counts.operator_keys,
                "quarantined": counts.quarantined,
                "digest": digest,
            },
        });
        return format!("{done}\n");
    }
    let mut text = format!("{} events folded, up to position {}", reading.events, reading.position);
    if let Some(at) = reading.recorded_at {
        text.push_str(&format!(", recorded at {at}"));
    }
    text.push('\n');
    if reading.out_of_order {
        text.push_str("clocks disagreed: events before the last one were recorded later, and are left out\n");
    }
    for (name, count) in types {
        text.push_str(&format!("{count:>12}  {name}\n"));
    }
    text.push_str(&format!(
        "live: {} apps, {} installations, {} tokens, {} operator keys\ndigest {digest}\n",
        counts.apps, counts.installations, counts.tokens, counts.operator_keys
    ));
    if counts.quarantined > 0 {
        text.push_str(&format!(
            "{} streams in quarantine: see grantbook replay quarantine\n",
            counts.quarantined
        ));
    }
    text
}

const CONSEQUENCES: &[Column<'_>] = &[
    Column::name("account", "/account_id"),
    Column::whole("ends", "/ends"),
    Column::number("tokens gone", "/tokens_gone"),
    Column::number("left", "/tokens_left"),
    Column::whole("installation id", "/installation_id"),
    Column::whole("client id", "/client_id").extra(),
];

pub(super) fn consequences(consequences: &[Consequence], as_json: bool, wide: &Wide) -> String {
    let items = json!({ "items": consequences });
    if as_json {
        return format!("{items}\n");
    }
    let ended = consequences.iter().filter(|consequence| consequence.ends).count();
    let mut text = if consequences.is_empty() { String::new() } else { wide.table(&items, CONSEQUENCES) };
    text.push_str(&format!(
        "{ended} installations would end, {} would stay with fewer tokens\n",
        consequences.len() - ended
    ));
    text
}

pub(super) fn plan(plan: &Plan, as_json: bool) -> String {
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
            "snapshots": plan.snapshots.iter().map(snapshot_json).collect::<Vec<_>>(),
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
    if plan.snapshots.is_empty() {
        text.push_str("no snapshots: a start folds all of it\n");
    }
    for (path, outcome) in &plan.snapshots {
        let name = file_name(path);
        text.push_str(&match outcome {
            Ok(position) => {
                format!("snapshot {name}: a start folds only what is after position {position}\n")
            }
            Err(why) => format!("snapshot {name} is skipped: {why}\n"),
        });
    }
    text
}

fn snapshot_json((path, outcome): &(PathBuf, Result<Position, String>)) -> Value {
    match outcome {
        Ok(position) => json!({ "file": file_name(path), "usable": true, "position": position }),
        Err(why) => json!({ "file": file_name(path), "usable": false, "reason": why }),
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// One line a stream; the first event of each that is wrong.
pub(super) fn quarantine(poisons: &[Arc<Poison>], as_json: bool) -> Result<String, Failure> {
    if as_json {
        let items: Vec<&Poison> = poisons.iter().map(|poison| &**poison).collect();
        return Ok(format!("{}\n", json!({ "items": items })));
    }
    if poisons.is_empty() {
        return Ok("no stream is in quarantine\n".to_owned());
    }
    let line = |poison: &Arc<Poison>| {
        let Poison { position, event_id, stream, event_type, reason } = &**poison;
        let what = format!("{stream}  {event_type} {event_id} at position {position}: {reason}");
        format!("{}\n", output::one_line(&what))
    };
    Ok(poisons.iter().map(line).collect())
}

fn rounded(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 10.0).ceil() / 10.0
}

/// A row of history, as the audit API shows it, on a line.
pub(super) fn history_row(row: &HistoryRow) -> Result<String, Failure> {
    Ok(format!("{}\n", serde_json::to_string(row)?))
}

pub(super) fn history(reading: &Reading, digest: StateDigest, as_json: bool) -> String {
    let Reading { events, position, .. } = reading;
    if as_json {
        let rows = json!({ "rows": events, "digest": digest.to_string() });
        return format!("{}\n", json!({ "events": events, "position": position, "history": rows }));
    }
    format!("{events} events folded, up to position {position}\nhistory: {events} rows\ndigest {digest}\n")
}
