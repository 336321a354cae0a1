//! Where each stream ends: in memory for what was written lately, in `heads.db` for the rest. Knows: which
//! of the two to ask, and when memory goes to the file. Must not know: how appends are decided.
//!
//! Heads pass through three maps: `dirty` (not in the file), `flushing` (being written to it) and
//! `settled` (the last that were written). A head leaves memory only after it has been in the file for
//! one whole flush, so whoever looks in memory first and in the file second finds the newest.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grantbook_events::{Position, StreamName};
use rusqlite::Connection;
use uuid::Uuid;

use super::heads_file::{HeadsFile, file_checksum};
use super::heads_total::{Key, UpTo};
use super::rows::{self, StreamHead};
use super::schema::damaged;
use crate::store::{MAX_PAGE, Record, StoreError};

/// How many heads gather in memory before they are written to the file.
const FLUSH_AT: usize = 250_000;
/// How many may gather while the file cannot be written. Beyond, nothing is appended.
const DIRTY_MAX: usize = 4 * FLUSH_AT;
/// How long nothing must happen before fewer are written.
const IDLE: Duration = Duration::from_secs(5);

type Map = HashMap<Key, StreamHead>;

/// Where each stream ends.
#[derive(Debug)]
pub(super) struct Heads {
    recent: Mutex<Recent>,
    wake: Condvar,
    path: PathBuf,
}

#[derive(Debug)]
struct Recent {
    dirty: Map,
    flushing: Arc<Map>,
    settled: Arc<Map>,
    /// Up to where `dirty` and all below it are complete.
    up_to: UpTo,
    /// Why the file could not be written the last time.
    failure: Option<StoreError>,
    closing: bool,
}

impl Heads {
    /// Opens or rebuilds the file, and catches up with the log.
    pub(super) fn open(
        path: &Path,
        identity: &Uuid,
        expected_crc: Option<u32>,
        log: (&Connection, &Path),
    ) -> Result<(Self, HeadsFile), StoreError> {
        if !path.exists() && rows::last_position(log.0, log.1)? == Position::START {
            // A new ledger: there is nothing to rebuild, and nothing to tell anybody.
            return Self::adopt(HeadsFile::create(path, identity)?, path, identity, log);
        }
        let found = if expected_crc.is_some_and(|crc| file_checksum(path).ok() != Some(crc)) {
            Err(damaged(path, Position::START, "it is not what was written"))
        } else {
            HeadsFile::open(path, true)
                // Nothing vouches for it after an unclean stop.
                .and_then(|file| if expected_crc.is_none() { file.prove().map(|()| file) } else { Ok(file) })
                .and_then(|file| Self::adopt(file, path, identity, log))
        };
        found.or_else(|error| {
            // What to do about a damaged ledger is no advice for a file that is made again.
            let reason =
                if let StoreError::Damaged { detail, .. } = error { detail } else { error.to_string() };
            tracing::info!(%reason, "rebuilding the index of streams from the ledger");
            Self::adopt(HeadsFile::create(path, identity)?, path, identity, log)
        })
    }

    fn adopt(
        mut file: HeadsFile,
        path: &Path,
        identity: &Uuid,
        log: (&Connection, &Path),
    ) -> Result<(Self, HeadsFile), StoreError> {
        let up_to = file.up_to(identity)?;
        let recent = Recent {
            dirty: Map::new(),
            flushing: Arc::default(),
            settled: Arc::default(),
            up_to,
            failure: None,
            closing: false,
        };
        let heads = Self { recent: Mutex::new(recent), wake: Condvar::new(), path: path.to_owned() };
        heads.catch_up(&mut file, log)?;
        Ok((heads, file))
    }

