//! The results of replays, as people and programs are shown them. Knows: texts and JSON. Must not know: how
//! anything is folded.

use grantbook_projections::live::{Live, StateDigest};
use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::output;
use super::super::render::{fill, items};
use super::super::table::{Column, Kind, Wide};
use crate::clock::{Clock as _, SystemClock};
use crate::replay::{Reading, Replayed, Until, dump};

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

pub(super) fn counts(replayed: &Replayed) -> Value {
    let mut done = json!(replayed.reading);
    done["types"] = json!(replayed.types);
    done["live"] = json!(replayed.live.counts());
    done["live"]["digest"] = json!(replayed.live.digest().to_string());
    done
}

pub(super) fn counts_text(done: &Value) -> String {
    let mut text = fill("{events} events folded, up to position {position}", done);
    if done["recorded_at"].is_string() {
        text.push_str(&fill(", recorded at {recorded_at}", done));
    }
    text.push('\n');
    if done["out_of_order"] == json!(true) {
        text.push_str("clocks disagreed: events before the last one were recorded later, and are left out\n");
    }
    let types = done["types"].as_object().into_iter().flatten();
    text.extend(types.map(|(name, count)| count_line(count, name)));
    let live = "live: {live.apps} apps, {live.installations} installations, {live.tokens} tokens, {live.operator_keys} \
                operator keys\ndigest {live.digest}\n";
    text.push_str(&fill(live, done));
    if done["live"]["quarantined"] != json!(0) {
        text.push_str(&fill(
            "{live.quarantined} streams in quarantine: see grantbook replay quarantine\n",
            done,
        ));
    }
    text
}

fn count_line(count: &Value, what: &str) -> String {
    format!("{:>12}  {what}\n", count.as_u64().unwrap_or_default())
}

const CONSEQUENCES: &[Column<'_>] = &[
    ("account", "/account_id", Kind::Name),
    ("ends", "/ends", Kind::Whole),
    ("tokens gone", "/tokens_gone", Kind::Number),
    ("left", "/tokens_left", Kind::Number),
    ("installation id", "/installation_id", Kind::Whole),
];

const EXTRA: &[Column<'_>] = &[("client id", "/client_id", Kind::Whole)];

pub(super) fn consequences(found: &Value, wide: &Wide) -> String {
    let items = items(found, "items");
    let table = if items.is_empty() { String::new() } else { wide.table(found, CONSEQUENCES, EXTRA) };
    let ended = items.iter().filter(|item| item["ends"] == json!(true)).count();
    let stay = items.len() - ended;
    format!("{table}{ended} installations would end, {stay} would stay with fewer tokens\n")
}

pub(super) fn plan_text(plan: &Value) -> String {
    let mut text = fill("{events} events, {bytes} bytes\n", plan);
    if plan["position"].is_number() {
        text.push_str(&fill("recorded from {first_at} to {last_at}, up to position {position}\n", plan));
    }
    let counted = |item: &Value| count_line(&item["events"], &fill("{type} (version {version})", item));
    text.extend(items(plan, "types").iter().map(counted));
    let seconds = plan["estimated_seconds"].as_f64().unwrap_or_default();
    text.push_str(&format!("a replay takes about {seconds} s\n"));
    if items(plan, "snapshots").is_empty() {
        text.push_str("no snapshots: a start folds all of it\n");
    }
    text.extend(items(plan, "snapshots").iter().map(|snapshot| match snapshot["usable"] == json!(true) {
        true => fill("snapshot {file}: a start folds only what is after position {position}\n", snapshot),
        false => fill("snapshot {file} is skipped: {reason}\n", snapshot),
    }));
    text
}

/// The first event that is wrong of each stream.
pub(super) fn quarantine(live: &Live) -> Value {
    let poisons = live.quarantined();
    json!({ "items": poisons.iter().map(|poison| json!(**poison)).collect::<Vec<_>>() })
}

pub(super) fn quarantine_text(found: &Value) -> String {
    let line = |poison| fill("{stream}  {event_type} {event_id} at position {position}: {reason}\n", poison);
    match items(found, "items") {
        [] => "no stream is in quarantine\n".to_owned(),
        poisons => poisons.iter().map(line).collect(),
    }
}

pub(super) fn rows(reading: &Reading, digest: StateDigest) -> Value {
    let rows = json!({ "rows": reading.events, "digest": digest.to_string() });
    json!({ "events": reading.events, "position": reading.position, "history": rows })
}

pub(super) fn rows_text(done: &Value) -> String {
    let words = "{events} events folded, up to position {position}\nhistory: {history.rows} rows\ndigest {history.digest}\n";
    fill(words, done)
}
