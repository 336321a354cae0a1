//! Where each stream ends: in memory, and in `ledger.heads` so that a start need not read the whole ledger. Knows: the
//! last position of each stream, and the file. Must not know: how appends are decided, or when the file is written.
//!
//! All of it is derived from the log. The file says up to which record it is complete, and a checksum covers it; one that
//! is missing or damaged is made again from the log. A stream takes about 50 bytes of memory, and 24 of the file.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use grantbook_events::{Position, StreamName};
use lru::LruCache;
use parking_lot::Mutex;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::rows::StreamHead;
use super::schema::{Log, cannot_write, damaged};
use super::seen_file::{self, End};
use crate::files::{self, with_suffix};
use crate::store::{MAX_PAGE, StoreError};

/// After how many records the file is written again while more are appended.
const SAVE_AFTER: usize = 250_000;
/// The whole file is written each time, so it waits until one record was appended for so many streams.
const STREAMS_A_RECORD: usize = 16;
/// Of how many streams the end is known without a look at its record.
const RECENT: NonZeroUsize = NonZeroUsize::MIN.saturating_add(16_383);
/// A key and a position.
const ROW: usize = 16 + 8;

/// The first 16 bytes of the SHA-256 of a stream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 16]);

impl Key {
    pub(super) fn of(stream: &StreamName) -> Self {
        let digest: [u8; 32] = Sha256::digest(stream.as_str().as_bytes()).into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

/// The last position of each stream.
pub(super) type LastPositions = HashMap<Key, Position>;

#[derive(Debug)]
pub(super) struct Heads {
    path: PathBuf,
    identity: Uuid,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: LastPositions,
    /// Of the streams that were written lately.
    recent: LruCache<Key, StreamHead>,
    end: End,
    /// Up to where the file is complete; none if it must be written in any case.
    saved: Option<Position>,
}

impl Heads {
    /// Reads the file or makes it again, and catches up with the log.
    pub(super) fn open(path: &Path, identity: Uuid, log: &Log) -> Result<Self, StoreError> {
        let read = || {
            let (end, last) = read(path, identity)?;
            Self::caught_up(path, identity, (end, last), Some(end.position), log)
        };
        read().or_else(|error| {
            if log.last_position()? > Position::START {
                // What to do about a damaged ledger is no advice for a file that is made again.
                let reason =
                    if let StoreError::Damaged { detail, .. } = error { detail } else { error.to_string() };
                tracing::info!(%reason, "rebuilding the index of streams from the ledger");
            }
            let nothing = (End::NOTHING, LastPositions::new());
            let heads = Self::caught_up(path, identity, nothing, None, log)?;
            heads.save_or_warn();
            Ok(heads)
        })
    }

    /// Follows the log from where what is known ends, and compares every record with its digest and its chain.
    fn caught_up(
        path: &Path,
        identity: Uuid,
        (end, last): (End, LastPositions),
        saved: Option<Position>,
        log: &Log,
    ) -> Result<Self, StoreError> {
        let state = State { last, recent: LruCache::new(RECENT), end, saved };
        let heads = Self { path: path.to_owned(), identity, state: Mutex::new(state) };
        loop {
            let page = log.page(heads.end().position, MAX_PAGE)?;
            if page.is_empty() {
                return Ok(heads);
            }
            for record in &page {
                log.check_follows(record, heads.end_of(&record.stream, log)?.as_ref())?;
                heads.advance([(Key::of(&record.stream), StreamHead::of(record))], End::of(record));
            }
        }
    }

    /// Where a stream ends.
    pub(super) fn end_of(&self, stream: &StreamName, log: &Log) -> Result<Option<StreamHead>, StoreError> {
        let key = Key::of(stream);
        let position = {
            let mut state = self.state.lock();
            if let Some(head) = state.recent.get(&key) {
                return Ok(Some(*head));
            }
            let Some(position) = state.last.get(&key) else { return Ok(None) };
            *position
        };
        let record = log.at(position)?;
        match record.stream == *stream {
            true => Ok(Some(StreamHead::of(&record))),
            false => Err(log.damaged(position, "the record is not the last of its stream")),
        }
    }

    /// Takes in what was committed.
    pub(super) fn advance(&self, heads: impl IntoIterator<Item = (Key, StreamHead)>, end: End) {
        let mut state = self.state.lock();
        for (key, head) in heads {
            state.last.insert(key, head.position);
            state.recent.put(key, head);
        }
        state.end = end;
    }

    /// Up to where all streams are known.
    pub(super) fn end(&self) -> End {
        self.state.lock().end
    }

    /// Whether enough was appended since the file was written.
    pub(super) fn is_due(&self, is_idle: bool) -> bool {
        let state = self.state.lock();
        let saved = state.saved.unwrap_or(Position::START).as_u64();
        let appended = usize::try_from(state.end.position.as_u64() - saved).unwrap_or(usize::MAX);
        let enough = if is_idle { 1 } else { SAVE_AFTER };
        appended >= enough.max(state.last.len() / STREAMS_A_RECORD)
    }

    /// Writes the file, unless it is complete. Nothing is lost if it cannot be written: the next start catches up.
    pub(super) fn save_or_warn(&self) {
        let (end, bytes) = {
            let state = self.state.lock();
            if state.saved == Some(state.end.position) {
                return;
            }
            (state.end, encode(self.identity, state.end, &state.last))
        };
        match write_all(&self.path, &bytes) {
            Ok(()) => self.state.lock().saved = Some(end.position),
            Err(error) => {
                let path = self.path.display();
                tracing::warn!(%path, %error, "the index of streams cannot be written; it is tried again later");
            }
        }
    }
}

/// Writes the file of a ledger that is not served yet.
pub(super) fn write(path: &Path, identity: Uuid, end: End, last: &LastPositions) -> Result<(), StoreError> {
    write_all(path, &encode(identity, end, last)).map_err(|error| cannot_write(path, &error))
}

/// Under one name until it is whole, so that a process that is killed leaves at most one unfinished file.
fn write_all(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = with_suffix(path, ".new");
    files::remove(&unfinished)?;
    files::open(&unfinished)?.write_all(bytes)?;
    files::rename(&unfinished, path)
}

/// What the file of a ledger says.
pub(super) fn read(path: &Path, identity: Uuid) -> Result<(End, LastPositions), StoreError> {
    let wrong = |what: &str| Err(damaged(path, Position::START, what));
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return wrong(&error.to_string()),
    };
    match decode(&bytes) {
        Some((ledger, end, last)) if ledger == identity => Ok((end, last)),
        Some(_) => wrong("it belongs to another ledger"),
        None => wrong("it is not what was written"),
    }
}

/// It begins as `ledger.seen` does, so that it is evidence of where the ledger ended, too.
fn encode(identity: Uuid, end: End, last: &LastPositions) -> Vec<u8> {
    let mut bytes = seen_file::encode(identity, end);
    bytes.reserve_exact(last.len() * ROW + size_of::<u32>());
    for (key, position) in last {
        bytes.extend(key.0);
        bytes.extend(position.as_u64().to_le_bytes());
    }
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(Uuid, End, LastPositions)> {
    let (bytes, crc) = bytes.split_last_chunk()?;
    let (begin, rows) = bytes.split_at_checked(seen_file::LENGTH)?;
    let (rows, rest) = rows.as_chunks::<ROW>();
    if crc32fast::hash(bytes) != u32::from_le_bytes(*crc) || !rest.is_empty() {
        return None;
    }
    let (identity, end) = seen_file::decode(begin)?;
    let mut last = LastPositions::with_capacity(rows.len());
    for row in rows {
        let (key, position) = row.split_first_chunk()?;
        last.insert(Key(*key), Position::new(u64::from_le_bytes(position.try_into().ok()?)));
    }
    Some((identity, end, last))
}
