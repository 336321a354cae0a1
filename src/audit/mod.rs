//! Questions about history. Knows: the ledger, events. Must not know: how to change anything, or HTTP.

mod as_of;
mod history;
mod sentences;
mod timeline;

pub use as_of::{
    AccountThen, AuditError, Change, Changes, Cut, InstallationThen, Past, TokenAnswer, TokenThen,
};
pub use history::{Filter, History, HistoryError, HistoryProgress, HistoryReader, Order, Rebuilt};
pub use timeline::{Moment, timeline, token_timeline};
