//! The remark for a person who asked about the past and got nothing. Knows: the audit API. Must not know: rules.

use super::api::{Api, Query};
use super::output;
use crate::clock::{Clock as _, SystemClock};
use crate::ledger::WrittenTime;

/// Filters that name a thing. A name that no event is about is likely a typing error.
const NAMES: [&str; 6] = ["account", "app", "user", "installation", "token", "actor"];

/// Says on a terminal that there are no events, and why, as far as that is known. It is no failure, so nothing that
/// goes wrong with asking why is one either.
pub(super) fn tell(api: &Api, asked: Query<'_>) {
    if !output::is_watched() {
        return;
    }
    let why = to_come(asked).or_else(|| unknown(api, asked));
    output::remark(&why.map_or_else(|| "no events".to_owned(), |why| format!("no events: {why}")));
}

/// Says on a terminal that no event is about an account, if that is so.
pub(super) fn tell_of_account(api: &Api, account: &str) {
    if output::is_watched()
        && let Some(why) = unknown(api, &[("account", account)])
    {
        output::remark(&why);
    }
}

fn to_come(asked: Query<'_>) -> Option<String> {
    let (_, since) = asked.iter().find(|(name, _)| *name == "since")?;
    let (since, now) = (since.parse::<WrittenTime>().ok()?, SystemClock.now());
    let since = since.at(now);
    (since > now).then(|| format!("{since} is still to come"))
}

/// The first name that no event is about.
fn unknown(api: &Api, asked: Query<'_>) -> Option<String> {
    asked.iter().filter(|(name, _)| NAMES.contains(name)).find_map(|(name, value)| {
        let page = api.get("/audit/events", &[(name, value), ("limit", "1")]).ok()?;
        let what = if *name == "actor" { "was done by" } else { "is about" };
        let is_none = page["items"].as_array().is_some_and(Vec::is_empty);
        is_none.then(|| format!("nothing in the ledger {what} the {name} {value}"))
    })
}
