//! Answers about history, as people read them. Knows: what the audit API answers. Must not know: how it is asked.

use serde_json::{Value, json};

use crate::cli::render::{fill, items, text};
use crate::cli::table::{Column, Kind, Wide};

/// A paragraph for each event.
pub(super) fn timeline(timeline: &Value) -> String {
    let paragraph =
        "{recorded_at}  {sentence}\n    event {event_id} at position {position}, request {request_id}\n";
    items(timeline, "items").iter().map(|event| fill(paragraph, event)).collect()
}

/// Whom an event is about: the user of a grant or token, or those whose tokens it ended.
fn users(item: &Value) -> String {
    let field = if item["user_id"].is_null() { "token_users" } else { "user_id" };
    text(&item[field])
}

/// How much of the type of an event is always shown.
const SHORTEST_TYPE: u16 = 16;

const COLUMNS: &[Column<'_>] = &[
    ("pos", "/position", Kind::Number),
    ("time", "/recorded_at", Kind::Time),
    ("what", "/type", Kind::Word(SHORTEST_TYPE)),
    ("account", "/account_id", Kind::Name),
    ("user", "/user", Kind::Name),
    ("by", "/by", Kind::Name),
    ("reason", "/reason", Kind::Name),
];

const EXTRA: &[Column<'_>] = &[
    ("client id", "/client_id", Kind::Whole),
    ("installation id", "/installation_id", Kind::Whole),
    ("token id", "/token_id", Kind::Whole),
    ("event id", "/event_id", Kind::Whole),
    ("request id", "/request_id", Kind::Whole),
];

/// A line an event.
pub(super) fn lines(page: &Value, wide: &Wide) -> String {
    let line = |item: &Value| {
        let mut line = item.clone();
        line["user"] = json!(users(item));
        if item["actor"].is_object() {
            line["by"] = json!(fill("{actor.kind} {actor.id}", item));
        }
        line
    };
    let items: Vec<Value> = items(page, "items").iter().map(line).collect();
    // That there are none is said elsewhere, to those who look.
    let list = json!({ "items": items });
    let mut all = if items.is_empty() { String::new() } else { wide.table(&list, COLUMNS, EXTRA) };
    if page["next_cursor"].is_string() {
        let more = "there are more: --cursor {next_cursor} goes on, --limit shows up to 200, --format ndjson or csv \
                    shows all\n";
        all.push_str(&fill(more, page));
    }
    all
}

/// A line for each time at which clocks disagreed.
fn out_of_order(cuts: &[&Value]) -> String {
    let line = "clocks disagreed: events before position {position} that were recorded after {time} do not count, as they \
                are not in `audit events --until {time}`\n";
    cuts.iter().filter(|cut| cut["out_of_order"] == json!(true)).map(|cut| fill(line, cut)).collect()
}

pub(super) fn installations(answer: &Value) -> String {
    let head = "account {account_id}, as of {as_of.time} (position {as_of.position})\n";
    let mut all = fill(head, answer) + &out_of_order(&[&answer["as_of"]]);
    for item in items(answer, "items") {
        let state = match (item["installed"] == json!(true), &item["ended_at"], &item["reason"]) {
            (true, _, _) => "installed since {installed_since} with {scopes}",
            (false, Value::Null, Value::Null) => "approved, never installed",
            (false, Value::Null, _) => "not installed: {reason}",
            (false, _, Value::Null) => "not installed, ended {ended_at}",
            (false, _, _) => "not installed, ended {ended_at}; {reason}",
        };
        all.push_str(&fill(&format!("{{installation_id}}  {{app_name}}: {state}\n"), item));
        for (kind, name) in [("token", "tokens"), ("dormant token", "dormant")] {
            let line = "{token_id} of user {user_id}, issued {issued_at}: {scopes}\n";
            let line = |token| format!("    {kind} {}", fill(line, token));
            all.extend(items(item, name).iter().map(line));
        }
    }
    if items(answer, "items").is_empty() {
        all.push_str("no app had been approved\n");
    }
    all
}

pub(in crate::cli) fn token(answer: &Value) -> String {
    let is = if answer["valid"] == json!(true) { "valid" } else { "not valid" };
    let head = fill("token {token_id}, as of {as_of.time} (position {as_of.position}): ", answer);
    let mut all = format!("{head}{is}\n{}\n", text(&answer["why"]));
    all.push_str(&out_of_order(&[&answer["as_of"]]));
    let of = "installation {installation_id} of app {client_id} on account {account_id}, user {user_id}\n";
    all.push_str(&fill(of, answer));
    if answer["event"].is_object() {
        all.push_str(&fill("event {event.event_id} at position {event.position}\n", answer));
    }
    all
}

pub(super) fn changes(answer: &Value) -> String {
    let head = "account {account_id}, from {from.time} (position {from.position}) to {to.time} (position {to.position})\n";
    let mut all = fill(head, answer) + &out_of_order(&[&answer["from"], &answer["to"]]);
    for item in items(answer, "items") {
        let reason = if item["reason"].is_null() { "" } else { " ({reason})" };
        all.push_str(&fill(&format!("{{installation_id}}  {{app_name}}: {{change}}{reason}\n"), item));
        for (label, name) in [
            ("scopes added", "scopes_added"),
            ("scopes removed", "scopes_removed"),
            ("tokens added", "tokens_added"),
            ("tokens ended", "tokens_ended"),
        ] {
            if !items(item, name).is_empty() {
                all.push_str(&format!("    {label}: {}\n", text(&item[name])));
            }
        }
    }
    if items(answer, "items").is_empty() {
        all.push_str("nothing changed\n");
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_says_when_clocks_disagreed() {
        let cut = |out_of_order: bool| json!({ "position": 7, "time": "2026-01-01T00:00:00Z", "out_of_order": out_of_order });
        for (shown, is_said) in [(false, 0), (true, 1)] {
            let answer = json!({ "as_of": cut(shown), "from": cut(shown), "to": cut(false) });
            for text in [installations(&answer), token(&answer), changes(&answer)] {
                assert_eq!(
                    text.matches("clocks disagreed: events before position 7").count(),
                    is_said,
                    "{text}"
                );
            }
        }
    }

    #[test]
    fn a_line_names_whom_the_event_is_about() {
        let about =
            |user: Value, of_tokens: Value| users(&json!({ "user_id": user, "token_users": of_tokens }));
        assert_eq!(about(json!("ana"), json!([])), "ana");
        assert_eq!(about(Value::Null, json!(["bob", "eve"])), "bob eve");
        assert_eq!(about(Value::Null, json!([])), "-");
        assert_eq!(about(Value::Null, Value::Null), "-", "an older server does not say");
    }
}
