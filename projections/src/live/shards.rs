//! Splitting a table into shards with a lock each, and seeing all of them as of one moment. Knows: hashes,
//! places and locks. Must not know: rows.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

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

    /// The place as one number.
    pub(super) const fn as_u32(self) -> u32 {
        self.0
    }

    /// The place with a number.
    pub(super) const fn from_u32(number: u32) -> Self {
        Self(number)
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
pub(super) struct Sharded<T> {
    parts: Box<[RwLock<T>]>,
    is_frozen: AtomicBool,
    visit: RwLock<Option<Arc<Visit<T>>>>,
}

impl<T: Default> Default for Sharded<T> {
    fn default() -> Self {
        Self {
            parts: (0..SHARDS).map(|_| RwLock::default()).collect(),
            is_frozen: AtomicBool::new(false),
            visit: RwLock::default(),
        }
    }
}

impl<T> Sharded<T> {
    pub(super) fn read(&self, shard: usize) -> RwLockReadGuard<'_, T> {
        self.parts[shard % SHARDS].read()
    }

    pub(super) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, T> {
        let guard = self.parts[shard % SHARDS].write();
        if self.is_frozen.load(Ordering::Acquire)
            && let Some(visit) = &*self.visit.read()
        {
            visit.see(shard % SHARDS, &guard);
        }
        guard
    }

    pub(super) fn each(&self) -> impl Iterator<Item = RwLockReadGuard<'_, T>> {
        self.parts.iter().map(RwLock::read)
    }

    /// Sees every shard as it is now, although the table goes on changing: a shard that is about to
    /// change before its turn is seen first by the writer that changes it. No writer may be at work at the moment
    /// of this call, and only one such view may be open.
    pub(super) fn freeze<V: Send + 'static>(
        &self,
        see: impl Fn(&T) -> V + Send + Sync + 'static,
    ) -> Frozen<'_, T, V> {
        let seen: Arc<Mutex<Vec<Option<V>>>> = Arc::new(Mutex::new((0..SHARDS).map(|_| None).collect()));
        let into = Arc::clone(&seen);
        let visit = Arc::new(Visit {
            done: (0..SHARDS).map(|_| AtomicBool::new(false)).collect(),
            see: Box::new(move |shard, part| into.lock()[shard] = Some(see(part))),
        });
        *self.visit.write() = Some(Arc::clone(&visit));
        self.is_frozen.store(true, Ordering::Release);
        Frozen { table: self, visit, seen }
    }
}

/// Takes the number of a shard and the shard.
type See<T> = Box<dyn Fn(usize, &T) + Send + Sync>;

/// What each shard is shown to once.
struct Visit<T> {
    done: Box<[AtomicBool]>,
    see: See<T>,
}

impl<T> Visit<T> {
    /// Must be called under the lock of the shard.
    fn see(&self, shard: usize, part: &T) {
        if !self.done[shard].swap(true, Ordering::AcqRel) {
            (self.see)(shard, part);
        }
    }
}

impl<T> fmt::Debug for Visit<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = self.done.iter().filter(|done| done.load(Ordering::Relaxed)).count();
        write!(f, "Visit({done} of {SHARDS})")
    }
}

/// A table as it was at one moment. Dropping it lets the table go.
#[derive(Debug)]
pub(super) struct Frozen<'a, T, V> {
    table: &'a Sharded<T>,
    visit: Arc<Visit<T>>,
    seen: Arc<Mutex<Vec<Option<V>>>>,
}

impl<T, V> Frozen<'_, T, V> {
    /// What was seen of each shard, in order, each given away once.
    pub(super) fn each(&self) -> impl Iterator<Item = V> {
        (0..SHARDS).filter_map(|shard| {
            let part = self.table.read(shard);
            self.visit.see(shard, &part);
            drop(part);
            self.seen.lock()[shard].take()
        })
    }
}

impl<T, V> Drop for Frozen<'_, T, V> {
    fn drop(&mut self) {
        self.table.is_frozen.store(false, Ordering::Release);
        *self.table.visit.write() = None;
    }
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

/// Spreads 32 random bits over the 64 that a hash table wants, its top seven among them.
pub(super) fn spread(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}
