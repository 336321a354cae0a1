//! Snapshots of the live projection: written now and then, read back at the start. Knows: the directory, and
//! when one is worth its writing. Must not know: what is in a state.
//!
//! A snapshot saves folding and nothing else. One that is damaged, of another format or version, or of
//! another ledger is named in the log and skipped; then an older one, or the whole ledger, is folded.

mod error;
mod file;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use grantbook_events::Position;
use grantbook_projections::live::{Live, Mark};
use parking_lot::Mutex;
use uuid::Uuid;

use crate::clock::Clock;
use crate::store::{Found, Seen, SeenMark, SeenRecord, Store, StoreError};
pub use error::SnapshotError;
pub use file::SnapshotHeader;
use file::{NAME_END, UNFINISHED_END, name_of, position_of};

/// The directory, beside the snapshots, of those that are only to be compared.
const APART: &str = "compared";
/// How many are kept.
const KEPT: usize = 3;
/// The fewest events that make one worth its writing at the end.
const WORTH_AT_THE_END: u64 = 1000;
/// How many rows of state are written for each event that has not to be folded, at the most.
const ROWS_PER_EVENT: u64 = 4;

/// Where snapshots of the live projection are kept, and how many events apart.
#[derive(Debug, Clone)]
pub struct SnapshotOptions {
    /// The directory.
    pub dir: PathBuf,
    /// The fewest events between two of them. There are more between those of a large state.
    pub every: u64,
}

/// A file that may be a snapshot, and what is known of it.
#[derive(Debug)]
pub struct CheckedSnapshot {
    /// The file.
    pub path: PathBuf,
    /// What it says of itself and the state in it; or why it cannot be used.
    pub outcome: Result<(SnapshotHeader, Live), SnapshotError>,
}

/// A directory of snapshots.
#[derive(Debug, Clone)]
pub struct Snapshots {
    dir: PathBuf,
}

impl Snapshots {
    /// The snapshots in a directory, which need not exist.
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// Where a state is written only to be compared: what is there is neither kept nor loaded.
    #[must_use]
    pub fn apart(&self) -> Self {
        Self { dir: self.dir.join(APART) }
    }

