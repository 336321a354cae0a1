//! JSON as people like to read it: aligned and plain. Knows: how. Must not know: what it is about.

use serde_json::Value;

use super::output::one_line;

/// What is shown where there is nothing.
pub(super) const NOTHING: &str = "-";
/// Between two columns.
const GAP: &str = "  ";

/// A label, and where in the JSON its value is (RFC 6901).
pub(super) type Shown<'a> = (&'a str, &'a str);

/// One thing: a line for each value that is there; several values of one field below each other.
pub(super) fn fields(thing: &Value, shown: &[Shown<'_>]) -> String {
    let mut rows: Vec<(&str, String)> = Vec::new();
    for (label, pointer) in shown {
        let Some(value) = thing.pointer(pointer) else { continue };
        let lines = match value {
            Value::Array(items) if !items.is_empty() => items.iter().map(text).collect(),
            value => vec![text(value)],
        };
        let labels = std::iter::once(*label).chain(std::iter::repeat(""));
        rows.extend(labels.zip(lines));
    }
    let width = rows.iter().map(|(label, _)| label.chars().count()).max().unwrap_or_default();
    let line =
        |(label, line): &(&str, String)| format!("{}\n", format!("{label:width$}{GAP}{line}").trim_end());
    rows.iter().map(line).collect()
}

/// What was done before: when, by whom, and why, as far as it is known.
pub(super) fn already(done: &str, event: &Value, why: &Value) -> String {
    let when = match event.is_object() {
        true => fill(&format!("Already {done} at {{recorded_at}} by {{actor.kind}} {{actor.id}}.\n"), event),
        false => "Nothing was left to end.\n".to_owned(),
    };
    format!("{when}{}", if why.is_string() { format!("{}\n", text(why)) } else { String::new() })
}

/// What was retired now, or before.
pub(super) fn retired(what: &str, event: &Value) -> String {
    match event["recorded_at"].is_string() {
        true => already("retired", event, &Value::Null),
        false => format!("The {what} is refused from now on.\n"),
    }
}

/// A text with a field of a thing in the place of each name in braces. A name such as `{actor.id}` is of a field of a field.
pub(super) fn fill(words: &str, thing: &Value) -> String {
    let (mut filled, mut rest) = (String::new(), words);
    while let Some((before, (name, after))) =
        rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?)))
    {
        filled.push_str(before);
        filled.push_str(&text(name.split('.').fold(thing, |thing, field| &thing[field])));
        rest = after;
    }
    filled + rest
}

/// The items of a list in a field of a thing; none if there is no list.
pub(super) fn items<'a>(thing: &'a Value, name: &str) -> &'a [Value] {
    thing[name].as_array().map_or(&[][..], Vec::as_slice)
}

/// A value on one line.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Null => NOTHING.to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => one_line(text),
        Value::Array(items) if items.is_empty() => NOTHING.to_owned(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| format!("{name}={}", text(value));
            fields.iter().map(field).collect::<Vec<_>>().join(" ")
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_in_braces_are_filled_once() {
        let event = json!({ "actor": { "id": "{position}" }, "position": 7, "scopes": ["a", "b"] });
        let filled = fill("at {position} by {actor.id}, {actor.kind}: {scopes}.", &event);
        assert_eq!(filled, "at 7 by {position}, -: a b.");
    }

    #[test]
    fn fields_stand_below_each_other() {
        let app = json!({ "id": "a1", "scopes": ["read", "write"], "homepage": null, "status": { "state": "x\u{1b}[2Jy\nz" } });
        let shown = fields(
            &app,
            &[
                ("client id", "/id"),
                ("scopes", "/scopes"),
                ("homepage", "/homepage"),
                ("status", "/status/state"),
                ("secret", "/secret"),
            ],
        );
        assert_eq!(
            shown,
            "client id  a1\nscopes     read\n           write\nhomepage   -\nstatus     x\u{fffd}[2Jy\u{fffd}z\n",
            "no name controls the terminal"
        );
    }
}
