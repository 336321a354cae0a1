//! The remark for a person who asked and got nothing. Knows: the management API. Must not know: rules.

use serde_json::Value;

use super::api::{Api, Request};
use super::output;
use crate::clock::{Clock as _, SystemClock};
use crate::ledger::WrittenTime;

/// Filters that name a thing. A name that no event is about is likely a typing error.
const NAMES: [&str; 6] = ["account", "app", "user", "installation", "token", "actor"];

/// Says on a terminal that a list is empty, and why, as far as that is known. It is no failure, so nothing that
/// goes wrong with asking why is one either.
pub(super) fn if_empty(api: &Api, asked: &Request, answer: &Value) {
    if answer["items"].as_array().is_some_and(Vec::is_empty) {
        nothing_found(api, asked);
    }
}

pub(super) fn nothing_found(api: &Api, asked: &Request) {
    if !output::is_watched() {
        return;
    }
    let why = still_to_come(asked).or_else(|| unknown_name(api, asked));
    match (asked.path == "/audit/events", why) {
        (true, Some(why)) => output::remark(&format!("no events: {why}")),
        (true, None) => output::remark("no events"),
        (false, Some(why)) => output::remark(&why),
        (false, None) => {}
    }
}

fn still_to_come(asked: &Request) -> Option<String> {
    let (since, now) = (asked.asked("since")?.parse::<WrittenTime>().ok()?, SystemClock.now());
    let since = since.at(now);
    (since > now).then(|| format!("{since} is still to come"))
}

/// The first name that no event is about.
fn unknown_name(api: &Api, asked: &Request) -> Option<String> {
    NAMES.into_iter().find_map(|name| {
        let value = asked.asked(name)?;
        let events = Request::get("/audit/events").query(name, Some(value)).query("limit", Some(1));
        let page = api.ask(&events).ok()?;
        let what = if name == "actor" { "was done by" } else { "is about" };
        let is_none = page["items"].as_array().is_some_and(Vec::is_empty);
        is_none.then(|| format!("nothing in the ledger {what} the {name} {value}"))
    })
}
