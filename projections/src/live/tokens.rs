//! The token table: digest → token.
//!
//! The entry that a token check reads holds all the check needs (digest, expiry, app), so that a check
//! is one look-up; everything else about a token lies beside it in the same shard.

mod image;

use std::sync::Arc;

use grantbook_events::{ClientId, SecretDigest, Timestamp, TokenId, UserId};
use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::apps::AppHandle;
use super::digest::StateDigest;
use super::installations::Installations;
use super::scope_sets::{ScopeSet, ScopeSets};
use super::shards::{Frozen, Place, Sharded, random_bits, spread};

/// A token about to enter the table.
#[derive(Debug)]
pub(super) struct NewToken<'a> {
    pub token_id: TokenId,
    pub digest: SecretDigest,
    pub user_id: UserId,
    pub scopes: &'a [String],
    pub issued_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub app: Arc<AppHandle>,
    pub installation: Place,
}

/// A token found in the table.
#[derive(Debug)]
pub(super) struct Found {
    pub token_id: TokenId,
    pub client_id: ClientId,
    pub user_id: UserId,
    pub scopes: Arc<[String]>,
    pub issued_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub installation: Place,
    /// Whether its app is active, without which it is not valid.
    pub app_is_active: bool,
}

/// What a token check reads.
#[derive(Debug)]
struct Entry {
    digest: SecretDigest,
    /// `Timestamp::from_micros(i64::MAX)` never expires.
    expires_at: Timestamp,
    app: Arc<AppHandle>,
    slot: u32,
}

/// What only answers need.
#[derive(Debug)]
struct Details {
    token_id: TokenId,
    /// The hash of the digest, by which the entry is found again; the slot tells it from others.
    hash: u64,
    user_id: UserId,
    issued_at: Timestamp,
    scopes: ScopeSet,
    installation: Place,
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    entries: HashTable<Entry>,
    details: Vec<Option<Details>>,
    free: Vec<u32>,
}

/// Token id → place, kept as 32 bits of the id beside the place; the row has the whole id.
#[derive(Debug, Default)]
struct IdShard(HashTable<(u32, Place)>);

#[derive(Debug, Default)]
pub(super) struct Tokens {
    shards: Sharded<Shard>,
    ids: Sharded<IdShard>,
    scopes: Arc<ScopeSets>,
}

const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

fn shard_of(digest: &SecretDigest) -> usize {
    usize::from(digest.as_bytes()[0])
}

fn hash_of(digest: &SecretDigest) -> u64 {
    random_bits(digest.as_bytes())
}

/// The last 8 bytes of a UUIDv7 are random but for two bits.
fn id_hash(id: &TokenId) -> u32 {
    random_bits(id.as_uuid().as_bytes()) as u32
}

fn id_shard(id: &TokenId) -> usize {
    usize::from(id.as_uuid().as_bytes()[9])
}

