//! The files of a ledger, and a ledger file that was opened. Knows: their names. Must not know: what makes them whole.

use std::path::{Path, PathBuf};

use grantbook_events::Timestamp;

use super::schema::{Log, Meta};
use super::seen_file::End;

/// Held by the one process that serves the ledger.
pub const LOCK_FILE: &str = "ledger.lock";

/// The files of a ledger.
#[derive(Debug)]
pub(super) struct Files {
    pub ledger: PathBuf,
    pub heads: PathBuf,
    pub seen: PathBuf,
    pub lock: PathBuf,
}

impl Files {
    pub(super) fn of(dir: &Path) -> Self {
        Self {
            ledger: dir.join("ledger.db"),
            heads: dir.join("ledger.heads"),
            seen: dir.join("ledger.seen"),
            lock: dir.join(LOCK_FILE),
        }
    }
}

/// A ledger file that was opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub log: Log,
    pub meta: Meta,
    pub end: End,
    /// When the last record was recorded.
    pub latest: Timestamp,
}
