//! Scope sets, each kept once: a million tokens share a handful.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use super::shards::{read, write};

/// Names one scope set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScopeSet(u32);

#[derive(Debug, Default)]
pub(super) struct ScopeSets(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    sets: Vec<Arc<[String]>>,
    names: HashMap<Arc<[String]>, ScopeSet>,
}

impl ScopeSets {
    pub(super) fn intern(&self, scopes: &[String]) -> ScopeSet {
        if let Some(&set) = read(&self.0).names.get(scopes) {
            return set;
        }
        let mut inner = write(&self.0);
        let set = ScopeSet(inner.sets.len() as u32);
        let scopes: Arc<[String]> = scopes.into();
        inner.sets.push(Arc::clone(&scopes));
        inner.names.insert(scopes, set);
        set
    }

    pub(super) fn get(&self, set: ScopeSet) -> Arc<[String]> {
        read(&self.0).sets.get(set.0 as usize).cloned().unwrap_or_default()
    }

    /// The sets as they are now, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<[String]>> {
        read(&self.0).sets.clone()
    }

    /// The table with these sets.
    pub(super) fn of(sets: Vec<Vec<String>>) -> Self {
        let all = Self::default();
        for set in &sets {
            all.intern(set);
        }
        all
    }
}

impl ScopeSet {
    /// The number that an image names it by.
    pub(super) const fn number(self) -> u32 {
        self.0
    }

    /// The set with a number, if there is one among so many.
    pub(super) fn of(number: u32, sets: usize) -> Option<Self> {
        ((number as usize) < sets).then_some(Self(number))
    }
}
