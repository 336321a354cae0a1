//! The table of installations, ended ones too.

mod image;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use grantbook_events::{AccountId, ClientId, InstallationId, Timestamp};
use hashbrown::HashTable;

use super::apps::AppHandle;
use super::digest::StateDigest;
use super::shards::{Frozen, Place, Sharded, random_bits, spread};

/// A row as others see it.
#[derive(Debug)]
pub(super) struct Row {
    pub installation_id: InstallationId,
    pub client_id: ClientId,
    pub account_id: AccountId,
    pub first_granted_at: Timestamp,
    pub installed_since: Option<Timestamp>,
    pub ended_at: Option<Timestamp>,
    pub epoch: u32,
    pub tokens: Vec<Place>,
}

/// The tokens of an installation: nearly always one.
#[derive(Debug, Default)]
enum Few {
    #[default]
    None,
    One(Place),
    Many(Vec<Place>),
}

impl Few {
    fn as_slice(&self) -> &[Place] {
        match self {
            Self::None => &[],
            Self::One(place) => std::slice::from_ref(place),
            Self::Many(places) => places,
        }
    }

    fn from_vec(mut places: Vec<Place>) -> Self {
        match places.len() {
            0 => Self::None,
            1 => places.pop().map_or(Self::None, Self::One),
            _ => Self::Many(places),
        }
    }
}

#[derive(Debug)]
struct Installed {
    id: InstallationId,
    app: Arc<AppHandle>,
    account: AccountId,
    first_granted_at: Timestamp,
    /// While there are tokens, since when; afterwards, when the last one ended.
    turned_at: Timestamp,
    epoch: u32,
    ever_installed: bool,
    tokens: Few,
}

impl Installed {
    /// Takes out the tokens that ended at a time, and those that expired by then, which can never count
    /// again. If none is left, the row turned when the last of them ended or expired.
    fn take_out(
        &mut self,
        ended: &[Place],
        at: Timestamp,
        expiry: impl Fn(Place) -> Timestamp,
    ) -> Vec<Place> {
        let (out, left): (Vec<_>, Vec<_>) =
            self.tokens.as_slice().iter().partition(|&&token| ended.contains(&token) || expiry(token) <= at);
        if left.is_empty()
            && let Some(last) = out.iter().map(|&token| expiry(token).min(at)).max()
        {
            self.turned_at = last;
        }
        self.tokens = Few::from_vec(left);
        out
    }
}

#[derive(Debug, Default)]
pub(super) struct Shard {
    rows: Vec<Installed>,
    by_id: HashTable<u32>,
}

#[derive(Debug, Default)]
pub(super) struct Installations {
    shards: Sharded<Shard>,
    /// 32 bits of the account's hash beside the place; the row has the whole account id.
    by_account: Sharded<HashTable<(u32, Place)>>,
    hasher: RandomState,
}

fn hash_of(id: &InstallationId) -> u64 {
    random_bits(id.as_uuid().as_bytes())
}

fn shard_of(id: &InstallationId) -> usize {
    usize::from(id.as_uuid().as_bytes()[0])
}

