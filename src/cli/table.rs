//! Lists as tables that fit the terminal. Knows: widths. Must not know: what is listed.
//!
//! Names come first and give way where there is too little room: they are cut, with `…`. Ids never are, because people
//! copy them. Without a terminal, or with `--wide`, nothing is cut.

use std::io::stdout;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Row, Table, Width};
use serde_json::Value;

use super::render;
use crate::config;

/// What is put where something was cut.
const CUT: &str = "…";
/// Between two columns.
const GAP: u16 = 2;
/// What is left of a name in the narrowest table.
const LEAST: u16 = 6;
/// How much of a time is shown: the day, and the second.
const DAY: usize = "2026-01-31".len();
const SECOND: usize = "2026-01-31T12:00:00".len();

/// How wide a table may be.
#[derive(Debug, clap::Args)]
pub(super) struct Wide {
    /// Show every column, and cut nothing to fit the terminal
    #[arg(long)]
    wide: bool,
}

/// A column: its head, where in the JSON its values are (RFC 6901), and how they are shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column<'a> {
    head: &'a str,
    at: &'a str,
    kind: Kind,
    is_extra: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Is cut if need be, to so many characters.
    Name(u16),
    /// Is always whole.
    Whole,
    /// Is always whole, and aligned by its last digit.
    Number,
    /// A time, of which so many characters are shown in a narrow table.
    Time(usize),
}

impl<'a> Column<'a> {
    const fn new(head: &'a str, at: &'a str, kind: Kind) -> Self {
        Self { head, at, kind, is_extra: false }
    }

    /// What gives way if there is too little room.
    pub(super) const fn name(head: &'a str, at: &'a str) -> Self {
        Self::new(head, at, Kind::Name(LEAST))
    }

    /// The same, and so much of it stays.
    pub(super) const fn word(head: &'a str, at: &'a str, least: u16) -> Self {
        Self::new(head, at, Kind::Name(least))
    }

    /// An id, or a word.
    pub(super) const fn whole(head: &'a str, at: &'a str) -> Self {
        Self::new(head, at, Kind::Whole)
    }

    pub(super) const fn number(head: &'a str, at: &'a str) -> Self {
        Self::new(head, at, Kind::Number)
    }

    /// A time, of which the day matters.
    pub(super) const fn day(head: &'a str, at: &'a str) -> Self {
        Self::new(head, at, Kind::Time(DAY))
    }

    /// A time, of which the second matters.
    pub(super) const fn time(head: &'a str, at: &'a str) -> Self {
        Self::new(head, at, Kind::Time(SECOND))
    }

    /// The same, with `--wide` only.
    pub(super) const fn extra(self) -> Self {
        Self { is_extra: true, ..self }
    }

    fn text(&self, item: &Value, is_wide: bool) -> String {
        let text = item.pointer(self.at).map_or_else(|| render::NOTHING.to_owned(), render::text);
        match self.kind {
            Kind::Time(shown) if !is_wide && text.len() > shown => {
                let utc = if shown == SECOND { "Z" } else { "" };
                text.get(..shown).map(|cut| format!("{cut}{utc}")).unwrap_or(text)
            }
            _ => text,
        }
    }
}

impl Wide {
    /// A list: a line for each thing, under a head.
    pub(super) fn table(&self, list: &Value, columns: &[Column<'_>]) -> String {
        let items = list.get("items").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let room = if self.wide { None } else { room() };
        table(items, columns, self.wide, room)
    }
}

/// How many characters fit in a line of the terminal, if there is one.
fn room() -> Option<u16> {
    let terminal = || terminal_size::terminal_size_of(stdout()).map(|(width, _)| width.0);
    config::terminal_columns().or_else(terminal)
}

fn table(items: &[Value], columns: &[Column<'_>], is_wide: bool, room: Option<u16>) -> String {
    if items.is_empty() {
        return "none\n".to_owned();
    }
    let columns: Vec<_> = columns.iter().filter(|column| is_wide || !column.is_extra).collect();
    let mut table = Table::new();
    table.load_style(NOTHING).set_truncation_indicator(CUT);
    let mut head = Row::from(columns.iter().map(|column| column.head.to_uppercase()));
    let mut rows: Vec<Row> =
        items.iter().map(|item| Row::from(columns.iter().map(|column| column.text(item, is_wide)))).collect();
    if let Some(room) = room {
        // The gap after the last column is cut off again.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(room.saturating_add(GAP));
        for row in rows.iter_mut().chain([&mut head]) {
            row.max_height(1);
        }
    }
    table.set_header(head).add_rows(rows);
    let widest = table.column_max_content_widths();
    for (at, column) in columns.iter().enumerate() {
        let Some(shown) = table.column_mut(at) else { continue };
        shown.set_padding((0, GAP));
        let width = widest.get(at).copied().unwrap_or_default();
        shown.set_constraint(match column.kind {
            Kind::Name(least) => ColumnConstraint::LowerBoundary(Width::Fixed(width.min(least) + GAP)),
            Kind::Whole | Kind::Number | Kind::Time(_) => ColumnConstraint::ContentWidth,
        });
        if column.kind == Kind::Number {
            shown.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const COLUMNS: &[Column<'_>] = &[
        Column::name("name", "/name"),
        Column::name("owner", "/owner"),
        Column::number("tokens", "/tokens"),
        Column::day("since", "/since"),
        Column::whole("client id", "/id"),
        Column::time("changed", "/changed").extra(),
    ];

    fn items() -> Vec<Value> {
        let time = "2026-01-31T12:00:00.000001Z";
        let app = |name: &str, owner: &str, tokens: u32| json!({ "name": name, "owner": owner, "tokens": tokens, "since": time, "id": "2".repeat(32), "changed": time });
        vec![
            app("Ärger mit Äpfeln und Birnen", "The Company of Many Words and Few Deeds", 7),
            app("日本語のとても長い名前のアプリケーション", "x\u{1b}[2Jy\nz", 1200),
        ]
    }

    #[test]
    fn a_table_fits_and_cuts_names_only() {
        let shown = table(&items(), COLUMNS, false, Some(80));
        let expected = "\
NAME          OWNER         TOKENS  SINCE       CLIENT ID
Ärger mit…    The Company…       7  2026-01-31  22222222222222222222222222222222
日本語のと…   x\u{fffd}[2Jy\u{fffd}z        1200  2026-01-31  22222222222222222222222222222222
";
        assert_eq!(shown, expected, "{shown}");
    }

    #[test]
    fn wide_and_unwatched_tables_cut_nothing() {
        let piped = table(&items(), COLUMNS, false, None);
        assert!(piped.contains("日本語のとても長い名前のアプリケーション"), "{piped}");
        assert!(piped.contains("  2026-01-31  2222") && !piped.contains("CHANGED"), "{piped}");
        let wide = table(&items(), COLUMNS, true, None);
        assert!(wide.contains("Few Deeds") && wide.contains("CHANGED"), "{wide}");
        assert!(wide.contains("2026-01-31T12:00:00.000001Z"), "{wide}");
        // However narrow it is, an id is whole.
        let narrow = table(&items(), COLUMNS, false, Some(20));
        assert_eq!(narrow.matches(&"2".repeat(32)).count(), 2, "{narrow}");
        assert_eq!(table(&[], COLUMNS, false, Some(80)), "none\n");
    }
}
