//! A state as bytes, and back. Knows: the order of the parts and how numbers and texts are written. Must not
//! know: files, or whether the bytes are still what was written; whoever keeps them sees to that.
//!
//! An image is: a head (JSON: everything there is little of), which installations each app has, then the
//! shards of the installations and those of the tokens, each part preceded by its length. Rows keep their
//! places. What can be found again, such as which token has which id, is not in it. Shards are made into rows
//! on all processors while the next ones are read, so that no more than a few parts are held.

use std::io::{self, Read};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};

use grantbook_events::Timestamp;
use serde::{Deserialize, Serialize};

use super::Live;
use super::apps::{AppHandle, Apps};
use super::facts::Mark;
use super::installations::{self, Installations};
use super::keys::Keys;
use super::quarantine::{Poison, Quarantine};
use super::scope_sets::ScopeSets;
use super::shards::{Frozen, Place, SHARDS, lock};
use super::tokens::{self, Tokens};
use crate::app::RegisteredApp;
use crate::operator_key::IssuedKey;

/// Bytes that are no image of this version.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// They cannot be read.
    #[error("the image cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// There are fewer bytes than the image says.
    #[error("the image ends too early")]
    Truncated,
    /// Something in it cannot be.
    #[error("the image is malformed: {0}")]
    Malformed(&'static str),
}

/// Everything there is little of.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    mark: Mark,
    scope_sets: Vec<Vec<String>>,
    apps: Vec<RegisteredApp>,
    keys: Vec<(IssuedKey, bool)>,
    quarantine: Vec<Poison>,
}

/// A state as it was at one moment, to be written down while the projection goes on changing. Only one can
/// be open at a time; whoever wants another waits.
#[derive(Debug)]
pub struct Image<'a> {
    head: Head,
    installations_of_apps: Vec<u8>,
    installations: Frozen<'a, installations::Shard, Vec<u8>>,
    tokens: Frozen<'a, tokens::Shard, Vec<u8>>,
    _only: MutexGuard<'a, ()>,
}

impl Image<'_> {
    /// The last event in it.
    pub fn mark(&self) -> Mark {
        self.head.mark
    }

    /// Hands over the bytes, a part at a time.
    ///
    /// # Errors
    /// Those of `write`.
    pub fn write<E: From<serde_json::Error>>(
        &self,
        mut write: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let head = serde_json::to_vec(&self.head)?;
        let mut part = |bytes: &[u8]| {
            write(&(bytes.len() as u64).to_le_bytes())?;
            write(bytes)
        };
        part(&head)?;
        part(&self.installations_of_apps)?;
        self.installations.each().chain(self.tokens.each()).try_for_each(|shard| part(&shard))
    }
}

impl Live {
    /// Takes hold of the state as it is now; `None` before the first event.
    pub fn image(&self) -> Option<Image<'_>> {
        let only = lock(&self.frozen);
        let now = lock(&self.mark);
        let mut installations_of_apps = Out::default();
        let handles = self.apps.handles();
        for handle in &handles {
            installations_of_apps.places(&handle.installations(0, usize::MAX));
        }
        Some(Image {
            head: Head {
                mark: (*now)?,
                scope_sets: self.tokens.scope_sets().all().iter().map(|set| set.to_vec()).collect(),
                apps: handles.iter().map(|handle| (*handle.state()).clone()).collect(),
                keys: self
                    .keys
                    .all()
                    .iter()
                    .map(|(key, is_accepted)| ((**key).clone(), *is_accepted))
                    .collect(),
                quarantine: self.quarantine.all().iter().map(|poison| (**poison).clone()).collect(),
            },
            installations_of_apps: installations_of_apps.0,
            installations: self.installations.freeze_image(),
            tokens: self.tokens.freeze_image(),
            _only: only,
        })
    }

    /// The state that an image was taken of, which must be all there is to read.
    ///
    /// # Errors
    /// If it cannot be read, or is no image of [`Live::VERSION`].
    pub fn from_image(mut image: impl Read) -> Result<Self, ImageError> {
        let mut part = Vec::new();
        read_part(&mut image, &mut part)?;
        let head: Head = serde_json::from_slice(&part)
            .map_err(|_| ImageError::Malformed("its head is not what it should be"))?;
        read_part(&mut image, &mut part)?;
        let apps = Apps::of(head.apps, Bytes(&part))?;
        let handles = apps.handles();
        let (installations, tokens) =
            (Installations::default(), Tokens::with(ScopeSets::of(head.scope_sets)));
        let known = Known { apps: &handles };
        let found = while_reading(&mut image, 2 * SHARDS, |found: &mut Found, part, bytes| {
            match part.checked_sub(SHARDS) {
                None => installations.read_image(part, bytes, &known, &mut found.by_account),
                Some(shard) => tokens.read_image(shard, bytes, &known, &mut found.by_id),
            }
        })?;
        if image.read(&mut [0])? != 0 {
            return Err(ImageError::Malformed("it goes on after its end"));
        }
        // What rows are found by lies in other shards than the rows. Each of these is filled at once: one
        // place here and one there would be in no cache.
        on_all_processors(|shard| {
            let of_shard = |of: fn(&Found) -> &Spread| -> Vec<_> {
                found.iter().flat_map(|found| &of(found).0[shard]).copied().collect()
            };
            installations.find_by_accounts(shard, &of_shard(|found| &found.by_account));
            tokens.find_by_ids(shard, &of_shard(|found| &found.by_id));
        });
        let quarantine = Quarantine::default();
        head.quarantine.into_iter().for_each(|poison| quarantine.add(poison));
        let live = Self {
            apps,
            installations: Arc::new(installations),
            tokens,
            keys: Keys::of(head.keys),
            quarantine,
            ..Self::default()
        };
        live.position.store(head.mark.position.as_u64(), Ordering::Release);
        *lock(&live.mark) = Some(head.mark);
        Ok(live)
    }
}

