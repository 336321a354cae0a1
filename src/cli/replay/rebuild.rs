//! `grantbook replay rebuild`: asks the server, and waits until it is done. Knows: what the server says of a
//! rebuild. Must not know: how one is done.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::failure::Failure;
use super::super::progress::Progress;
use super::super::reach::{Needs, Reach};
use super::super::signals;
use crate::replay::Projection;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(reach: &Reach, projection: Projection) -> Result<(), Failure> {
    let is_over = |rebuild: &Value| rebuild["state"] != "running";
    reach.ask(
        Needs::Ledger,
        |api| {
            let interrupted = signals::flag().map_err(Failure::of)?;
            let mut progress = Progress::new("rebuild");
            let mut rebuild = api.post(&path(projection), &json!({}))?;
            while !is_over(&rebuild) {
                if interrupted.load(Ordering::Acquire) {
                    // It may be over by now; its outcome is asked for in any case.
                    let _ = api.delete(&path(projection), &[]);
                }
                thread::sleep(PAUSE);
                rebuild = api.get(&path(projection), &[])?;
                let number = |name: &str| rebuild[name].as_u64().unwrap_or_default();
                progress.tell(number("events"), number("position"), number("head"));
            }
            progress.end();
            match rebuild["state"].as_str() {
                Some("same" | "repaired") => Ok(rebuild),
                Some("cancelled") => {
                    Err(Failure::Failed("the rebuild was cancelled; nothing was changed".to_owned()))
                }
                _ => Err(Failure::Failed(format!(
                    "the rebuild failed: {}",
                    rebuild["reason"].as_str().unwrap_or("the server does not say why")
                ))),
            }
        },
        move |rebuild| text(projection, rebuild),
    )
}

fn path(projection: Projection) -> String {
    format!("/projections/{projection}/rebuild")
}

fn text(projection: Projection, rebuild: &Value) -> String {
    let (events, position) = (&rebuild["events"], &rebuild["position"]);
    let before = match rebuild["state"].as_str() {
        Some("same") => "the old copy was the same",
        _ => "the old copy was not what the ledger folds to, and is replaced",
    };
    format!("{projection} is rebuilt of {events} events, up to position {position}: {before}\n")
}
