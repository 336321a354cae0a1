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
#[derive(Debug, Default, clap::Args)]
pub(super) struct Wide {
    /// Show every column, and cut nothing to fit the terminal
    #[arg(long)]
    wide: bool,
}

/// A column: its head, where in the JSON its values are (RFC 6901), and how they are shown.
pub(super) type Column<'a> = (&'a str, &'a str, Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// What gives way if there is too little room.
    Name,
    /// The same, but at least so many characters stay.
    Word(u16),
    /// An id, or a short word: always whole.
    Whole,
    /// Always whole, and aligned by its last digit.
    Number,
    /// A time, of which the day matters.
    Day,
    /// A time, of which the second matters.
    Time,
}

impl Kind {
    fn text(self, value: &Value, is_wide: bool) -> String {
        let text = render::text(value);
        let (shown, utc) = match self {
            Self::Day => (DAY, ""),
            Self::Time => (SECOND, "Z"),
            Self::Name | Self::Word(_) | Self::Whole | Self::Number => return text,
        };
        match text.get(..shown) {
            Some(cut) if !is_wide && text.len() > shown => format!("{cut}{utc}"),
            _ => text,
        }
    }

    fn constraint(self, widest: u16) -> ColumnConstraint {
        let least = match self {
            Self::Name => LEAST,
            Self::Word(least) => least,
            Self::Whole | Self::Number | Self::Day | Self::Time => return ColumnConstraint::ContentWidth,
        };
        ColumnConstraint::LowerBoundary(Width::Fixed(widest.min(least) + GAP))
    }
}

impl Wide {
    /// A list: a line for each thing, under a head; `extra` columns with `--wide` only.
    pub(super) fn table(&self, list: &Value, columns: &[Column<'_>], extra: &[Column<'_>]) -> String {
        let items = render::items(list, "items");
        if self.wide {
            return table(items, &[columns, extra].concat(), true, None);
        }
        table(items, columns, false, room())
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
    let mut table = Table::new();
    table.load_style(NOTHING).set_truncation_indicator(CUT);
    let mut head = Row::from(columns.iter().map(|(head, _, _)| head.to_uppercase()));
    let row = |item: &Value| {
        let value = |at: &str| item.pointer(at).unwrap_or(&Value::Null);
        Row::from(columns.iter().map(|(_, at, kind)| kind.text(value(at), is_wide)))
    };
    let mut rows: Vec<Row> = items.iter().map(row).collect();
    if let Some(room) = room {
        // The gap after the last column is cut off again.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(room.saturating_add(GAP));
        for row in rows.iter_mut().chain([&mut head]) {
            row.max_height(1);
        }
    }
    table.set_header(head).add_rows(rows);
    let widest = table.column_max_content_widths();
    for (at, (_, _, kind)) in columns.iter().enumerate() {
        let Some(shown) = table.column_mut(at) else { continue };
        shown.set_padding((0, GAP));
        shown.set_constraint(kind.constraint(widest.get(at).copied().unwrap_or_default()));
        if *kind == Kind::Number {
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
        ("name", "/name", Kind::Name),
        ("owner", "/owner", Kind::Name),
        ("tokens", "/tokens", Kind::Number),
        ("since", "/since", Kind::Day),
        ("client id", "/id", Kind::Whole),
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
        assert!(piped.contains("  2026-01-31  2222"), "{piped}");
        let (list, extra) = (json!({ "items": items() }), [("changed", "/changed", Kind::Time)]);
        let plain = Wide { wide: false }.table(&list, COLUMNS, &extra);
        assert!(plain.contains("NAME") && !plain.contains("CHANGED"), "{plain}");
        let wide = Wide { wide: true }.table(&list, COLUMNS, &extra);
        assert!(wide.contains("Few Deeds") && wide.contains("CHANGED"), "{wide}");
        let times = table(&items(), &extra, false, None);
        assert!(times.contains("2026-01-31T12:00:00Z\n"), "{times}");
        assert!(wide.contains("2026-01-31T12:00:00.000001Z"), "{wide}");
        // However narrow it is, an id is whole.
        let narrow = table(&items(), COLUMNS, false, Some(20));
        assert_eq!(narrow.matches(&"2".repeat(32)).count(), 2, "{narrow}");
        assert_eq!(table(&[], COLUMNS, false, Some(80)), "none\n");
    }
}
