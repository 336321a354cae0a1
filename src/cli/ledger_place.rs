//! Where records rest, as the configuration says. Knows: the stores there are. Must not know: what is done with
//! one.

use std::path::Path;
use std::sync::Arc;

use uuid::Uuid;

use super::failure::Failure;
use crate::audit::history_seen;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::ledger::Snapshots;
use crate::secrets;
use crate::server::SNAPSHOT_DIR;
use crate::store::{
    EventStore, EventStoreOptions, EventStoreTarget, Lock, SQLITE_LOCK_FILE, Seen, SqliteEvidence,
    SqliteOptions, SqliteStore, Store, StoreError,
};

/// Held by the one process that keeps a node's own files. A ledger in the data directory has a lock of its own.
const LOCK_FILE: &str = "node.lock";

/// Which process serves the ledger here, in words, whether or not it can be reached.
pub(super) fn served_by(config: &Config) -> Result<Option<String>, Failure> {
    let name = if config.store.is_some() { LOCK_FILE } else { SQLITE_LOCK_FILE };
    let path = config.data_dir.join(name);
    crate::store::held(&path)
        .map_err(|error| Failure::Failed(format!("{} cannot be looked at: {error}", path.display())))
}

/// A store that takes appends, and what is held while it is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub store: Arc<dyn Store>,
    /// Held for as long as the node's own files are kept.
    pub lock: Option<Lock>,
}

/// Opens the ledger to serve it, and makes it if there is none.
///
/// With `accept_loss` it goes on from its end although files of the data directory have seen more of it.
pub(super) async fn open(config: &Config, accept_loss: bool) -> Result<Opened, StoreError> {
    match &config.store {
        Some(target) => {
            crate::files::create_dir_all(&config.data_dir).map_err(|error| {
                StoreError::CannotWrite(format!("{}: {error}", config.data_dir.display()))
            })?;
            let lock = Lock::take(&config.data_dir.join(LOCK_FILE))?;
            let identity = Some(secrets::new_ledger_identity());
            Ok(Opened { store: in_cluster(target, identity)?, lock: Some(lock) })
        }
        None => {
            let evidence = SqliteEvidence { seen: seen(&config.data_dir), accept_loss };
            let store = in_directory(&config.data_dir, secrets::new_ledger_identity(), evidence).await?;
            Ok(Opened { store, lock: None })
        }
    }
}

/// What the history and the snapshots in a directory have seen of a ledger.
fn seen(dir: &Path) -> Vec<Seen> {
    let mut seen = Snapshots::new(dir.join(SNAPSHOT_DIR)).seen();
    seen.extend(history_seen(dir));
    seen
}

/// Opens the ledger in the data directory to answer from it where nothing can be written.
pub(super) async fn open_where_nothing_is_written(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    if let Some(target) = &config.store {
        return in_cluster(target, None);
    }
    let dir = config.data_dir.clone();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open_whole_read_only(&dir, seen(&dir)));
    Ok(opening.await.map_err(|broke| StoreError::Unavailable(broke.to_string()))??)
}

/// Opens the ledger to read it, also while it is served.
pub(super) async fn open_to_read(config: &Config) -> Result<Arc<dyn Store>, StoreError> {
    match &config.store {
        Some(target) => in_cluster(target, None),
        None => read_directory(&config.data_dir).await,
    }
}

/// Opens the ledger in a cluster: to append, if it is given the identity that one without is made with.
pub(super) fn in_cluster(
    target: &Arc<EventStoreTarget>,
    serve: Option<Uuid>,
) -> Result<Arc<dyn Store>, StoreError> {
    let options = EventStoreOptions::new(serve, Arc::new(SystemClock));
    let store: Arc<dyn Store> = EventStore::open(Arc::clone(target), options)?;
    Ok(store)
}

/// Opens the ledger in a directory, and makes it with an identity if there is none.
pub(super) async fn in_directory(
    dir: &Path,
    identity: Uuid,
    evidence: SqliteEvidence,
) -> Result<Arc<dyn Store>, StoreError> {
    let options = SqliteOptions { identity, now: SystemClock.now() };
    let dir = dir.to_owned();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open_with(&dir, options, &evidence));
    Ok(opening.await.map_err(|broke| StoreError::Unavailable(broke.to_string()))??)
}

/// Opens the ledger in a directory to read it.
pub(super) async fn read_directory(dir: &Path) -> Result<Arc<dyn Store>, StoreError> {
    let dir = dir.to_owned();
    let opening = tokio::task::spawn_blocking(move || SqliteStore::open_read_only(&dir));
    Ok(opening.await.map_err(|broke| StoreError::Unavailable(broke.to_string()))??)
}

/// What only the embedded ledger can do.
pub(super) fn only_embedded(config: &Config, instead: &str) -> Result<(), Failure> {
    match &config.store {
        None => Ok(()),
        Some(_) => Err(Failure::Usage(format!("this ledger is in a cluster: {instead}"))),
    }
}
