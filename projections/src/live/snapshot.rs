//! A state as bytes, and back. Knows: the order of the parts. Must not know: files, or whether the bytes are still what
//! was written; the one that keeps them checks that.
//!
//! The parts, each after its length: everything there is little of, which installations each app has, then the shards
//! of the installations. Each part is encoded by postcard. Rows keep their places. The indexes are built again: shards
//! become rows on all processors while the next ones are read, so that only a few parts are held.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use parking_lot::{Mutex, MutexGuard};
use serde::{Deserialize, Serialize};

use super::Live;
use super::facts::Mark;
use super::installations::{Shard, shard_of};
use super::quarantine::Poison;
use super::shards::{Frozen, Place, SHARDS};
use super::tokens::{Entry, id_hash};
use crate::app::App;
use crate::fold::TokenKind;
use crate::installation::Installation;
use crate::operator_key::OperatorKey;

/// Why bytes are not a state of this version.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotBodyError {
    /// They cannot be read.
    #[error("the state cannot be read: {0}")]
    Io(#[from] io::Error),
    /// There are fewer bytes than a part needs.
    #[error("the state ends too early")]
    Truncated,
    /// They are not what was encoded.
    #[error("the state is malformed: {0}")]
    Malformed(&'static str),
    /// A part is not what was encoded, or cannot be.
    #[error("the state is malformed: {0}")]
    Codec(#[from] postcard::Error),
}

/// Everything there is little of.
#[derive(Debug, Serialize, Deserialize)]
struct SmallTables {
    mark: Mark,
    apps: Vec<App>,
    keys: Vec<(OperatorKey, bool)>,
    quarantine: Vec<Poison>,
}

/// A state as it was at one moment, to be written while the projection goes on changing. Only one can be open at a
/// time; another waits.
#[derive(Debug)]
pub struct Image<'a> {
    few: SmallTables,
    installations_of_apps: Vec<Vec<u32>>,
    installations: Frozen<'a, Shard, Result<Vec<u8>, postcard::Error>>,
    _only: MutexGuard<'a, ()>,
}

impl Image<'_> {
    /// The last event in it.
    pub fn mark(&self) -> Mark {
        self.few.mark
    }

    /// Hands over the bytes, a part at a time.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write<E: From<SnapshotBodyError>>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut part = |bytes: Result<Vec<u8>, postcard::Error>| {
            let bytes = bytes.map_err(SnapshotBodyError::from)?;
            write(&(bytes.len() as u64).to_le_bytes())?;
            write(&bytes)
        };
        part(postcard::to_allocvec(&self.few))?;
        part(postcard::to_allocvec(&self.installations_of_apps))?;
        self.installations.each().try_for_each(part)
    }
}

impl Live {
    /// Freezes the state as it is now; `None` before the first event.
    pub fn image(&self) -> Option<Image<'_>> {
        let only = self.frozen.lock();
        let now = self.mark.lock();
        let handles = self.apps.handles();
        let places = handles.iter().map(|handle| handle.installations(0, usize::MAX));
        Some(Image {
            few: SmallTables {
                mark: (*now)?,
                apps: handles.iter().map(|handle| (*handle.state()).clone()).collect(),
                keys: self.keys.all().iter().map(|(key, accepted)| ((**key).clone(), *accepted)).collect(),
                quarantine: self.quarantine.all().iter().map(|poison| (**poison).clone()).collect(),
            },
            installations_of_apps: places
                .map(|places| places.into_iter().map(Place::as_u32).collect())
                .collect(),
            installations: self.installations.shards.freeze(|shard| postcard::to_allocvec(&shard.rows)),
            _only: only,
        })
    }

    /// The state that an image was taken of, which must be all there is to read.
    ///
    /// # Errors
    /// If it cannot be read, or is not a state of [`Live::VERSION`].
    pub fn from_image(mut image: impl Read) -> Result<Self, SnapshotBodyError> {
        let mut part = Vec::new();
        read_part(&mut image, &mut part)?;
        let few: SmallTables = postcard::from_bytes(&part)?;
        read_part(&mut image, &mut part)?;
        let places: Vec<Vec<u32>> = postcard::from_bytes(&part)?;
        if places.len() != few.apps.len() {
            return Err(SnapshotBodyError::Malformed("it has installations of an app that is not in it"));
        }
        let live = Self::default();
        for (app, places) in few.apps.into_iter().zip(places) {
            live.apps.add(app, places.into_iter().map(Place::from_u32).collect());
        }
        few.keys.into_iter().for_each(|(key, is_accepted)| live.keys.put(key, is_accepted));
        few.quarantine.into_iter().for_each(|poison| live.quarantine.add(poison));
        let found = live.read_shards(&mut image)?;
        if image.read(&mut [0])? != 0 {
            return Err(SnapshotBodyError::Malformed("it goes on after its end"));
        }
        live.build_indexes(&found);
        live.position.store(few.mark.position.as_u64(), Ordering::Release);
        *live.mark.lock() = Some(few.mark);
        Ok(live)
    }

    /// Reads the shards of the installations, and what they are to be found by.
    fn read_shards(&self, image: &mut impl Read) -> Result<Vec<Found>, SnapshotBodyError> {
        while_reading(image, |found: &mut Found, number, bytes| {
            let rows: Vec<Installation> = postcard::from_bytes(bytes)?;
            let mut shard = self.installations.shards.write(number);
            shard.reserve(rows.len());
            for (mut row, slot) in rows.into_iter().zip(0..) {
                if shard_of(&row.installation_id) != number {
                    return Err(SnapshotBodyError::Malformed("a row is in the wrong shard"));
                }
                let handle = self.apps.handle(&row.client_id);
                let handle = handle.ok_or(SnapshotBodyError::Malformed("it has a row of an unknown app"))?;
                let place = Place::new(number, slot).map_err(SnapshotBodyError::Malformed)?;
                row.share(&self.texts);
                let (accounts, hash) = self.installations.account_hash(&row.account_id);
                found.accounts.add(accounts, (hash, place));
                for token in row.token_effects() {
                    let (ids, hash) = id_hash(&token.token_id);
                    found.ids.add(ids, (hash, place));
                    if token.kind == TokenKind::Access {
                        let entry = Entry::new(&token, &handle, place);
                        found.tokens.add(entry.shard(), entry);
                    }
                }
                shard.push(row);
            }
            Ok(())
        })
    }

    /// What rows are found by is in other shards than the rows. Each of these is filled at once, because one entry here
    /// and one there would be in no cache.
    fn build_indexes(&self, found: &[Found]) {
        on_all_processors(|shard| {
            fn of<'a, T: Clone + 'a>(
                found: &'a [Found],
                of: impl Fn(&'a Found) -> &'a Spread<T> + Clone + 'a,
                shard: usize,
            ) -> (impl Iterator<Item = T> + 'a, usize) {
                let parts = found.iter().map(move |found| &of(found).0[shard]);
                (parts.clone().flatten().cloned(), parts.map(Vec::len).sum())
            }
            let (accounts, count) = of(found, |found| &found.accounts, shard);
            self.installations.find_by_accounts(shard, accounts, count);
            let (ids, count) = of(found, |found| &found.ids, shard);
            self.tokens.fill_ids(shard, ids, count);
            let (tokens, count) = of(found, |found| &found.tokens, shard);
            self.tokens.fill(shard, tokens, count);
        });
    }
}

