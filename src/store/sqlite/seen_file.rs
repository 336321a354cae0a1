//! `ledger.seen`: the last record that was committed, written after every commit and before anybody is answered.
//! A write-ahead log that loses its end looks to SQLite like one that was never longer; this file knows better.
//! Knows: the file. Must not know: what follows if the ledger ends before.
//!
//! It is written without a sync: it outlives the process, and after a power cut it may be some seconds old. Two
//! places are written in turn, so that one of them is always whole.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use grantbook_events::Position;
use uuid::Uuid;

use crate::files;
use crate::store::{ChainDigest, Record};

/// The last record of a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub position: Position,
    pub digest: ChainDigest,
}

impl End {
    pub(super) const NOTHING: Self = Self { position: Position::START, digest: ChainDigest::NONE };

    pub(super) fn of(last: &Record) -> Self {
        Self { position: last.position, digest: last.digest }
    }
}

/// "grns", at the beginning of each place.
const MARK: [u8; 4] = *b"grns";
/// Mark, identity, position, digest, and a checksum of them.
pub(super) const LENGTH: usize = 4 + 16 + 8 + 32 + 4;
/// Where the two places are, in bytes: in sectors of their own.
const PLACES: [u64; 2] = [0, 4096];

/// The file of a ledger that is served.
#[derive(Debug)]
pub(super) struct SeenFile {
    /// None if it could not be opened.
    file: Option<File>,
    path: PathBuf,
    identity: Uuid,
    next: usize,
    has_failed: bool,
}

impl SeenFile {
    /// A ledger is served without it, too, if the disk has no room for it.
    pub(super) fn open(path: &Path, identity: Uuid, last: End) -> Self {
        let mut seen = Self { file: None, path: path.to_owned(), identity, next: 0, has_failed: false };
        PLACES.iter().for_each(|_| seen.remember(last));
        seen
    }

    /// Remembers the last record. An append does not fail because this does: it is durable already.
    pub(super) fn remember(&mut self, last: End) {
        let place = PLACES[self.next % PLACES.len()];
        self.next += 1;
        let bytes = encode(self.identity, last);
        let written = self.file().and_then(|file| {
            file.seek(SeekFrom::Start(place))?;
            file.write_all(&bytes)
        });
        if let Err(error) = &written
            && !self.has_failed
        {
            let path = self.path.display();
            tracing::warn!(%path, %error, "the last position cannot be remembered; it is tried again at the next");
        }
        self.has_failed = written.is_err();
    }

    fn file(&mut self) -> io::Result<&mut File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => files::open(&self.path)?,
        };
        Ok(self.file.insert(file))
    }
}

/// The last record that a file remembers, and of which ledger; `None` if it remembers nothing.
pub(super) fn read(path: &Path) -> Option<(Uuid, End)> {
    let mut file = File::open(path).ok()?;
    let places = PLACES.into_iter().filter_map(|place| {
        let mut bytes = [0; LENGTH];
        file.seek(SeekFrom::Start(place)).and_then(|_| file.read_exact(&mut bytes)).ok()?;
        decode(&bytes)
    });
    places.max_by_key(|(_, last)| last.position)
}

pub(super) fn encode(identity: Uuid, last: End) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(LENGTH);
    bytes.extend(MARK);
    bytes.extend(identity.as_bytes());
    bytes.extend(last.position.as_u64().to_le_bytes());
    bytes.extend(last.digest.as_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<(Uuid, End)> {
    let (said, crc) = bytes.split_last_chunk::<4>()?;
    let (mark, said) = said.split_first_chunk::<4>()?;
    let (identity, said) = said.split_first_chunk::<16>()?;
    let (position, digest) = said.split_first_chunk::<8>()?;
    let last = End {
        position: Position::new(u64::from_le_bytes(*position)),
        digest: ChainDigest::new(digest.try_into().ok()?),
    };
    let is_whole = *mark == MARK && crc32fast::hash(&bytes[..LENGTH - 4]) == u32::from_le_bytes(*crc);
    is_whole.then(|| (Uuid::from_bytes(*identity), last))
}
