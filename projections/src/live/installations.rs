//! The table of installations, ended ones too: by id and by account.

use std::hash::{BuildHasher, RandomState};

use grantbook_events::{AccountId, InstallationId};
use hashbrown::HashTable;

use super::shards::{Place, Sharded, random_bits, spread};
use crate::installation::Installation;

#[derive(Debug, Default)]
pub(super) struct Shard {
    pub rows: Vec<Installation>,
    by_id: HashTable<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Installations {
    pub(super) shards: Sharded<Shard>,
    /// 32 bits of the account's hash beside the place; the row has the whole account id.
    by_account: Sharded<HashTable<(u32, Place)>>,
    hasher: RandomState,
}

fn hash_of(id: &InstallationId) -> u64 {
    random_bits(id.as_uuid().as_bytes())
}

pub(super) fn shard_of(id: &InstallationId) -> usize {
    usize::from(id.as_uuid().as_bytes()[0])
}

impl Shard {
    pub(super) fn push(&mut self, row: Installation) {
        let Self { rows, by_id } = self;
        let slot = rows.len() as u32;
        by_id.insert_unique(hash_of(&row.installation_id), slot, |&slot| {
            hash_of(&rows[slot as usize].installation_id)
        });
        rows.push(row);
    }

    pub(super) fn reserve(&mut self, count: usize) {
        self.rows.reserve_exact(count);
        self.by_id.reserve(count, |_| 0);
    }
}

impl Installations {
    pub(super) fn place(&self, id: &InstallationId) -> Option<Place> {
        let shard = self.shards.read(shard_of(id));
        let slot = shard.by_id.find(hash_of(id), |&slot| shard.rows[slot as usize].installation_id == *id)?;
        Place::new(shard_of(id), *slot as usize).ok()
    }

    /// Adds one that is not there yet.
    pub(super) fn add(&self, row: Installation) -> Result<Place, &'static str> {
        let mut shard = self.shards.write(shard_of(&row.installation_id));
        let place = Place::new(shard_of(&row.installation_id), shard.rows.len())?;
        let (accounts, hash) = self.account_hash(&row.account_id);
        shard.push(row);
        drop(shard);
        let mut accounts = self.by_account.write(accounts);
        accounts.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
        Ok(place)
    }

    /// Where an account is found: the shard, and the hash in it.
    pub(super) fn account_hash(&self, account: &AccountId) -> (usize, u32) {
        let hash = self.hasher.hash_one(account);
        ((hash >> 32) as usize & 0xff, hash as u32)
    }

    /// Lets installations be found by their accounts, all of which are found in one shard.
    pub(super) fn find_by_accounts(
        &self,
        shard: usize,
        found: impl Iterator<Item = (u32, Place)>,
        count: usize,
    ) {
        let mut accounts = self.by_account.write(shard);
        accounts.reserve(count, |&(hash, _)| spread(hash));
        for (hash, place) in found {
            accounts.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
        }
    }

    /// Every place whose account may be this one; the caller compares the account.
    pub(super) fn places_on(&self, account: &AccountId) -> Vec<Place> {
        let (shard, hash) = self.account_hash(account);
        let accounts = self.by_account.read(shard);
        let places = accounts.iter_hash(spread(hash)).filter(|(found, _)| *found == hash);
        places.map(|&(_, place)| place).collect()
    }

    /// Looks at a row.
    pub(super) fn look<T>(&self, place: Place, look: impl FnOnce(&Installation) -> T) -> Option<T> {
        self.shards.read(place.shard()).rows.get(place.slot()).map(look)
    }

    pub(super) fn change<T>(&self, place: Place, change: impl FnOnce(&mut Installation) -> T) -> Option<T> {
        self.shards.write(place.shard()).rows.get_mut(place.slot()).map(change)
    }

    pub(super) fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.rows.len()).sum()
    }
}
