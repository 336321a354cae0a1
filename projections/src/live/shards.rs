//! Splitting a table into shards with a lock each. Knows: hashes, places and locks. Must not know: rows.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// How many shards a table has. Growth of one shard is then short: at 10 M rows a shard holds 40 k.
pub(super) const SHARDS: usize = 256;

/// Where a row is: the shard in the top 8 bits, the slot in the other 24.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place(u32);

impl Place {
    /// The most slots in a shard.
    const SLOTS: usize = 1 << 24;

    pub(super) fn new(shard: usize, slot: usize) -> Result<Self, &'static str> {
        if slot >= Self::SLOTS {
            return Err("the table is full: a shard holds at most 16 777 216 rows");
        }
        Ok(Self((shard as u32) << 24 | slot as u32))
    }

    pub(super) const fn shard(self) -> usize {
        (self.0 >> 24) as usize
    }

    pub(super) const fn slot(self) -> usize {
        (self.0 & 0x00ff_ffff) as usize
    }
}

/// A table in [`SHARDS`] parts.
#[derive(Debug)]
pub(super) struct Sharded<T>(Box<[RwLock<T>]>);

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| RwLock::default()).collect())
    }
}

impl<T> Sharded<T> {
    // A shard whose writer panicked is still a table in order: rows are written whole. So a poisoned
    // lock is taken as it is instead of spreading the panic to every reader.

    pub(super) fn read(&self, shard: usize) -> RwLockReadGuard<'_, T> {
        read(&self.0[shard % SHARDS])
    }

    pub(super) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, T> {
        write(&self.0[shard % SHARDS])
    }

    pub(super) fn each(&self) -> impl Iterator<Item = RwLockReadGuard<'_, T>> {
        self.0.iter().map(read)
    }
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// 64 bits of something that is already uniformly random, such as a SHA-256 or a UUID: no hashing needed.
pub(super) fn random_bits(bytes: &[u8]) -> u64 {
    let mut word = [0; 8];
    let tail = bytes.len().saturating_sub(8);
    for (to, from) in word.iter_mut().zip(&bytes[tail..]) {
        *to = *from;
    }
    // The variant bits of a UUID are in byte 8. A hash table looks at the lowest bits and the highest
    // seven, so those two are turned into the middle.
    u64::from_le_bytes(word).rotate_right(24)
}