    /// Follows the log from where the file ends, holding every record against its digest and its chain.
    fn catch_up(&self, file: &mut HeadsFile, (log, path): (&Connection, &Path)) -> Result<(), StoreError> {
        loop {
            let up_to = self.lock().up_to;
            let page = rows::page(log, path, up_to.position, MAX_PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            let up_to = UpTo { position: last.position, digest: last.digest };
            file.begin()?;
            let followed = page.iter().try_for_each(|record| self.follow(record, file, path));
            file.end();
            followed?;
            self.lock().up_to = up_to;
            if self.lock().dirty.len() >= FLUSH_AT {
                self.flush(file)?;
            }
        }
    }

    fn follow(&self, record: &Record, file: &HeadsFile, path: &Path) -> Result<(), StoreError> {
        let key = Key::of(&record.stream);
        if !rows::follows(record, self.find(&key, file)?.as_ref()) {
            let what = "the record does not follow the one before it in its stream";
            return Err(damaged(path, record.position, what));
        }
        self.lock().dirty.insert(key, StreamHead::of(record));
        Ok(())
    }

    /// Where a stream ends.
    pub(super) fn find(&self, key: &Key, file: &HeadsFile) -> Result<Option<StreamHead>, StoreError> {
        let recent = self.lock();
        let found = recent.dirty.get(key).or_else(|| recent.flushing.get(key));
        match found.or_else(|| recent.settled.get(key)).copied() {
            Some(head) => Ok(Some(head)),
            None => {
                drop(recent);
                file.find(key)
            }
        }
    }

    /// Where a stream ends; if the file cannot say it, the log does.
    pub(super) fn end_of(
        &self,
        stream: &StreamName,
        file: &HeadsFile,
        (log, log_path): (&Connection, &Path),
    ) -> Result<Option<StreamHead>, StoreError> {
        let key = Key::of(stream);
        match self.find(&key, file) {
            Err(StoreError::Damaged { detail, .. }) => {
                tracing::error!(
                    %stream, detail,
                    "the index of streams is damaged: the ledger is searched instead, and the index is rebuilt at the next start"
                );
                let found = rows::scan_for_head(log, log_path, stream, Position::START)?;
                found.iter().for_each(|head| self.mend(key, *head));
                Ok(found)
            }
            found => found,
        }
    }

    /// Searches the log for a stream that the file does not have, for somebody who knows that it exists.
    pub(super) fn look_again(
        &self,
        stream: &StreamName,
        log: (&Connection, &Path),
    ) -> Result<bool, StoreError> {
        let Some(head) = rows::scan_for_head(log.0, log.1, stream, Position::START)? else {
            return Ok(false);
        };
        tracing::error!(
            %stream, path = %self.path.display(),
            "the index of streams does not have a stream that the ledger has: it is rebuilt at the next start"
        );
        self.mend(Key::of(stream), head);
        Ok(true)
    }

    /// Takes a head from the log. The file does not add up from then on, so that no start trusts it.
    fn mend(&self, key: Key, head: StreamHead) {
        let mut recent = self.lock();
        if !recent.flushing.contains_key(&key) && !recent.settled.contains_key(&key) {
            recent.dirty.entry(key).or_insert(head);
        }
    }

    /// Takes in what was committed.
    pub(super) fn advance(&self, heads: impl Iterator<Item = (Key, StreamHead)>, up_to: UpTo) {
        let mut recent = self.lock();
        recent.dirty.extend(heads);
        recent.up_to = up_to;
        if recent.dirty.len() >= FLUSH_AT {
            self.wake.notify_one();
        }
    }

    /// Refuses when the file is so far behind that memory would not hold what it lacks.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        let recent = self.lock();
        if recent.dirty.len() < DIRTY_MAX {
            return Ok(());
        }
        let why = recent.failure.as_ref().map_or_else(|| "it is too slow".to_owned(), ToString::to_string);
        Err(StoreError::CannotWrite(format!("{} is too far behind the ledger: {why}", self.path.display())))
    }

    /// Writes heads to the file whenever enough have gathered or nothing happens, until the end.
    pub(super) fn keep(&self, mut file: HeadsFile) -> Result<Option<u32>, StoreError> {
        loop {
            let (due, closing) = self.wait();
            if due && let Err(error) = self.flush(&mut file) {
                tracing::warn!(%error, "the index of streams could not be written; it will be tried again");
                if closing {
                    return Err(error);
                }
                self.lock().failure = Some(error);
                std::thread::sleep(Duration::from_millis(200));
            }
            if closing {
                return file.finish();
            }
        }
    }

    /// Waits for something to do: whether to flush, and whether it is the end.
    fn wait(&self) -> (bool, bool) {
        let mut recent = self.lock();
        loop {
            if recent.closing {
                return (true, true);
            }
            if recent.dirty.len() >= FLUSH_AT {
                return (true, false);
            }
            let before = recent.up_to;
            let (woken, timeout) =
                self.wake.wait_timeout(recent, IDLE).unwrap_or_else(PoisonError::into_inner);
            recent = woken;
            if timeout.timed_out() && recent.up_to == before && recent.unwritten() {
                return (true, false);
            }
        }
    }

    fn flush(&self, file: &mut HeadsFile) -> Result<(), StoreError> {
        let (map, up_to) = self.lock().start_flush();
        if map.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<_> = map.iter().map(|(key, head)| (*key, *head)).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        file.put(&sorted, up_to)?;
        let mut recent = self.lock();
        recent.settled = std::mem::take(&mut recent.flushing);
        recent.failure = None;
        Ok(())
    }

    /// Ends `keep`, after one last flush.
    pub(super) fn close(&self) {
        self.lock().closing = true;
        self.wake.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
    fn unwritten(&self) -> bool {
        !self.dirty.is_empty() || !self.flushing.is_empty()
    }

    /// Moves what is dirty to `flushing`, on top of what an earlier flush failed to write.
    fn start_flush(&mut self) -> (Arc<Map>, UpTo) {
        let dirty = std::mem::take(&mut self.dirty);
        if self.flushing.is_empty() {
            self.flushing = Arc::new(dirty);
        } else {
            Arc::make_mut(&mut self.flushing).extend(dirty);
        }
        (Arc::clone(&self.flushing), self.up_to)
    }
}