impl Installations {
    pub(super) fn grant(
        &self,
        id: InstallationId,
        app: Arc<AppHandle>,
        account: &AccountId,
        at: Timestamp,
    ) -> Result<(), &'static str> {
        if InstallationId::of(&app.client_id, account) != id {
            return Err("it names another app or account than its stream");
        }
        let mut guard = self.shards.write(shard_of(&id));
        let shard = &mut *guard;
        let rows = &shard.rows;
        if shard.by_id.find(hash_of(&id), |&slot| rows[slot as usize].id == id).is_some() {
            return Ok(());
        }
        let place = Place::new(shard_of(&id), rows.len())?;
        shard
            .by_id
            .insert_unique(hash_of(&id), place.slot() as u32, |&slot| hash_of(&rows[slot as usize].id));
        shard.rows.push(Installed {
            id,
            app: Arc::clone(&app),
            account: account.clone(),
            first_granted_at: at,
            turned_at: at,
            epoch: 0,
            ever_installed: false,
            tokens: Few::None,
        });
        drop(guard);
        self.find_by_account(account, place);
        app.add_installation(place);
        Ok(())
    }

    /// Lets an installation be found by its account.
    fn find_by_account(&self, account: &AccountId, place: Place) {
        let (shard, hash) = self.account_hash(account);
        let mut accounts = self.by_account.write(shard);
        accounts.insert_unique(spread(hash), (hash, place), |&(hash, _)| spread(hash));
    }

    fn account_hash(&self, account: &AccountId) -> (usize, u32) {
        let hash = self.hasher.hash_one(account);
        ((hash >> 32) as usize & 0xff, hash as u32)
    }

    pub(super) fn place(&self, id: InstallationId) -> Option<Place> {
        let shard = self.shards.read(shard_of(&id));
        let slot = shard.by_id.find(hash_of(&id), |&slot| shard.rows[slot as usize].id == id)?;
        Place::new(shard_of(&id), *slot as usize).ok()
    }

    /// Every place whose account may be this one; the caller compares the account.
    pub(super) fn places_on(&self, account: &AccountId) -> Vec<Place> {
        let (shard, hash) = self.account_hash(account);
        let accounts = self.by_account.read(shard);
        accounts
            .iter_hash(spread(hash))
            .filter(|(found, _)| *found == hash)
            .map(|&(_, place)| place)
            .collect()
    }

    pub(super) fn app(&self, place: Place) -> Option<Arc<AppHandle>> {
        Some(Arc::clone(&self.shards.read(place.shard()).rows.get(place.slot())?.app))
    }

    pub(super) fn identity(&self, place: Place) -> Option<(InstallationId, AccountId)> {
        let shard = self.shards.read(place.shard());
        let row = shard.rows.get(place.slot())?;
        Some((row.id, row.account.clone()))
    }

    pub(super) fn row(&self, place: Place) -> Option<Row> {
        let shard = self.shards.read(place.shard());
        let row = shard.rows.get(place.slot())?;
        let installed = !row.tokens.as_slice().is_empty();
        Some(Row {
            installation_id: row.id,
            client_id: row.app.client_id,
            account_id: row.account.clone(),
            first_granted_at: row.first_granted_at,
            installed_since: installed.then_some(row.turned_at),
            ended_at: (!installed && row.ever_installed).then_some(row.turned_at),
            epoch: row.epoch,
            tokens: row.tokens.as_slice().to_vec(),
        })
    }

    /// Adds a token and takes out those that expired; returns these.
    pub(super) fn add_token(
        &self,
        place: Place,
        token: Place,
        at: Timestamp,
        expiry: impl Fn(Place) -> Timestamp,
    ) -> Vec<Place> {
        let mut shard = self.shards.write(place.shard());
        let Some(row) = shard.rows.get_mut(place.slot()) else { return Vec::new() };
        let expired = row.take_out(&[], at, expiry);
        let mut live = row.tokens.as_slice().to_vec();
        if live.is_empty() {
            row.turned_at = at;
        }
        row.ever_installed = true;
        live.push(token);
        row.tokens = Few::from_vec(live);
        expired
    }

    /// Takes out tokens that ended and those that expired; returns them.
    pub(super) fn end_tokens(
        &self,
        place: Place,
        ended: &[Place],
        at: Timestamp,
        expiry: impl Fn(Place) -> Timestamp,
    ) -> Vec<Place> {
        let mut shard = self.shards.write(place.shard());
        let Some(row) = shard.rows.get_mut(place.slot()) else { return Vec::new() };
        row.take_out(ended, at, expiry)
    }

    /// Ends an epoch, which must be the current one; returns the tokens that it ended.
    pub(super) fn uninstall(
        &self,
        place: Place,
        epoch: u32,
        at: Timestamp,
        expiry: impl Fn(Place) -> Timestamp,
    ) -> Result<Vec<Place>, &'static str> {
        let mut shard = self.shards.write(place.shard());
        let Some(row) = shard.rows.get_mut(place.slot()) else { return Ok(Vec::new()) };
        if row.epoch != epoch {
            return Err("it ends another epoch than the current one");
        }
        row.epoch = row.epoch.saturating_add(1);
        let ended = row.tokens.as_slice().to_vec();
        Ok(row.take_out(&ended, at, expiry))
    }

    /// Takes out every token of an installation whose state is not known any more; returns them.
    pub(super) fn quarantine(&self, place: Place) -> Vec<Place> {
        let mut shard = self.shards.write(place.shard());
        let Some(row) = shard.rows.get_mut(place.slot()) else { return Vec::new() };
        std::mem::take(&mut row.tokens).as_slice().to_vec()
    }

    pub(super) fn len(&self) -> usize {
        self.shards.each().map(|shard| shard.rows.len()).sum()
    }

    /// The rows of one shard, which are in the same shard of every such table.
    pub(super) fn rows_of_shard(&self, shard: usize) -> Vec<(Place, InstallationId)> {
        let rows = self.shards.read(shard);
        let placed = rows.rows.iter().enumerate();
        placed.filter_map(|(slot, row)| Some((Place::new(shard, slot).ok()?, row.id))).collect()
    }

    /// Every shard's digest as of now, which must be a moment at which nothing is written.
    pub(super) fn freeze_digest(&self) -> Frozen<'_, Shard, StateDigest> {
        self.shards.freeze(|shard| {
            let mut digest = StateDigest::default();
            shard.rows.iter().for_each(|row| row.digest(&mut digest));
            digest
        })
    }
}

impl Installed {
    fn digest(&self, digest: &mut StateDigest) {
        digest.add(
            "installation",
            &[
                self.id.as_uuid().as_bytes(),
                self.app.client_id.as_uuid().as_bytes(),
                self.account.as_str().as_bytes(),
                &self.first_granted_at.as_micros().to_le_bytes(),
                &self.turned_at.as_micros().to_le_bytes(),
                &self.epoch.to_le_bytes(),
                &[u8::from(self.ever_installed)],
            ],
        );
    }
}
