//! A digest of a whole state that does not depend on the order in which it is read.

use std::fmt;

use serde::Serialize;
use sha2::{Digest, Sha256};

/// The sum, modulo 2^256 in four words, of the SHA-256 of every row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StateDigest([u64; 4]);

impl StateDigest {
    /// Adds one row, given as its fields in a fixed order.
    pub fn add(&mut self, table: &str, fields: &[&[u8]]) {
        let mut hasher = Sha256::new();
        hasher.update(table);
        for field in fields {
            hasher.update((field.len() as u64).to_le_bytes());
            hasher.update(field);
        }
        let hash: [u8; 32] = hasher.finalize().into();
        for (sum, word) in self.0.iter_mut().zip(hash.as_chunks::<8>().0) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
        }
    }

    /// Adds the state of one stream.
    pub(super) fn add_state(&mut self, table: &str, state: &impl Serialize) {
        // Writing into memory does not fail.
        self.add(table, &[&postcard::to_allocvec(state).unwrap_or_default()]);
    }

    /// The sum as 32 bytes.
    pub fn to_bytes(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for (to, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(self.0) {
            *to = word.to_le_bytes();
        }
        bytes
    }

    /// The sum that [`Self::to_bytes`] gave.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        let mut words = [0; 4];
        for (word, from) in words.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*from);
        }
        Self(words)
    }

    /// Adds the rows that are in another.
    pub fn merge(&mut self, other: Self) {
        for (sum, word) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(word);
        }
    }
}

impl fmt::Display for StateDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|word| write!(f, "{word:016x}"))
    }
}
