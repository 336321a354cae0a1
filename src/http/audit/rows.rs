//! Rows of history as JSON and as CSV. Knows: columns. Must not know: which rows are wanted.

use grantbook_events::ActorKind;
use grantbook_projections::history::HistoryRow;

/// Rows as JSON, one object a line.
pub(super) fn ndjson(rows: &[HistoryRow]) -> Result<Vec<u8>, std::io::Error> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// What a row has in a column.
type Field = fn(&HistoryRow) -> String;

/// The columns of CSV: their names, and what a row has there.
const COLUMNS: [(&str, Field); 16] = [
    ("position", |row| row.position.to_string()),
    ("recorded_at", |row| row.recorded_at.to_string()),
    ("type", |row| row.event_type.to_string()),
    ("event_id", |row| row.event_id.to_string()),
    ("stream", |row| row.stream.to_string()),
    ("revision", |row| row.revision.to_string()),
    ("client_id", |row| text(row.client_id.as_ref())),
    ("account_id", |row| text(row.account_id.as_ref())),
    ("user_id", |row| text(row.user_id.as_ref())),
    ("installation_id", |row| text(row.installation_id.as_ref())),
    ("token_ids", |row| list(&row.token_ids)),
    ("actor_kind", |row| row.actor.as_ref().map(|actor| kind(actor.kind)).unwrap_or_default().to_owned()),
    ("actor_id", |row| row.actor.as_ref().map(|actor| actor.id.clone()).unwrap_or_default()),
    ("reason", |row| text(row.reason.as_ref())),
    ("request_id", |row| text(row.request_id.as_ref())),
    ("token_users", |row| list(&row.token_users)),
];

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn kind(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::User => "user",
        ActorKind::App => "app",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
    }
}

/// The first line of CSV.
pub(super) fn csv_header() -> Line {
    COLUMNS.map(|(name, _)| name.to_owned())
}

/// A row as a line of CSV.
pub(super) fn csv_line(row: &HistoryRow) -> Line {
    COLUMNS.map(|(_, field)| field(row))
}

/// The fields of a line.
type Line = [String; COLUMNS.len()];

/// Lines of CSV (RFC 4180). A field that a spreadsheet would take for a formula begins with an apostrophe.
pub(super) fn csv_of(lines: impl IntoIterator<Item = Line>) -> Result<Vec<u8>, std::io::Error> {
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
            let mut line = [const { String::new() }; COLUMNS.len()];
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
