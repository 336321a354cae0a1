//! What the environment says of the terminal. Knows: one variable. Must not know: what is shown there.

/// How wide the output may be, in characters, as shells and tests set it.
const COLUMNS_VARIABLE: &str = "COLUMNS";

/// The width that `COLUMNS` says, if it says one.
pub fn terminal_columns() -> Option<u16> {
    let columns = std::env::var_os(COLUMNS_VARIABLE)?.to_str()?.parse().ok()?;
    (columns > 0).then_some(columns)
}
