//! `grantbook replay rebuild`: asks the server, and waits until it is done. Knows: what the server says of a
//! rebuild. Must not know: how one is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::api::{Api, Request};
use super::super::connect::{Needs, ServerFlags};
use super::super::failure::Failure;
use super::super::progress::Progress;
use super::super::render::fill;
use super::super::runtime::runtime;
use super::super::signals::Signals;
use crate::replay::Projection;

/// The pause between two questions.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn run(server: &ServerFlags, projection: Projection) -> Result<(), Failure> {
    let text = |rebuild: &Value| {
        let before = match rebuild["state"] == "same" {
            true => "the old copy was the same",
            false => "the old copy was not what the ledger folds to, and is replaced",
        };
        let rebuilt = fill("is rebuilt of {events} events, up to position {position}", rebuild);
        format!("{projection} {rebuilt}: {before}\n")
    };
    server.act(Needs::Ledger, |api| rebuilt(api, projection), text)
}

/// Asks for a rebuild, and waits until it is over.
fn rebuilt(api: &Api, projection: Projection) -> Result<Value, Failure> {
    let path = format!("/projections/{projection}/rebuild");
    let runtime = runtime()?;
    let mut signals = {
        let _entered = runtime.enter();
        Signals::listen()?
    };
    let is_interrupted = Arc::new(AtomicBool::new(false));
    let interrupted = Arc::clone(&is_interrupted);
    runtime.spawn(async move {
        signals.next().await;
        interrupted.store(true, Ordering::Release);
        // A second signal ends the process at once.
        signals.next().await;
        std::process::exit(1);
    });
    let mut progress = Progress::new("rebuild");
    let mut rebuild = api.ask(&Request::post(&path, json!({})))?;
    while rebuild["state"] == "running" {
        if is_interrupted.load(Ordering::Acquire) {
            // It may be over by now; its outcome is asked for in any case.
            let _ = api.ask(&Request::delete(&path));
        }
        thread::sleep(PAUSE);
        rebuild = api.ask(&Request::get(&path))?;
        let number = |name: &str| rebuild[name].as_u64().unwrap_or_default();
        progress.show(number("events"), number("position"), number("head"));
    }
    match rebuild["state"].as_str() {
        Some("same" | "repaired") => Ok(rebuild),
        Some("cancelled") => Err(Failure::new("the rebuild was cancelled; nothing was changed")),
        _ => Err(Failure::new(format!(
            "the rebuild failed: {}",
            rebuild["reason"].as_str().unwrap_or("the server does not say why")
        ))),
    }
}
