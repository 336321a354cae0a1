//! The table of operator keys.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use grantbook_events::{OperatorKeyId, Recorded, SecretDigest, StreamKind};

use super::digest::StateDigest;
use super::shards::{read, write};
use crate::fold::{FoldError, StreamState};
use crate::operator_key::{IssuedKey, OperatorKey};

#[derive(Debug, Default)]
pub(super) struct Keys(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<OperatorKeyId, Arc<IssuedKey>>,
    accepted: HashMap<SecretDigest, OperatorKeyId>,
    in_order: Vec<OperatorKeyId>,
}

impl Keys {
    pub(super) fn apply(&self, recorded: &Recorded) -> Result<(), FoldError> {
        let stream = recorded.envelope.stream.kind();
        let known = match stream {
            Ok(StreamKind::OperatorKey(id)) => self.by_id(&id),
            Ok(StreamKind::App(_) | StreamKind::Installation(_)) | Err(_) => None,
        };
        let mut state = known.as_deref().cloned().map_or(OperatorKey::Absent, OperatorKey::Issued);
        state.apply(recorded)?;
        let OperatorKey::Issued(key) = state else { return Ok(()) };
        if stream != Ok(StreamKind::OperatorKey(key.key_id)) {
            return Err(FoldError::new(recorded, "it names another key than its stream"));
        }
        let mut inner = write(&self.0);
        match key.retired_at {
            None => inner.accepted.insert(key.digest, key.key_id),
            Some(_) => inner.accepted.remove(&key.digest),
        };
        if known.is_none() {
            inner.in_order.push(key.key_id);
        }
        inner.by_id.insert(key.key_id, Arc::new(key));
        Ok(())
    }

    pub(super) fn by_digest(&self, digest: &SecretDigest) -> Option<Arc<IssuedKey>> {
        let inner = read(&self.0);
        inner.by_id.get(inner.accepted.get(digest)?).cloned()
    }

    pub(super) fn by_id(&self, id: &OperatorKeyId) -> Option<Arc<IssuedKey>> {
        read(&self.0).by_id.get(id).cloned()
    }

    pub(super) fn list(&self, skip: usize, limit: usize) -> Vec<Arc<IssuedKey>> {
        let inner = read(&self.0);
        let page = inner.in_order.iter().skip(skip).take(limit);
        page.filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        read(&self.0).in_order.len()
    }

    /// Stops accepting a key whose state is not known any more.
    pub(super) fn quarantine(&self, id: &OperatorKeyId) {
        write(&self.0).accepted.retain(|_, accepted| accepted != id);
    }

    /// The keys as they are now, in order of creation, and whether each is accepted.
    pub(super) fn all(&self) -> Vec<(Arc<IssuedKey>, bool)> {
        let inner = read(&self.0);
        let keys = inner.in_order.iter().filter_map(|id| inner.by_id.get(id));
        keys.map(|key| (Arc::clone(key), inner.accepted.get(&key.digest) == Some(&key.key_id))).collect()
    }

    /// The table with these keys, in order of creation.
    pub(super) fn of(keys: Vec<(IssuedKey, bool)>) -> Self {
        let mut inner = Inner::default();
        for (key, is_accepted) in keys {
            inner.in_order.push(key.key_id);
            if is_accepted {
                inner.accepted.insert(key.digest, key.key_id);
            }
            inner.by_id.insert(key.key_id, Arc::new(key));
        }
        Self(RwLock::new(inner))
    }
}

/// Adds a key to a digest of the state.
pub(super) fn digest(key: &IssuedKey, is_accepted: bool, digest: &mut StateDigest) {
    // Debug shows every field of the state, in a fixed order; of digests it shows the beginning.
    digest.add("key", &[format!("{key:?}").as_bytes(), key.digest.as_bytes(), &[u8::from(is_accepted)]]);
}
