//! The embedded store against the contract, and against files and disks that are not what they should be.

mod backups;
mod damage;
mod full_disk;
mod heads;
mod opening;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use grantbook_events::{Position, Revision, StreamName, Timestamp};
use rusqlite::Connection;
use tempfile::TempDir;
use uuid::Uuid;

use super::writer::Command;
use super::{Options, SqliteStore};
use crate::store::contract::{fresh_stream, new_records, store_contract};
use crate::store::{Append, Expected, MAX_PAGE, NewRecord, Record, Store, StoreError};

impl SqliteStore {
    /// Does something to the writer's connection, before whatever is appended next.
    pub(super) async fn tamper(&self, tamper: impl FnOnce(&Connection) + Send + 'static) {
        let serving = self.serving.as_ref().unwrap();
        assert!(serving.sender().unwrap().send(Command::Tamper(Box::new(tamper))).await.is_ok());
    }

    /// Makes the writer's thread panic.
    pub(crate) async fn break_the_writer(&self) {
        self.tamper(|_| panic!("on purpose")).await;
    }
}

const OPTIONS: Options = Options { identity: Uuid::from_u128(7), now: Timestamp::EPOCH };

async fn fresh() -> (Arc<dyn Store>, TempDir) {
    let dir = TempDir::new().unwrap();
    (open(dir.path()), dir)
}

store_contract!(fresh);

fn open(dir: &Path) -> Arc<SqliteStore> {
    SqliteStore::open(dir, OPTIONS).unwrap()
}

/// Appends to streams in turn, so that their records interleave; returns the streams.
async fn fill(store: &dyn Store, streams: usize, rounds: u64) -> Vec<StreamName> {
    let streams: Vec<_> = (0..streams).map(|_| fresh_stream()).collect();
    for round in 0..rounds {
        for stream in &streams {
            let expected = Expected::after(round.checked_sub(1).map(Revision::new));
            append(store, stream, expected, new_records(1)).await;
        }
    }
    streams
}

async fn append(store: &dyn Store, stream: &StreamName, expected: Expected, records: Vec<NewRecord>) {
    let outcome = store.append(stream, expected, records).await;
    assert!(matches!(outcome, Ok(Append::Appended { .. })), "{outcome:?}");
}

/// Every record, or what stops the reading.
async fn read_everything(store: &dyn Store) -> Result<Vec<Record>, StoreError> {
    let (mut all, mut after) = (Vec::new(), Position::START);
    loop {
        let page = store.read_all(after, MAX_PAGE).await?;
        let Some(last) = page.last() else { return Ok(all) };
        after = last.position;
        all.extend(page);
    }
}

fn copy(from: &Path, to: &Path, names: &[&str]) {
    for name in names {
        if from.join(name).exists() {
            fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}

/// What a crash leaves behind: the files as they are while the store is open.
const LIVE_FILES: &[&str] = &["ledger.db", "ledger.db-wal", "ledger.seen", "ledger.heads"];
