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
    Filter, HISTORY_VERSION, History, HistoryError, HistoryProgress, HistoryReader, KeptRow, KeptToken,
    Leads, Order, Rebuilt, ShownRow, StoredHistory, history_seen, row_and_tokens,
};
pub use timeline::{Moment, timeline, token_timeline};
