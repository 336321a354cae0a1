//! Where the ledger is, and how it is opened. Knows: the stores that exist. Must not know: what is done with one.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use uuid::Uuid;

use super::failure::Failure;
use crate::audit::history_seen;
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, ConfigFlags, Sources};
use crate::ledger::Snapshots;
use crate::secrets;
use crate::server::SNAPSHOT_DIR;
use crate::store::{
    self, AcceptLoss, EventStore, EventStoreTarget, Evidence, Lock, SQLITE_LOCK_FILE, Seen, SqliteOptions,
    SqliteStore, Store, StoreError,
};

/// Held by the one process that keeps a node's own files. A ledger in the data directory has a lock of its own.
const LOCK_FILE: &str = "node.lock";

/// The heading, in the help of a command, of the options that many commands have. They come after its own.
pub(super) const SHARED: &str = "Shared options";

/// The flags that say where the ledger is, for commands that need no other setting.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = SHARED)]
pub(super) struct LedgerFlags {
    /// The configuration file [default: ./grantbook.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The directory the ledger is in
    #[arg(long, global = true, value_name = "DIR")]
    data: Option<String>,
    /// The cluster the ledger is in, if it is not in the directory
    #[arg(long, global = true, value_name = "URL")]
    store: Option<String>,
}

impl LedgerFlags {
    pub(super) fn load(&self) -> Result<Config, Failure> {
        let Self { config, data, store } = self;
        let (config, data, store) = (config.clone(), data.clone(), store.clone());
        let flags = ConfigFlags { config, data, store, ..ConfigFlags::default() };
        Ok(Config::load(Sources::from_process(flags)?)?)
    }

    pub(super) fn is_any_set(&self) -> bool {
        self.config.is_some() || self.data.is_some() || self.store.is_some()
    }
}

/// Where a ledger is.
#[derive(Debug, Clone)]
pub(super) enum LedgerPlace {
    Directory(PathBuf),
    Cluster(Arc<EventStoreTarget>),
}

impl LedgerPlace {
    pub(super) fn of(config: &Config) -> Self {
        match &config.store {
            Some(target) => Self::Cluster(Arc::clone(target)),
            None => Self::Directory(config.data_dir.clone()),
        }
    }

    /// Opens it to read it, also while it is served.
    pub(super) async fn open_to_read(self) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Directory(dir) => in_directory(move || SqliteStore::open_read_only(&dir)).await,
            Self::Cluster(target) => in_cluster(target, None, Evidence::default()),
        }
    }

    /// Opens it to append. One that is empty becomes a ledger with this identity.
    pub(super) async fn open_to_append(
        self,
        identity: Uuid,
        evidence: Evidence,
    ) -> Result<Arc<dyn Store>, StoreError> {
        match self {
            Self::Directory(dir) => {
                let options = SqliteOptions { identity, now: SystemClock.now() };
                in_directory(move || SqliteStore::open_with(&dir, options, &evidence)).await
            }
            Self::Cluster(target) => in_cluster(target, Some(identity), evidence),
        }
    }
}

fn in_cluster(
    target: Arc<EventStoreTarget>,
    identity: Option<Uuid>,
    evidence: Evidence,
) -> Result<Arc<dyn Store>, StoreError> {
    let store: Arc<dyn Store> = EventStore::open_checked(target, identity, Arc::new(SystemClock), evidence)?;
    Ok(store)
}

async fn in_directory(
    open: impl FnOnce() -> Result<Arc<SqliteStore>, StoreError> + Send + 'static,
) -> Result<Arc<dyn Store>, StoreError> {
    let opened = tokio::task::spawn_blocking(open).await;
    Ok(opened.map_err(|error| StoreError::Unavailable(error.to_string()))??)
}

/// The ledger to serve, and what is held while it is open.
#[derive(Debug)]
pub(super) struct Opened {
    pub store: Arc<dyn Store>,
    /// Held for as long as the node's own files are kept.
    pub lock: Option<Lock>,
    /// Where these files are kept instead of in the data directory.
    pub derived: Option<TempDir>,
}

/// Opens the ledger to serve it, and makes it if there is none.
///
/// If someone accepts a loss, it goes on from its end although files of the data directory have seen more of it.
pub(super) async fn open(config: &Config, accepts_loss: Option<String>) -> Result<Opened, StoreError> {
    let dir = &config.data_dir;
    let mut lock = None;
    if config.store.is_some() {
        crate::files::create_dir_all(dir)
            .map_err(|error| StoreError::CannotWrite(format!("{}: {error}", dir.display())))?;
        lock = Some(Lock::take(&dir.join(LOCK_FILE))?);
    }
    let accept_loss = accepts_loss.map(|by| AcceptLoss { by, dir: dir.clone() });
    let evidence = Evidence { seen: seen(dir), accept_loss };
    let place = LedgerPlace::of(config);
    let store = place.open_to_append(secrets::new_ledger_identity(), evidence).await?;
    Ok(Opened { store, lock, derived: None })
}

/// Opens the ledger to answer from it where nothing can be written.
pub(super) async fn open_where_nothing_is_written(config: &Config) -> Result<Opened, Failure> {
    let store = match LedgerPlace::of(config) {
        LedgerPlace::Directory(dir) => {
            in_directory(move || SqliteStore::open_whole_read_only(&dir, seen(&dir))).await?
        }
        LedgerPlace::Cluster(target) => {
            let evidence = Evidence { seen: seen(&config.data_dir), accept_loss: None };
            in_cluster(target, None, evidence)?
        }
    };
    Ok(Opened { store, lock: None, derived: Some(tempfile::tempdir()?) })
}

/// What the history and the snapshots in a directory have seen of a ledger.
fn seen(dir: &Path) -> Vec<Seen> {
    let mut seen = Snapshots::new(dir.join(SNAPSHOT_DIR)).seen();
    seen.extend(history_seen(dir));
    seen
}

/// Which process serves the ledger here, in words, whether or not it can be reached.
pub(super) fn served_by(config: &Config) -> Result<Option<String>, Failure> {
    let name = if config.store.is_some() { LOCK_FILE } else { SQLITE_LOCK_FILE };
    let path = config.data_dir.join(name);
    store::held(&path)
        .map_err(|error| Failure::new(format!("{} cannot be looked at: {error}", path.display())))
}
