//! What `heads.db` says of itself: up to where its rows are good, how many there are, and what they add up to.
//! Knows: rows as bytes, and their digests. Must not know: when the file is read or written.

use grantbook_events::{Position, StreamName};
use rusqlite::{Connection, params};
use sha2::{Digest as _, Sha256};

use super::rows::StreamHead;
use crate::store::ChainDigest;

/// The first 16 bytes of the SHA-256 of a stream's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key(pub [u8; 16]);

impl Key {
    pub(super) fn of(stream: &StreamName) -> Self {
        let digest: [u8; 32] = Sha256::digest(stream.as_str().as_bytes()).into();
        let mut key = [0; 16];
        key.copy_from_slice(&digest[..16]);
        Self(key)
    }
}

/// Up to where the rows are good: the last position looked at, and the digest of the record there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UpTo {
    pub position: Position,
    pub digest: ChainDigest,
}

impl UpTo {
    pub(super) const NOTHING: Self = Self { position: Position::START, digest: ChainDigest::NONE };
}

/// How many rows there are, and the sum of their digests, in whatever order they are added.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Total {
    pub rows: u64,
    pub sum: u128,
}

impl Total {
    pub(super) fn add(&mut self, key: &Key, head: &StreamHead) {
        self.rows = self.rows.wrapping_add(1);
        self.sum = self.sum.wrapping_add(digest_of(key, head));
    }

    pub(super) fn subtract(&mut self, key: &Key, head: &StreamHead) {
        self.rows = self.rows.wrapping_sub(1);
        self.sum = self.sum.wrapping_sub(digest_of(key, head));
    }
}

/// What the file says of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct State {
    pub identity: [u8; 16],
    pub up_to: UpTo,
    pub total: Total,
}

impl State {
    pub(super) fn checksum(&self) -> u32 {
        let mut crc = crc32fast::Hasher::new();
        crc.update(&self.identity);
        crc.update(&self.up_to.position.as_u64().to_le_bytes());
        crc.update(self.up_to.digest.as_bytes());
        crc.update(&self.total.rows.to_le_bytes());
        crc.update(&self.total.sum.to_le_bytes());
        crc.finalize()
    }

    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut replace =
            conn.prepare_cached("INSERT OR REPLACE INTO up_to VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6)")?;
        replace.execute(params![
            &self.identity[..],
            self.up_to.position.as_u64().cast_signed(),
            &self.up_to.digest.as_bytes()[..],
            self.total.rows.cast_signed(),
            &self.total.sum.to_le_bytes()[..],
            self.checksum(),
        ])?;
        Ok(())
    }
}

/// What a row adds to the sum of all rows.
fn digest_of(key: &Key, head: &StreamHead) -> u128 {
    let mut hasher = Sha256::new();
    hasher.update(key.0);
    hasher.update(head.position.as_u64().to_le_bytes());
    hasher.update(head.revision.as_u64().to_le_bytes());
    hasher.update(head.digest.as_bytes());
    let digest: [u8; 32] = hasher.finalize().into();
    let mut half = [0; 16];
    half.copy_from_slice(&digest[..16]);
    u128::from_le_bytes(half)
}
