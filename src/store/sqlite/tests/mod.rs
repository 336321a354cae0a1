//! The embedded store against the contract, and against files that are not what they should be.

use std::sync::Arc;

use grantbook_events::Timestamp;
use tempfile::TempDir;
use uuid::Uuid;

use super::{Options, SqliteStore};
use crate::store::Store;
use crate::store::contract::store_contract;

const OPTIONS: Options = Options { identity: Uuid::from_u128(7), now: Timestamp::EPOCH };

async fn fresh() -> (Arc<dyn Store>, TempDir) {
    let dir = TempDir::new().unwrap();
    (SqliteStore::open(dir.path(), OPTIONS).unwrap(), dir)
}

store_contract!(fresh);