impl Tokens {
    pub(super) fn insert(&self, token: NewToken<'_>) -> Result<Place, &'static str> {
        if self.find_id(&token.token_id).is_some() {
            return Err("a token with the same id exists");
        }
        let shard_index = shard_of(&token.digest);
        let mut guard = self.shards.write(shard_index);
        let shard = &mut *guard;
        let hash = hash_of(&token.digest);
        let vacant = match shard.entries.entry(hash, |e| e.digest == token.digest, |e| hash_of(&e.digest)) {
            Slot::Occupied(_) => return Err("a token with the same digest exists"),
            Slot::Vacant(vacant) => vacant,
        };
        let slot = shard.free.pop().map_or(shard.details.len(), |slot| slot as usize);
        let place = Place::new(shard_index, slot)?;
        let details = Some(Details {
            token_id: token.token_id,
            hash,
            user_id: token.user_id,
            issued_at: token.issued_at,
            scopes: self.scopes.intern(token.scopes),
            installation: token.installation,
        });
        match shard.details.get_mut(slot) {
            Some(free) => *free = details,
            None => shard.details.push(details),
        }
        vacant.insert(Entry {
            digest: token.digest,
            expires_at: token.expires_at.unwrap_or(NEVER),
            app: token.app,
            slot: slot as u32,
        });
        drop(guard);
        self.find_by_id(&token.token_id, place);
        Ok(place)
    }

    /// Lets a token be found by its id.
    fn find_by_id(&self, token_id: &TokenId, place: Place) {
        let hash = id_hash(token_id);
        let mut ids = self.ids.write(id_shard(token_id));
        ids.0.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
    }

    pub(super) fn remove(&self, place: Place) {
        let mut guard = self.shards.write(place.shard());
        let shard = &mut *guard;
        let Some(details) = shard.details.get_mut(place.slot()).and_then(Option::take) else { return };
        shard.free.push(place.slot() as u32);
        if let Ok(entry) = shard.entries.find_entry(details.hash, |e| e.slot as usize == place.slot()) {
            entry.remove();
        }
        drop(guard);
        let mut ids = self.ids.write(id_shard(&details.token_id));
        let hash = id_hash(&details.token_id);
        if let Ok(entry) = ids.0.find_entry(spread(hash), |&(_, at)| at == place) {
            entry.remove();
        }
    }

    pub(super) fn is_valid(&self, digest: &SecretDigest, now: Timestamp) -> bool {
        let shard = self.shards.read(shard_of(digest));
        let entry = shard.entries.find(hash_of(digest), |entry| entry.digest == *digest);
        entry.is_some_and(|entry| now < entry.expires_at && entry.app.is_active())
    }

    pub(super) fn has(&self, digest: &SecretDigest) -> bool {
        let shard = self.shards.read(shard_of(digest));
        shard.entries.find(hash_of(digest), |entry| entry.digest == *digest).is_some()
    }

    pub(super) fn find_valid(&self, digest: &SecretDigest, now: Timestamp) -> Option<Found> {
        let shard = self.shards.read(shard_of(digest));
        let entry = shard.entries.find(hash_of(digest), |entry| entry.digest == *digest)?;
        self.found(&shard, entry, now).filter(|found| found.app_is_active)
    }

    /// The token at a place, if it has not expired.
    pub(super) fn describe(&self, place: Place, now: Timestamp) -> Option<Found> {
        let shard = self.shards.read(place.shard());
        let details = shard.details.get(place.slot())?.as_ref()?;
        let entry = shard.entries.find(details.hash, |entry| entry.slot as usize == place.slot())?;
        self.found(&shard, entry, now)
    }

    fn found(&self, shard: &Shard, entry: &Entry, now: Timestamp) -> Option<Found> {
        (now < entry.expires_at).then(|| self.row(shard, entry))?
    }

    fn row(&self, shard: &Shard, entry: &Entry) -> Option<Found> {
        let details = shard.details.get(entry.slot as usize)?.as_ref()?;
        Some(Found {
            token_id: details.token_id,
            client_id: entry.app.client_id,
            user_id: details.user_id.clone(),
            scopes: self.scopes.get(details.scopes),
            issued_at: details.issued_at,
            expires_at: Some(entry.expires_at).filter(|end| *end != NEVER),
            installation: details.installation,
            app_is_active: entry.app.is_active(),
        })
    }

    /// From when on the token at a place is refused: the end of time for one that does not expire.
    pub(super) fn expiry(&self, place: Place) -> Option<Timestamp> {
        let shard = self.shards.read(place.shard());
        let hash = shard.details.get(place.slot())?.as_ref()?.hash;
        let entry = shard.entries.find(hash, |entry| entry.slot as usize == place.slot())?;
        Some(entry.expires_at)
    }

    pub(super) fn find_id(&self, token_id: &TokenId) -> Option<Place> {
        let ids = self.ids.read(id_shard(token_id));
        let hash = id_hash(token_id);
        ids.0.iter_hash(spread(hash)).filter(|(found, _)| *found == hash).map(|&(_, place)| place).find(
            |place| {
                let shard = self.shards.read(place.shard());
                let details = shard.details.get(place.slot()).and_then(Option::as_ref);
                details.is_some_and(|details| details.token_id == *token_id)
            },
        )
    }

    pub(super) fn installation_of(&self, place: Place) -> Option<Place> {
        let shard = self.shards.read(place.shard());
        Some(shard.details.get(place.slot())?.as_ref()?.installation)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.entries.len()).sum()
    }

    /// The scope sets that tokens name.
    pub(super) fn scope_sets(&self) -> &ScopeSets {
        &self.scopes
    }

    /// Every shard's digest as of now, which must be a moment at which nothing is written.
    pub(super) fn freeze_digest(&self, installations: &Arc<Installations>) -> Frozen<'_, Shard, StateDigest> {
        let (scopes, installations) = (Arc::clone(&self.scopes), Arc::clone(installations));
        self.shards.freeze(move |shard| {
            let mut digest = StateDigest::default();
            for entry in &shard.entries {
                let Some(Some(details)) = shard.details.get(entry.slot as usize) else { continue };
                // Where an installation lies and what it is called never changes.
                let installation = installations.identity(details.installation);
                digest.add(
                    "token",
                    &[
                        details.token_id.as_uuid().as_bytes(),
                        entry.digest.as_bytes(),
                        installation.map(|(id, _)| id.to_string()).unwrap_or_default().as_bytes(),
                        details.user_id.as_str().as_bytes(),
                        scopes.get(details.scopes).join(" ").as_bytes(),
                        &details.issued_at.as_micros().to_le_bytes(),
                        &entry.expires_at.as_micros().to_le_bytes(),
                    ],
                );
            }
            digest
        })
    }

    /// The rows of one shard, valid or not.
    pub(super) fn rows_of_shard(&self, shard: usize) -> Vec<(SecretDigest, Found)> {
        let shard = self.shards.read(shard);
        let rows = shard.entries.iter();
        rows.filter_map(|entry| Some((entry.digest, self.row(&shard, entry)?))).collect()
    }

    /// The row of a token, valid or not.
    pub(super) fn row_at(&self, place: Place) -> Option<(SecretDigest, Found)> {
        let shard = self.shards.read(place.shard());
        let details = shard.details.get(place.slot())?.as_ref()?;
        let entry = shard.entries.find(details.hash, |entry| entry.slot as usize == place.slot())?;
        Some((entry.digest, self.row(&shard, entry)?))
    }
}
