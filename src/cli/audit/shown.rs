//! Answers about history, as people read them. Knows: what the audit API answers. Must not know: how it is asked.

use serde_json::{Value, json};

use crate::cli::output::one_line;
use crate::cli::table::{Column, Wide};

pub(super) fn items(answer: &Value) -> &[Value] {
    answer["items"].as_array().map_or(&[][..], Vec::as_slice)
}

fn text(item: &Value, name: &str) -> String {
    match &item[name] {
        Value::String(text) => one_line(text),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

fn words(item: &Value, name: &str) -> String {
    let words = item[name].as_array().map_or(&[][..], Vec::as_slice);
    words.iter().filter_map(Value::as_str).map(one_line).collect::<Vec<_>>().join(" ")
}

/// A paragraph for each event.
pub(super) fn timeline(timeline: &Value) -> String {
    let paragraph = |item: &Value| {
        let (time, sentence) = (text(item, "recorded_at"), text(item, "sentence"));
        let (event, request) = (text(item, "event_id"), text(item, "request_id"));
        format!("{time}  {sentence}\n    event {event} at position {}, request {request}\n", item["position"])
    };
    items(timeline).iter().map(paragraph).collect()
}

/// Whom an event is about: the user of a grant or token, or those whose tokens it ended.
fn users(item: &Value) -> String {
    let of_tokens = words(item, "token_users");
    match &item["user_id"] {
        Value::Null if !of_tokens.is_empty() => of_tokens,
        _ => text(item, "user_id"),
    }
}

/// How much of the type of an event is always shown.
const SHORTEST_TYPE: u16 = 16;

const COLUMNS: &[Column<'_>] = &[
    Column::number("pos", "/position"),
    Column::time("time", "/recorded_at"),
    Column::word("what", "/type", SHORTEST_TYPE),
    Column::name("account", "/account_id"),
    Column::name("user", "/user"),
    Column::name("by", "/by"),
    Column::name("reason", "/reason"),
    Column::whole("client id", "/client_id").extra(),
    Column::whole("installation id", "/installation_id").extra(),
    Column::whole("token id", "/token_id").extra(),
    Column::whole("event id", "/event_id").extra(),
    Column::whole("request id", "/request_id").extra(),
];

/// A line an event.
pub(super) fn lines(page: &Value, wide: &Wide) -> String {
    let line = |item: &Value| {
        let mut line = item.clone();
        line["user"] = json!(users(item));
        line["by"] = match &item["actor"] {
            Value::Null => Value::Null,
            actor => json!(format!("{} {}", text(actor, "kind"), text(actor, "id"))),
        };
        line
    };
    let items: Vec<Value> = items(page).iter().map(line).collect();
    // That there are none is said elsewhere, to those who look.
    let list = json!({ "items": items });
    let mut all = if items.is_empty() { String::new() } else { wide.table(&list, COLUMNS) };
    if page["next_cursor"].is_string() {
        all.push_str(&format!(
            "there are more: --cursor {} goes on, --limit shows up to 200, --format ndjson or csv shows all\n",
            text(page, "next_cursor")
        ));
    }
    all
}

fn as_of(cut: &Value) -> String {
    format!("as of {} (position {})", text(cut, "time"), text(cut, "position"))
}

/// A line for each time at which clocks disagreed.
fn out_of_order(cuts: &[&Value]) -> String {
    let line = |cut: &&Value| {
        let (time, position) = (text(cut, "time"), text(cut, "position"));
        format!(
            "clocks disagreed: events before position {position} that were recorded after {time} do not count, as they \
             are not in `audit events --until {time}`\n"
        )
    };
    cuts.iter().filter(|cut| cut["out_of_order"] == json!(true)).map(line).collect()
}

pub(super) fn installations(answer: &Value) -> String {
    let mut all = format!("account {}, {}\n", text(answer, "account_id"), as_of(&answer["as_of"]));
    all.push_str(&out_of_order(&[&answer["as_of"]]));
    for item in items(answer) {
        let state = match item["installed"].as_bool() {
            Some(true) => {
                format!("installed since {} with {}", text(item, "installed_since"), words(item, "scopes"))
            }
            _ => match (&item["ended_at"], &item["reason"]) {
                (Value::Null, Value::Null) => "approved, never installed".to_owned(),
                (Value::Null, _) => format!("not installed: {}", text(item, "reason")),
                (_, Value::Null) => format!("not installed, ended {}", text(item, "ended_at")),
                (_, _) => {
                    format!("not installed, ended {}; {}", text(item, "ended_at"), text(item, "reason"))
                }
            },
        };
        all.push_str(&format!("{}  {}: {state}\n", text(item, "installation_id"), text(item, "app_name")));
        for (kind, name) in [("token", "tokens"), ("dormant token", "dormant")] {
            for token in item[name].as_array().map_or(&[][..], Vec::as_slice) {
                let (id, user) = (text(token, "token_id"), text(token, "user_id"));
                let (issued, scopes) = (text(token, "issued_at"), words(token, "scopes"));
                all.push_str(&format!("    {kind} {id} of user {user}, issued {issued}: {scopes}\n"));
            }
        }
    }
    if items(answer).is_empty() {
        all.push_str("no app had been approved\n");
    }
    all
}

pub(super) fn token(answer: &Value) -> String {
    let is = if answer["valid"] == json!(true) { "valid" } else { "not valid" };
    let (id, cut) = (text(answer, "token_id"), as_of(&answer["as_of"]));
    let mut all = format!("token {id}, {cut}: {is}\n{}\n", text(answer, "why"));
    all.push_str(&out_of_order(&[&answer["as_of"]]));
    let (account, user) = (text(answer, "account_id"), text(answer, "user_id"));
    all.push_str(&format!(
        "installation {} of app {} on account {account}, user {user}\n",
        text(answer, "installation_id"),
        text(answer, "client_id"),
    ));
    if let event @ Value::Object(_) = &answer["event"] {
        all.push_str(&format!("event {} at position {}\n", text(event, "event_id"), text(event, "position")));
    }
    all
}

pub(super) fn changes(answer: &Value) -> String {
    let (from, to) = (as_of(&answer["from"]), as_of(&answer["to"]));
    let mut all = format!("account {}, from {} to {}\n", text(answer, "account_id"), &from[6..], &to[6..]);
    all.push_str(&out_of_order(&[&answer["from"], &answer["to"]]));
    for item in items(answer) {
        let (id, app) = (text(item, "installation_id"), text(item, "app_name"));
        let reason = match &item["reason"] {
            Value::Null => String::new(),
            _ => format!(" ({})", text(item, "reason")),
        };
        all.push_str(&format!("{id}  {app}: {}{reason}\n", text(item, "change")));
        for (label, name) in [
            ("scopes added", "scopes_added"),
            ("scopes removed", "scopes_removed"),
            ("tokens added", "tokens_added"),
            ("tokens ended", "tokens_ended"),
        ] {
            let words = words(item, name);
            if !words.is_empty() {
                all.push_str(&format!("    {label}: {words}\n"));
            }
        }
    }
    if items(answer).is_empty() {
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