/// What rows refer to by number.
pub(super) struct Known<'a> {
    apps: &'a [Arc<AppHandle>],
}

impl Known<'_> {
    pub(super) fn app(&self, number: u32) -> Result<&Arc<AppHandle>, ImageError> {
        self.apps.get(number as usize).ok_or(ImageError::Malformed("it names an app that is not in it"))
    }
}

/// Places by the shard of the table they are found in, each beside the hash it is found by.
#[derive(Debug)]
pub(super) struct Spread(Vec<Vec<(u32, Place)>>);

impl Default for Spread {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Vec::new()).collect())
    }
}

impl Spread {
    pub(super) fn add(&mut self, shard: usize, hash: u32, place: Place) {
        self.0[shard % SHARDS].push((hash, place));
    }
}

/// What one processor has found in its shards.
#[derive(Debug, Default)]
struct Found {
    by_account: Spread,
    by_id: Spread,
}

/// Reads the next part.
fn read_part(image: &mut impl Read, part: &mut Vec<u8>) -> Result<(), ImageError> {
    let cut_short = |error: io::Error| match error.kind() {
        io::ErrorKind::UnexpectedEof => ImageError::Truncated,
        _ => error.into(),
    };
    let mut length = [0; 8];
    image.read_exact(&mut length).map_err(cut_short)?;
    part.clear();
    // Room is made for what is there, whatever the number says.
    let length = u64::from_le_bytes(length);
    let read = image.take(length).read_to_end(part)?;
    if read as u64 == length { Ok(()) } else { Err(ImageError::Truncated) }
}

/// Reads so many parts, does the work of each on some processor, and gives what each processor came to.
fn while_reading<T: Default + Send>(
    image: &mut impl Read,
    parts: usize,
    work: impl Fn(&mut T, usize, Bytes<'_>) -> Result<(), ImageError> + Sync,
) -> Result<Vec<T>, ImageError> {
    let (full, next) = mpsc::sync_channel::<(usize, Vec<u8>)>(PARTS_AHEAD);
    let (empty, used) = mpsc::channel();
    let next = Mutex::new(next);
    let take_turns = |empty: mpsc::Sender<Vec<u8>>| {
        let (mut came_to, mut outcome) = (T::default(), Ok(()));
        loop {
            let Ok((part, bytes)) = lock(&next).recv() else { return outcome.map(|()| came_to) };
            // After an error the rest is only taken, so that whoever reads does not wait for ever.
            if outcome.is_ok() {
                outcome = work(&mut came_to, part, Bytes(&bytes));
            }
            // Who reads may be through.
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
        let read = (0..parts).try_for_each(|part| {
            let mut bytes = used.try_recv().unwrap_or_default();
            read_part(image, &mut bytes)?;
            full.send((part, bytes)).map_err(|_| ImageError::Malformed(BROKE))
        });
        drop(full);
        let broke = |_| Err(ImageError::Malformed(BROKE));
        let came_to: Result<Vec<T>, _> =
            workers.into_iter().map(|worker| worker.join().unwrap_or_else(broke)).collect();
        read.and(came_to)
    })
}

/// How many parts may be read before their turn.
const PARTS_AHEAD: usize = 4;
/// What is said if a thread panics, which none does.
const BROKE: &str = "a thread broke while it was read";

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

/// Numbers and texts on their way into an image, in little-endian order.
#[derive(Debug, Default)]
pub(super) struct Out(pub(super) Vec<u8>);

impl Out {
    pub(super) fn u32(&mut self, number: u32) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    pub(super) fn time(&mut self, time: Timestamp) {
        self.0.extend_from_slice(&time.as_micros().to_le_bytes());
    }

    /// A text of at most 255 bytes, as the host platform's ids are.
    pub(super) fn short_text(&mut self, text: &str) {
        self.0.push(text.len() as u8);
        self.0.extend_from_slice(text.as_bytes());
    }

    pub(super) fn places(&mut self, places: &[Place]) {
        self.u32(places.len() as u32);
        places.iter().for_each(|place| self.u32(place.as_u32()));
    }
}

/// What is left to read of an image.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], ImageError> {
        let (taken, left) = self.0.split_at_checked(count).ok_or(ImageError::Truncated)?;
        self.0 = left;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], ImageError> {
        let (taken, left) = self.0.split_first_chunk().ok_or(ImageError::Truncated)?;
        self.0 = left;
        Ok(*taken)
    }

    pub(super) fn u32(&mut self) -> Result<u32, ImageError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn time(&mut self) -> Result<Timestamp, ImageError> {
        Ok(Timestamp::from_micros(i64::from_le_bytes(self.array()?)))
    }

    pub(super) fn short_text(&mut self) -> Result<&'a str, ImageError> {
        let [length] = self.array()?;
        std::str::from_utf8(self.take(usize::from(length))?)
            .map_err(|_| ImageError::Malformed("a text in it is not UTF-8"))
    }

    pub(super) fn places(&mut self) -> Result<Vec<Place>, ImageError> {
        let count = self.u32()? as usize;
        // Not more room than there are bytes for, whatever the number says.
        let mut places = Vec::with_capacity(count.min(self.0.len() / 4));
        for _ in 0..count {
            places.push(Place::from_u32(self.u32()?));
        }
        Ok(places)
    }
}
