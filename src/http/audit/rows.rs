//! Rows of history as JSON and as CSV. Knows: columns. Must not know: which rows are wanted.

use grantbook_events::{ActorKind, UserId};
use grantbook_projections::history::HistoryRow;

use crate::audit::ShownRow;

/// Rows as JSON, one object a line.
pub(super) fn ndjson(rows: &[HistoryRow]) -> Result<Vec<u8>, std::io::Error> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, &ShownRow::from(row))?;
        text.push(b'\n');
    }
    Ok(text)
}

/// How many fields a line of CSV has.
const COLUMNS: usize = 16;

/// The first line of CSV.
pub(super) const CSV_HEADER: [&str; COLUMNS] = [
    "position",
    "recorded_at",
    "type",
    "event_id",
    "stream",
    "revision",
    "client_id",
    "account_id",
    "user_id",
    "installation_id",
    "token_ids",
    "actor_kind",
    "actor_id",
    "reason",
    "request_id",
    "token_users",
];

/// Lines of CSV (RFC 4180). A field that a spreadsheet would take for a formula begins with an apostrophe.
pub(super) fn csv_of(lines: impl IntoIterator<Item = [String; COLUMNS]>) -> Result<Vec<u8>, std::io::Error> {
    // Quotes keep a field whole also where a comma is not what separates fields.
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for line in lines {
        writer.write_record(line.map(harmless))?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// A row as the fields of a line.
pub(super) fn csv_line(row: &HistoryRow) -> [String; COLUMNS] {
    fn text<T: ToString>(value: Option<&T>) -> String {
        value.map(T::to_string).unwrap_or_default()
    }
    let kind = row.actor.as_ref().map(|actor| match actor.kind {
        ActorKind::User => "user",
        ActorKind::App => "app",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
    });
    let tokens: Vec<String> = row.token_ids.iter().map(ToString::to_string).collect();
    let users: Vec<&str> = row.token_users.iter().map(UserId::as_str).collect();
    [
        row.position.to_string(),
        row.recorded_at.to_string(),
        row.event_type.clone(),
        row.event_id.to_string(),
        row.stream.to_string(),
        row.revision.to_string(),
        text(row.client_id.as_ref()),
        text(row.account_id.as_ref()),
        text(row.user_id.as_ref()),
        text(row.installation_id.as_ref()),
        tokens.join(" "),
        kind.unwrap_or_default().to_owned(),
        row.actor.as_ref().map(|actor| actor.id.clone()).unwrap_or_default(),
        row.reason.clone().unwrap_or_default(),
        text(row.request_id.as_ref()),
        users.join(" "),
    ]
}

/// Account ids, user ids and reasons are words of strangers: `=1+1` must stay what it says, also behind
/// spaces, which some spreadsheets leave out, and in full-width forms, which some take for the narrow ones.
fn harmless(field: String) -> String {
    let is_passed_over = |symbol: &char| symbol.is_whitespace() && !matches!(symbol, '\t' | '\r');
    match field.chars().find(|symbol| !is_passed_over(symbol)) {
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r') => format!("'{field}"),
        Some(_) | None => field,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_text_and_what_csv_would_split_is_whole() {
        let line = |field: &str| {
            let mut line = [const { String::new() }; COLUMNS];
            line[0] = field.to_owned();
            let bytes = csv_of([line]).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let rest = ",\"\"".repeat(15);
        for (field, written) in [
            ("plain", "plain"),
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@cmd", "'@cmd"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("  =1", "'  =1"),
            ("\u{a0}\u{3000}+1", "'\u{a0}\u{3000}+1"),
            ("\n-1", "'\n-1"),
            (" \tx", "' \tx"),
            ("＝1", "'＝1"),
            ("＋1", "'＋1"),
            (" －1", "' －1"),
            ("＠cmd", "'＠cmd"),
            ("  ", "  "),
            ("a=b", "a=b"),
            ("a,b", "a,b"),
            ("a;=b", "a;=b"),
            ("say \"no\"", "say \"\"no\"\""),
            ("two\r\nlines", "two\r\nlines"),
        ] {
            assert_eq!(line(field), format!("\"{written}\"{rest}\r\n"), "{field:?}");
        }
    }
}