/// Entries by the shard they belong in.
#[derive(Debug)]
struct Spread<T>(Vec<Vec<T>>);

impl<T> Default for Spread<T> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Vec::new()).collect())
    }
}

impl<T> Spread<T> {
    fn add(&mut self, shard: usize, entry: T) {
        self.0[shard % SHARDS].push(entry);
    }
}

/// What one processor has found in its shards.
#[derive(Debug, Default)]
struct Found {
    accounts: Spread<(u32, Place)>,
    ids: Spread<(u32, Place)>,
    tokens: Spread<Entry>,
}

/// Reads the next part.
fn read_part(image: &mut impl Read, part: &mut Vec<u8>) -> Result<(), SnapshotBodyError> {
    let cut_short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => SnapshotBodyError::Truncated,
        _ => error.into(),
    };
    let mut length = [0; 8];
    image.read_exact(&mut length).map_err(cut_short)?;
    part.clear();
    // Room is made for what is there, whatever the number says.
    let length = u64::from_le_bytes(length);
    let read = image.take(length).read_to_end(part)?;
    if read as u64 == length { Ok(()) } else { Err(SnapshotBodyError::Truncated) }
}

/// How many parts may be read before their turn.
const PARTS_AHEAD: usize = 4;
/// What is said if a thread panics, which none does.
const BROKE: &str = "a thread broke while it was read";

/// Reads the parts of all shards, does the work of each on some processor, and gives what each processor has found.
fn while_reading<T: Default + Send>(
    image: &mut impl Read,
    work: impl Fn(&mut T, usize, &[u8]) -> Result<(), SnapshotBodyError> + Sync,
) -> Result<Vec<T>, SnapshotBodyError> {
    let (full, next) = mpsc::sync_channel::<(usize, Vec<u8>)>(PARTS_AHEAD);
    let (empty, used) = mpsc::channel();
    let next = Mutex::new(next);
    let take_turns = |empty: mpsc::Sender<Vec<u8>>| {
        let (mut found, mut outcome) = (T::default(), Ok(()));
        loop {
            let Ok((part, bytes)) = next.lock().recv() else { return outcome.map(|()| found) };
            // After an error the rest is only taken, so that the reader does not wait for ever.
            if outcome.is_ok() {
                outcome = work(&mut found, part, &bytes);
            }
            // The reader may have finished.
            let _ = empty.send(bytes);
        }
    };
    std::thread::scope(|scope| {
        let take_turns = &take_turns;
        let workers: Vec<_> = (0..processors())
            .map(|_| {
                let empty = empty.clone();
                scope.spawn(move || take_turns(empty))
            })
            .collect();
        let read = (0..SHARDS).try_for_each(|part| {
            let mut bytes = used.try_recv().unwrap_or_default();
            read_part(image, &mut bytes)?;
            full.send((part, bytes)).map_err(|_| SnapshotBodyError::Malformed(BROKE))
        });
        drop(full);
        let broke = |_| Err(SnapshotBodyError::Malformed(BROKE));
        let found: Result<Vec<T>, _> =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(broke)).collect();
        read.and(found)
    })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(SHARDS)
}

/// Does the work of every shard once, on all processors.
fn on_all_processors(work: impl Fn(usize) + Sync) {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        loop {
            match next.fetch_add(1, Ordering::Relaxed) {
                shard @ 0..SHARDS => work(shard),
                _ => return,
            }
        }
    };
    std::thread::scope(|scope| {
        (1..processors()).for_each(|_| drop(scope.spawn(take_turns)));
        take_turns();
    });
}
