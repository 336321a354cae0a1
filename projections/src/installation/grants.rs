//! The grants of one installation, and how one is found. Knows: slots, and what a grant is looked for by. Must not know:
//! what an event does to them.
//!
//! A grant stays in its slot, so that others can refer to it. A few grants are looked at each; once there are many,
//! an index finds them, so that a decision costs the same however many users an installation has.

use std::hash::{BuildHasher as _, Hash, RandomState};

use grantbook_events::{EndedToken, GrantId, SecretDigest, Timestamp, TokenId, UserId};
use hashbrown::HashTable;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Family, Grant, LiveToken};
use crate::fold::TokenEffect;

/// Up to so many slots are looked at each.
const FEW: usize = 16;

#[derive(Debug, Clone, Default)]
pub(super) struct Grants {
    slots: Vec<Option<Grant>>,
    /// Once there are more than a few slots.
    index: Option<Box<Index>>,
    /// How many grants make it worth looking for those that are not needed any more.
    due: u32,
}

/// Finds slots by the hash of what a grant has; the grant itself tells whether it is the one.
#[derive(Debug, Clone, Default)]
struct Index {
    hasher: RandomState,
    slots: HashTable<(u64, u32)>,
    free: Vec<u32>,
}

/// What a grant is looked for by.
#[derive(Hash)]
enum Key<'a> {
    Grant(&'a GrantId),
    Code(&'a SecretDigest),
    User(&'a UserId),
    Token(&'a TokenId),
    TokenDigest(&'a SecretDigest),
    Family(&'a SecretDigest),
}

impl Index {
    fn hash(&self, key: &Key<'_>) -> u64 {
        self.hasher.hash_one(key)
    }

    /// What a grant has for as long as it is kept.
    fn keys(grant: &Grant) -> [Key<'_>; 3] {
        [Key::Grant(&grant.grant_id), Key::Code(&grant.code_digest), Key::User(&grant.user_id)]
    }

    /// What it has while its tokens are there.
    fn token_keys(grant: &Grant) -> impl Iterator<Item = Key<'_>> {
        let tokens = grant.tokens();
        tokens
            .flat_map(|held| [Key::Token(&held.token.token_id), Key::TokenDigest(&held.token.digest)])
            .chain(grant.family().map(|family| Key::Family(&family.digest)))
    }

    fn add<'a>(&mut self, slot: u32, keys: impl IntoIterator<Item = Key<'a>>) {
        for key in keys {
            let hash = self.hash(&key);
            self.slots.insert_unique(hash, (hash, slot), |(hash, _)| *hash);
        }
    }

    fn remove<'a>(&mut self, slot: u32, keys: impl IntoIterator<Item = Key<'a>>) {
        for key in keys {
            let hash = self.hash(&key);
            if let Ok(entry) = self.slots.find_entry(hash, |entry| *entry == (hash, slot)) {
                entry.remove();
            }
        }
    }
}

impl Grants {
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Grant)> {
        self.slots.iter().zip(0..).filter_map(|(slot, at)| Some((at, slot.as_ref()?)))
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Grant> {
        self.slots.get(slot as usize)?.as_ref()
    }

    pub(super) fn by_id(&self, id: GrantId) -> Option<(u32, &Grant)> {
        self.find(&Key::Grant(&id), |grant| grant.grant_id == id).next()
    }

    pub(super) fn by_code(&self, digest: &SecretDigest) -> Option<(u32, &Grant)> {
        self.find(&Key::Code(digest), |grant| grant.code_digest == *digest).next()
    }

    pub(super) fn by_token(&self, id: TokenId) -> Option<(u32, &Grant)> {
        let has = |grant: &Grant| grant.tokens().any(|held| held.token.token_id == id);
        self.find(&Key::Token(&id), has).next()
    }

    pub(super) fn by_token_digest(&self, digest: &SecretDigest) -> Option<(u32, &Grant)> {
        let has = |grant: &Grant| grant.tokens().any(|held| held.token.digest == *digest);
        self.find(&Key::TokenDigest(digest), has).next()
    }

    pub(super) fn by_family(&self, digest: &SecretDigest) -> Option<(u32, &Grant)> {
        let is_it = |grant: &Grant| grant.family().is_some_and(|family| family.digest == *digest);
        self.find(&Key::Family(digest), is_it).next()
    }

    /// Whether these are all tokens of one grant, and perhaps some that are gone.
    pub(super) fn check_tokens(&self, id: GrantId, tokens: &[EndedToken]) -> Result<(), &'static str> {
        let is_of_another = |(_, grant): (u32, &Grant)| grant.grant_id != id;
        if tokens.iter().any(|token| self.by_token(token.token_id).is_some_and(is_of_another)) {
            return Err("it ends a token of another grant");
        }
        let is_listed = |id| tokens.iter().any(|token| token.token_id == id);
        let mut held = self.by_id(id).into_iter().flat_map(|(_, grant)| grant.tokens());
        if held.any(|held| !is_listed(held.token.token_id)) {
            return Err("it does not end every token of its grant");
        }
        Ok(())
    }

    pub(super) fn of_user(&self, user: &UserId) -> impl Iterator<Item = (u32, &Grant)> {
        self.find(&Key::User(user), |grant| grant.user_id == *user)
    }

    fn find<'a, F: Fn(&Grant) -> bool>(
        &'a self,
        key: &Key<'_>,
        is_it: F,
    ) -> impl Iterator<Item = (u32, &'a Grant)> + use<'a, F> {
        let indexed = self.index.as_ref().map(|index| {
            let hash = index.hash(key);
            index.slots.iter_hash(hash).filter(move |(found, _)| *found == hash).map(|(_, slot)| *slot)
        });
        let each = if indexed.is_none() { 0..self.slots.len() as u32 } else { 0..0 };
        let slots = indexed.into_iter().flatten().chain(each);
        slots.filter_map(|slot| Some((slot, self.get(slot)?))).filter(move |(_, grant)| is_it(grant))
    }

    pub(super) fn insert(&mut self, grant: Grant) {
        let free = match &mut self.index {
            Some(index) => index.free.pop(),
            None => self.slots.iter().zip(0..).find_map(|(slot, at)| slot.is_none().then_some(at)),
        };
        let slot = free.unwrap_or(self.slots.len() as u32);
        if let Some(index) = &mut self.index {
            index.add(slot, Index::keys(&grant));
            index.add(slot, Index::token_keys(&grant));
        }
        match self.slots.get_mut(slot as usize) {
            Some(free) => *free = Some(grant),
            None => {
                // Nearly every installation has one grant: no room is made for others before there are any.
                if self.slots.len() == self.slots.capacity() {
                    self.slots.reserve_exact((self.slots.len() / 2).max(1));
                }
                self.slots.push(Some(grant));
            }
        }
        if self.index.is_none() && self.slots.len() > FEW {
            self.build_index();
        }
    }

    fn build_index(&mut self) {
        let mut index = Index::default();
        // A free slot would have been taken before there were so many.
        for (slot, grant) in self.all() {
            index.add(slot, Index::keys(grant));
            index.add(slot, Index::token_keys(grant));
        }
        self.index = Some(Box::new(index));
    }

    /// Changes what became of a grant's code, and with it its token.
    pub(super) fn change<T: Default>(&mut self, slot: u32, change: impl FnOnce(&mut Grant) -> T) -> T {
        let Some(grant) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return T::default();
        };
        if let Some(index) = &mut self.index {
            index.remove(slot, Index::token_keys(grant));
        }
        let changed = change(grant);
        if let Some(index) = &mut self.index {
            index.add(slot, Index::token_keys(grant));
        }
        changed
    }

    /// Changes what no grant is looked for by.
    pub(super) fn each_mut(&mut self, change: impl FnMut(&mut Grant)) {
        self.slots.iter_mut().flatten().for_each(change);
    }

    fn len(&self) -> usize {
        match &self.index {
            Some(index) => self.slots.len() - index.free.len(),
            None => self.slots.iter().flatten().count(),
        }
    }

    /// Whether there may be many that are not needed any more.
    pub(super) fn is_due(&self) -> bool {
        self.len() >= self.due as usize
    }

    /// Drops expired tokens and grants that no decision can depend on any more; gives the tokens.
    pub(super) fn drop_unneeded(&mut self, at: Timestamp) -> Vec<TokenEffect> {
        let has_expired = |grant: &Grant| grant.tokens().any(|held| !held.token.is_unexpired(at));
        let slots: Vec<u32> =
            self.all().filter(|(_, grant)| has_expired(grant)).map(|(slot, _)| slot).collect();
        let gone = slots.into_iter().flat_map(|slot| self.drop_expired(slot, at)).collect();
        let unneeded: Vec<u32> =
            self.all().filter(|(_, grant)| !grant.matters(at)).map(|(slot, _)| slot).collect();
        for slot in unneeded {
            let dropped = self.slots.get_mut(slot as usize).and_then(Option::take);
            if let (Some(index), Some(grant)) = (&mut self.index, dropped) {
                // Its token is gone, or it would be needed.
                index.remove(slot, Index::keys(&grant));
                index.free.push(slot);
            }
        }
        // Twice as many are looked at before the next time, so that each is looked at about once.
        self.due = u32::try_from(self.len() * 2).unwrap_or(u32::MAX);
        gone
    }

    /// Drops what has expired of one grant. An expired refresh token stays while an access token is there. Else it would be
    /// taken for a spent one when it is presented.
    fn drop_expired(&mut self, slot: u32, at: Timestamp) -> Vec<TokenEffect> {
        let Some(grant) = self.get(slot) else { return Vec::new() };
        let is_over = grant.tokens().all(|held| !held.token.is_unexpired(at));
        let refresh = grant.family().and_then(Family::refresh).map(|token| token.token_id);
        let kept = refresh.filter(|_| !is_over);
        self.drop_tokens(slot, |token| !token.is_unexpired(at) && Some(token.token_id) != kept)
    }

    /// Drops the tokens of one grant that this says of; gives them.
    pub(super) fn drop_tokens(
        &mut self,
        slot: u32,
        is_gone: impl Fn(&LiveToken) -> bool,
    ) -> Vec<TokenEffect> {
        let gone = self.change(slot, |grant| grant.drop_tokens(is_gone));
        gone.into_iter().map(|(token, kind)| token.effect(kind, slot)).collect()
    }

    /// In the order of what was recorded of them last, whatever their slots are.
    fn in_order(&self) -> Vec<&Grant> {
        let mut grants: Vec<_> = self.all().map(|(_, grant)| grant).collect();
        grants.sort_by_key(|grant| grant.revision);
        grants
    }
}

/// Two are the same if they have the same grants, whatever their slots are.
impl PartialEq for Grants {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due && self.in_order() == other.in_order()
    }
}

impl Eq for Grants {}

impl Serialize for Grants {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (self.due, self.in_order()).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Grants {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (due, grants) = <(u32, Vec<Grant>)>::deserialize(deserializer)?;
        let mut grants = Self { slots: grants.into_iter().map(Some).collect(), index: None, due };
        if grants.slots.len() > FEW {
            grants.build_index();
        }
        Ok(grants)
    }
}
