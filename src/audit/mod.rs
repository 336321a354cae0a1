//! Questions about history. Knows: the ledger, events. Must not know: how to change anything, or HTTP.

mod as_of;
mod history;
mod sentences;
#[cfg(test)]
mod tests;
mod timeline;

pub use as_of::{
    AccountThen, AuditError, Change, Changes, Cut, InstallationThen, Past, TokenAnswer, TokenThen,
};
pub use history::{
    Filter, HISTORY, HISTORY_VERSION, History, HistoryError, HistoryReader, Order, Rebuilt, StoredHistory,
    StoredRow, digest_of, history_seen, row_of,
};
pub use timeline::{Moment, timeline, token_timeline};