    /// Removes every snapshot.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn clear(&self) -> io::Result<()> {
        self.paths()?.into_iter().try_for_each(fs::remove_file)
    }

    /// Every snapshot file, the newest position first.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn paths(&self) -> io::Result<Vec<PathBuf>> {
        let mut paths = self.ending(NAME_END)?;
        // Names hold positions with leading zeros.
        paths.sort_unstable();
        paths.reverse();
        Ok(paths)
    }

    fn ending(&self, end: &str) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry?.path();
            if path.to_str().is_some_and(|path| path.ends_with(end)) {
                paths.push(path);
            }
        }
        Ok(paths)
    }

    /// Removes what a process that was killed did not finish. Nothing may be being written here meanwhile.
    fn clear_unfinished(&self) -> io::Result<()> {
        self.ending(UNFINISHED_END)?.into_iter().try_for_each(fs::remove_file)
    }

    /// What a snapshot says of itself. Whether that is true is not looked at.
    ///
    /// # Errors
    /// If it says nothing that this grantbook understands.
    pub fn header(path: &Path) -> Result<SnapshotHeader, SnapshotError> {
        file::header(path)
    }

    /// The state in a snapshot of a ledger. Whether the ledger agrees is not looked at.
    ///
    /// # Errors
    /// If it is damaged, or of another ledger, or of another grantbook.
    pub fn load(path: &Path, ledger: Uuid) -> Result<Live, SnapshotError> {
        Ok(file::read(path, ledger)?.1)
    }

    /// Writes a snapshot of any state at all.
    #[cfg(test)]
    pub(crate) fn write(&self, state: &Live, ledger: Uuid) -> PathBuf {
        let now = grantbook_events::Timestamp::EPOCH;
        file::write(&self.dir, &state.image().unwrap(), ledger, now).unwrap()
    }

    /// Reads one snapshot and asks the ledger whether a start can begin with it.
    pub async fn check(&self, path: PathBuf, store: &dyn Store) -> CheckedSnapshot {
        let outcome = read(path.clone(), store).await;
        CheckedSnapshot { path, outcome }
    }

    /// The last event in each snapshot whose first line can be read.
    pub fn seen(&self) -> Vec<Seen> {
        let seen = |path: PathBuf| {
            let SnapshotHeader { ledger, mark, .. } = Self::header(&path).ok()?;
            Some(Seen {
                file: path,
                ledger,
                record: mark.into(),
                is_intact: |seen| file::is_intact(&seen.file).unwrap_or(false),
            })
        };
        self.paths().unwrap_or_default().into_iter().filter_map(seen).collect()
    }

    /// The state of the newest snapshot that can be used. Those that cannot be are named in the log.
    ///
    /// # Errors
    /// If one is in order and the ledger does not have its last event: then the ledger has lost it.
    pub async fn newest(&self, store: &dyn Store) -> Result<Option<Live>, StoreError> {
        let listed = self.clone();
        let paths = tokio::task::spawn_blocking(move || listed.paths()).await.map_err(io::Error::other);
        let paths = paths.flatten().unwrap_or_else(|error| {
            tracing::warn!(dir = %self.dir.display(), %error, "the snapshots cannot be listed");
            Vec::new()
        });
        for path in paths {
            let CheckedSnapshot { path, outcome } = self.check(path, store).await;
            match outcome {
                Ok((header, live)) => {
                    tracing::info!(path = %path.display(), position = %header.mark.position, "snapshot loaded");
                    return Ok(Some(live));
                }
                Err(why @ SnapshotError::NotInLedger { .. }) => {
                    return Err(StoreError::EndsEarly(format!(
                        "{}: {why}: events that were acknowledged are missing, or it is of another ledger and has to be \
                         moved away",
                        path.display()
                    )));
                }
                Err(why) => {
                    tracing::warn!(path = %path.display(), %why, "a snapshot was skipped");
                }
            }
        }
        Ok(None)
    }

    /// Removes all but the newest few up to the last one written. One of a higher position has seen more than this
    /// ledger, or is damaged: that is not decided here.
    fn prune(&self, last: Position) -> io::Result<()> {
        self.clear_unfinished()?;
        let mut kept = 0;
        for path in self.paths()? {
            let Some(position) = position_of(&path) else { continue };
            if position > last {
                continue;
            }
            if kept < KEPT {
                kept += 1;
            } else {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Removes every snapshot but the one of this position.
    ///
    /// # Errors
    /// If one cannot be removed.
    pub fn keep_only(&self, position: Position) -> io::Result<()> {
        let kept = self.dir.join(name_of(position));
        self.paths()?.into_iter().filter(|path| *path != kept).try_for_each(fs::remove_file)
    }
}

impl From<Mark> for SeenRecord {
    fn from(Mark { position, event_id, previous }: Mark) -> Self {
        Self { position, previous, mark: SeenMark::Event(event_id) }
    }
}

async fn read(path: PathBuf, store: &dyn Store) -> Result<(SnapshotHeader, Live), SnapshotError> {
    let head = store.head().await?;
    let broke = |error| SnapshotError::Io(io::Error::other(error));
    let reading = tokio::task::spawn_blocking(move || file::read(&path, head.identity));
    let (header, live) = reading.await.map_err(broke)??;
    let mark = header.mark;
    if store.has(&mark.into()).await? != Found::There {
        return Err(SnapshotError::NotInLedger { position: mark.position, event_id: mark.event_id });
    }
    match live.counts().quarantined {
        0 => Ok((header, live)),
        streams => Err(SnapshotError::Quarantined { streams }),
    }
}

/// Decides when a snapshot is taken, and takes it beside the folding.
#[derive(Debug)]
pub(super) struct SnapshotWriter {
    snapshots: Snapshots,
    every: u64,
    clock: Arc<dyn Clock>,
    /// Which ledger the snapshots are of; known once the store has been asked.
    identity: Mutex<Option<Uuid>>,
    /// Events folded since the last snapshot.
    since: AtomicU64,
    /// How many of them make the next one.
    due: AtomicU64,
    is_taking: AtomicBool,
    /// One is written at a time. The highest position of those written so far.
    writing: Mutex<Position>,
}

impl SnapshotWriter {
    pub(super) fn new(options: SnapshotOptions, clock: Arc<dyn Clock>) -> Self {
        Self {
            snapshots: Snapshots::new(options.dir),
            every: options.every.max(1),
            clock,
            identity: Mutex::default(),
            since: AtomicU64::new(0),
            due: AtomicU64::new(options.every.max(1)),
            is_taking: AtomicBool::new(false),
            writing: Mutex::new(Position::START),
        }
    }

    pub(super) fn snapshots(&self) -> &Snapshots {
        &self.snapshots
    }

    /// Which ledger the snapshots are of. None is taken before this is known.
    pub(super) fn belongs_to(&self, identity: Uuid) {
        *self.identity.lock() = Some(identity);
    }

    /// Nothing is written yet: what is unfinished was left by a process that was killed.
    pub(super) fn clear_unfinished(&self) {
        let _one = self.writing.lock();
        for snapshots in [self.snapshots.clone(), self.snapshots.apart()] {
            if let Err(error) = snapshots.clear_unfinished() {
                tracing::warn!(dir = %snapshots.dir.display(), %error, "unfinished snapshots cannot be removed");
            }
        }
    }

    /// Nothing was folded yet beyond a snapshot.
    pub(super) fn begin_with(&self, live: &Live) {
        self.since.store(0, Ordering::Release);
        self.due.store(self.distance(live), Ordering::Release);
    }

    /// How many events apart snapshots of a state are: the larger it is, the longer writing it takes.
    fn distance(&self, live: &Live) -> u64 {
        let counts = live.counts();
        self.every.max((counts.installations + counts.tokens) as u64 / ROWS_PER_EVENT)
    }

    /// So many events more were folded. Takes a snapshot on another thread when it is time.
    pub(super) fn folded(self: &Arc<Self>, events: u64, live: impl FnOnce() -> Arc<Live>) {
        let since = self.since.fetch_add(events, Ordering::AcqRel) + events;
        if since < self.due.load(Ordering::Acquire) || self.is_taking.swap(true, Ordering::AcqRel) {
            return;
        }
        let (taking, live) = (Taking(Arc::clone(self)), live());
        tokio::task::spawn_blocking(move || {
            if let Err(error) = taking.0.write(&live) {
                tracing::warn!(%error, "no snapshot was written; it is tried again later");
            }
        });
    }

    /// Whether enough was folded for a snapshot to be worth it at the end.
    pub(super) fn is_worth_it(&self) -> bool {
        self.since.load(Ordering::Acquire) >= WORTH_AT_THE_END.min(self.every)
    }

    /// Takes a snapshot and says of which position; `None` before the first event, or with streams in quarantine.
    pub(super) async fn take(self: &Arc<Self>, live: Arc<Live>) -> Result<Option<Position>, SnapshotError> {
        let writer = Arc::clone(self);
        let taking = tokio::task::spawn_blocking(move || writer.write(&live));
        taking.await.map_err(|error| SnapshotError::Io(io::Error::other(error)))?
    }

    /// Writes a snapshot to be compared, in place of any earlier one, and says of which position.
    pub(super) async fn take_apart(
        self: &Arc<Self>,
        live: Arc<Live>,
    ) -> Result<Option<Position>, SnapshotError> {
        let writer = Arc::clone(self);
        let taking = tokio::task::spawn_blocking(move || {
            let _one = writer.writing.lock();
            let identity = *writer.identity.lock();
            let (Some(identity), Some(image)) = (identity, live.image()) else { return Ok(None) };
            let (position, apart) = (image.mark().position, writer.snapshots.apart());
            apart.clear()?;
            file::write(&apart.dir, &image, identity, writer.clock.now())?;
            Ok(Some(position))
        });
        taking.await.map_err(|error| SnapshotError::Io(io::Error::other(error)))?
    }

    fn write(&self, live: &Live) -> Result<Option<Position>, SnapshotError> {
        let mut last = self.writing.lock();
        let Some(identity) = *self.identity.lock() else {
            return Ok(None);
        };
        // What is folded from here on may be in it or not; counting it again does no harm.
        let since = self.since.load(Ordering::Acquire);
        self.due.store(since + self.distance(live), Ordering::Release);
        // No start would begin with it, and it must not push out one that a start can begin with.
        if live.counts().quarantined > 0 {
            return Ok(None);
        }
        let Some(image) = live.image() else { return Ok(None) };
        let position = image.mark().position;
        file::write(&self.snapshots.dir, &image, identity, self.clock.now())?;
        drop(image);
        self.since.fetch_sub(since, Ordering::AcqRel);
        self.due.store(self.distance(live), Ordering::Release);
        // A state that was replaced meanwhile may be written after a newer one, which is kept.
        *last = position.max(*last);
        self.snapshots.prune(*last)?;
        tracing::info!(%position, "snapshot written");
        Ok(Some(position))
    }
}

/// A snapshot is being taken beside the folding; the next can be once this goes, also by a panic.
struct Taking(Arc<SnapshotWriter>);

impl Drop for Taking {
    fn drop(&mut self) {
        self.0.is_taking.store(false, Ordering::Release);
    }
}
