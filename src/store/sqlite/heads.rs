//! Where each stream ends: in memory for what was written lately, in `heads.db` for the rest. Knows: which
//! of the two to ask, and when memory goes to the file. Must not know: how appends are decided.
//!
//! Heads pass through three maps: `dirty` (not in the file), `flushing` (being written to it) and
//! `settled` (the last that were written). A head leaves memory only after it has been in the file for
//! one whole flush, so a look in memory first and in the file second finds the newest.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use grantbook_events::{Position, StreamName};
use uuid::Uuid;

use super::heads_file::{HeadsFile, Key, UpTo};
use super::rows::StreamHead;
use super::schema::{Log, cannot_write, damaged};
use crate::store::database::{self, Checked};
use crate::store::{MAX_PAGE, Record, StoreError};

/// How many heads gather in memory before they are written to the file.
const FLUSH_AT: usize = 250_000;
/// How many may gather while the file cannot be written. Beyond, nothing is appended.
const DIRTY_MAX: usize = 4 * FLUSH_AT;

type Map = HashMap<Key, StreamHead>;

/// Where each stream ends.
#[derive(Debug)]
pub(super) struct Heads(Mutex<Recent>);

#[derive(Debug)]
struct Recent {
    dirty: Map,
    flushing: Arc<Map>,
    settled: Arc<Map>,
    /// Up to where `dirty` and all below it are complete.
    up_to: UpTo,
    /// Why the file could not be written the last time.
    failure: Option<StoreError>,
}

impl Heads {
    /// Opens or rebuilds the file, and catches up with the log.
    pub(super) fn open(path: &Path, identity: Uuid, log: &Log) -> Result<(Self, HeadsFile), StoreError> {
        if !path.exists() && log.last_position()? == Position::START {
            // A new ledger: there is nothing to rebuild, and nothing to report.
            return Self::over(HeadsFile::create(path, identity)?, identity, log);
        }
        let open = || {
            let checked = database::take_checksum(path).map_err(|error| cannot_write(path, &error))?;
            if checked == Checked::Changed {
                return Err(damaged(path, Position::START, "it is not what was written"));
            }
            let file = HeadsFile::open(path, true)?;
            if checked == Checked::Unknown {
                file.scan(|_, _| ())?;
            }
            Self::over(file, identity, log)
        };
        open().or_else(|error| {
            // What to do about a damaged ledger is no advice for a file that is made again.
            let reason =
                if let StoreError::Damaged { detail, .. } = error { detail } else { error.to_string() };
            tracing::info!(%reason, "rebuilding the index of streams from the ledger");
            Self::over(HeadsFile::create(path, identity)?, identity, log)
        })
    }

    fn over(file: HeadsFile, identity: Uuid, log: &Log) -> Result<(Self, HeadsFile), StoreError> {
        let recent = Recent {
            dirty: Map::new(),
            flushing: Arc::default(),
            settled: Arc::default(),
            up_to: file.up_to(identity)?,
            failure: None,
        };
        let heads = Self(Mutex::new(recent));
        heads.catch_up(&file, log)?;
        Ok((heads, file))
    }

    /// Follows the log from where the file ends, and compares every record with its digest and its chain.
    fn catch_up(&self, file: &HeadsFile, log: &Log) -> Result<(), StoreError> {
        loop {
            let page = log.page(self.up_to().position, MAX_PAGE)?;
            let Some(last) = page.last() else { return Ok(()) };
            file.begin()?;
            let followed = page.iter().try_for_each(|record| self.follow(record, file, log));
            file.end();
            followed?;
            self.advance([], UpTo::of(last));
            if self.is_due() {
                self.flush(file)?;
            }
        }
    }

    fn follow(&self, record: &Record, file: &HeadsFile, log: &Log) -> Result<(), StoreError> {
        let key = Key::of(&record.stream);
        log.check_follows(record, self.find(&key, file)?.as_ref())?;
        self.lock().dirty.insert(key, StreamHead::of(record));
        Ok(())
    }

    fn find(&self, key: &Key, file: &HeadsFile) -> Result<Option<StreamHead>, StoreError> {
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
        log: &Log,
    ) -> Result<Option<StreamHead>, StoreError> {
        match self.find(&Key::of(stream), file) {
            Err(StoreError::Damaged { detail, .. }) => {
                tracing::error!(
                    %stream, detail,
                    "the index of streams is damaged: the ledger is searched instead, and all of the index is checked at the stop"
                );
                self.search(stream, log)
            }
            found => found,
        }
    }

    /// Searches the log for a stream that exists and that the file does not have.
    pub(super) fn look_again(&self, stream: &StreamName, log: &Log) -> Result<bool, StoreError> {
        let is_there = self.search(stream, log)?.is_some();
        if is_there {
            tracing::error!(
                %stream, ledger = %log.path.display(),
                "the index of streams does not have a stream that the ledger has: it is rebuilt at the next start"
            );
        }
        Ok(is_there)
    }

    /// Takes a head from the log. A row that is missing in the file makes its check at the stop fail, so that the next
    /// start makes the file again; a row that is wrong is written again with the next head.
    fn search(&self, stream: &StreamName, log: &Log) -> Result<Option<StreamHead>, StoreError> {
        let found = log.scan_for_head(stream)?;
        let (mut recent, key) = (self.lock(), Key::of(stream));
        if let Some(head) = found
            && !recent.flushing.contains_key(&key)
            && !recent.settled.contains_key(&key)
        {
            recent.dirty.entry(key).or_insert(head);
        }
        Ok(found)
    }

    /// Takes in what was committed.
    pub(super) fn advance(&self, heads: impl IntoIterator<Item = (Key, StreamHead)>, up_to: UpTo) {
        let mut recent = self.lock();
        recent.dirty.extend(heads);
        recent.up_to = up_to;
    }

    pub(super) fn up_to(&self) -> UpTo {
        self.lock().up_to
    }

    /// Whether enough heads have gathered for a flush.
    pub(super) fn is_due(&self) -> bool {
        self.lock().dirty.len() >= FLUSH_AT
    }

    /// Refuses when memory would not hold what the file lacks.
    pub(super) fn check_room(&self) -> Result<(), StoreError> {
        let recent = self.lock();
        if recent.dirty.len() < DIRTY_MAX {
            return Ok(());
        }
        let why = recent.failure.as_ref().map_or_else(|| "it is too slow".to_owned(), ToString::to_string);
        Err(StoreError::CannotWrite(format!("heads.db is too far behind the ledger: {why}")))
    }

    /// Writes what is not in the file yet to it.
    pub(super) fn flush(&self, file: &HeadsFile) -> Result<(), StoreError> {
        let (map, up_to) = self.lock().start_flush();
        if map.is_empty() {
            return Ok(());
        }
        let mut sorted: Vec<_> = map.iter().map(|(key, head)| (*key, *head)).collect();
        sorted.sort_unstable_by_key(|(key, _)| *key);
        let put = file.put(&sorted, up_to);
        let mut recent = self.lock();
        recent.failure = put.clone().err();
        if put.is_ok() {
            recent.settled = std::mem::take(&mut recent.flushing);
        }
        put
    }

    fn lock(&self) -> MutexGuard<'_, Recent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recent {
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
