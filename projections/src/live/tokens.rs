//! The index of tokens: digest → access token and token id → installation. A refresh token is found by its id only: it
//! is never what a request to a resource brings.
//!
//! The entry that a token check reads holds all the check needs (digest, expiry, app), so that a check is one
//! look-up. Everything else about a token is in its installation.

use std::sync::Arc;

use grantbook_events::{SecretDigest, Timestamp, TokenId};
use hashbrown::HashTable;

use super::apps::AppHandle;
use super::shards::{Place, Sharded, random_bits, spread};
use crate::fold::{TokenEffect, TokenKind};

/// What a token check reads.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    digest: SecretDigest,
    expires_at: Timestamp,
    app: Arc<AppHandle>,
    /// Its installation, and the slot of its grant there.
    pub(super) place: Place,
    pub(super) slot: u32,
}

impl Entry {
    pub(super) fn new(token: &TokenEffect, app: &Arc<AppHandle>, place: Place) -> Self {
        let TokenEffect { digest, expires_at, slot, .. } = *token;
        Self { digest, expires_at, app: Arc::clone(app), place, slot }
    }

    pub(super) fn is_valid(&self, now: Timestamp) -> bool {
        now < self.expires_at && self.app.is_active()
    }

    pub(super) fn shard(&self) -> usize {
        shard_of(&self.digest)
    }
}

#[derive(Debug, Default)]
pub(super) struct Tokens {
    by_digest: Sharded<HashTable<Entry>>,
    /// 32 bits of the id beside the place; the installation has the whole id.
    by_id: Sharded<HashTable<(u32, Place)>>,
}

fn shard_of(digest: &SecretDigest) -> usize {
    usize::from(digest.as_bytes()[0])
}

fn hash_of(digest: &SecretDigest) -> u64 {
    random_bits(digest.as_bytes())
}

/// Where a token id is found: the shard, and the hash in it. The last 8 bytes of a UUIDv7 are random but for two bits.
pub(super) fn id_hash(id: &TokenId) -> (usize, u32) {
    let bytes = id.as_uuid().as_bytes();
    (usize::from(bytes[9]), random_bits(bytes) as u32)
}

impl Tokens {
    pub(super) fn insert(&self, token: &TokenEffect, app: &Arc<AppHandle>, place: Place) {
        if token.kind == TokenKind::Access {
            let entry = Entry::new(token, app, place);
            let mut entries = self.by_digest.write(entry.shard());
            entries.insert_unique(hash_of(&entry.digest), entry, |entry| hash_of(&entry.digest));
        }
        let (shard, hash) = id_hash(&token.token_id);
        self.by_id.write(shard).insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
    }

    /// Adds tokens whose digests are all found in one shard.
    pub(super) fn fill(&self, shard: usize, found: impl Iterator<Item = Entry>, count: usize) {
        let mut entries = self.by_digest.write(shard);
        entries.reserve(count, |entry| hash_of(&entry.digest));
        for entry in found {
            entries.insert_unique(hash_of(&entry.digest), entry, |entry| hash_of(&entry.digest));
        }
    }

    /// Lets tokens be found by their ids, all of which are found in one shard.
    pub(super) fn fill_ids(&self, shard: usize, found: impl Iterator<Item = (u32, Place)>, count: usize) {
        let mut ids = self.by_id.write(shard);
        ids.reserve(count, |&(hash, _)| spread(hash));
        for (hash, place) in found {
            ids.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
        }
    }

    pub(super) fn remove(&self, token: &TokenEffect, place: Place) {
        let mut entries = self.by_digest.write(shard_of(&token.digest));
        if let Ok(entry) = entries.find_entry(hash_of(&token.digest), |entry| entry.digest == token.digest) {
            entry.remove();
        }
        drop(entries);
        let (shard, hash) = id_hash(&token.token_id);
        let mut ids = self.by_id.write(shard);
        if let Ok(entry) = ids.find_entry(spread(hash), |&(found, at)| found == hash && at == place) {
            entry.remove();
        }
    }

    /// Looks at an entry.
    pub(super) fn look<T>(&self, digest: &SecretDigest, look: impl FnOnce(&Entry) -> T) -> Option<T> {
        let entries = self.by_digest.read(shard_of(digest));
        entries.find(hash_of(digest), |entry| entry.digest == *digest).map(look)
    }

    /// Every place that may have a token with this id; the caller compares the id.
    pub(super) fn places_of(&self, token_id: &TokenId) -> Vec<Place> {
        let (shard, hash) = id_hash(token_id);
        let ids = self.by_id.read(shard);
        let places = ids.iter_hash(spread(hash)).filter(|(found, _)| *found == hash);
        places.map(|&(_, place)| place).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.by_digest.each().map(|entries| entries.len()).sum()
    }
}
