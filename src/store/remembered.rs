//! What was used lately, and not more of it than is good. Knows: how much is remembered. Must not know: what it
//! is, or why it is asked for again.

use std::collections::HashMap;
use std::hash::Hash;

/// A bounded map in two generations: when the younger is full it becomes the older, and the older goes. What is
/// used stays.
#[derive(Debug)]
pub(crate) struct Remembered<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
    /// The most in one generation.
    each: usize,
}

impl<K: Eq + Hash + Clone, V> Remembered<K, V> {
    /// Remembers so many at the most.
    pub(crate) fn new(most: usize) -> Self {
        Self { young: HashMap::new(), old: HashMap::new(), each: (most / 2).max(1) }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<&V> {
        if let Some((key, value)) = self.old.remove_entry(key) {
            self.insert(key, value);
        }
        self.young.get(key)
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.old.remove(&key);
        if self.young.len() >= self.each && !self.young.contains_key(&key) {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, value);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_stays_and_no_more_is_kept_than_is_good() {
        let mut remembered = Remembered::new(8);
        remembered.insert(0, "used");
        for key in 1..100 {
            remembered.insert(key, "not used");
            assert_eq!(remembered.get(&0), Some(&"used"), "after {key}");
            assert!(remembered.len() <= 8);
        }
        assert_eq!(remembered.get(&1), None);
        remembered.insert(0, "changed");
        assert_eq!(remembered.get(&0), Some(&"changed"));
    }
}
