//! The table of operator keys.

use std::collections::HashMap;
use std::sync::Arc;

use grantbook_events::{Envelope, OperatorKeyEvent, OperatorKeyId, SecretDigest};
use parking_lot::RwLock;

use crate::operator_key::OperatorKey;

#[derive(Debug, Default)]
pub(super) struct Keys(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<OperatorKeyId, Arc<OperatorKey>>,
    accepted: HashMap<SecretDigest, OperatorKeyId>,
    in_order: Vec<OperatorKeyId>,
}

impl Keys {
    pub(super) fn apply(
        &self,
        id: OperatorKeyId,
        event: &OperatorKeyEvent,
        envelope: &Envelope,
    ) -> Result<(), &'static str> {
        if let OperatorKeyEvent::Created(event) = event
            && event.key_id != id
        {
            return Err("it names another key than its stream");
        }
        let mut state = self.by_id(&id).map(|key| (*key).clone());
        OperatorKey::apply(&mut state, event, envelope)?;
        if let Some(key) = state {
            let is_accepted = key.retired_at.is_none();
            self.put(key, is_accepted);
        }
        Ok(())
    }

    pub(super) fn put(&self, key: OperatorKey, is_accepted: bool) {
        let mut inner = self.0.write();
        match is_accepted {
            true => inner.accepted.insert(key.digest, key.key_id),
            false => inner.accepted.remove(&key.digest),
        };
        let key_id = key.key_id;
        if inner.by_id.insert(key_id, Arc::new(key)).is_none() {
            inner.in_order.push(key_id);
        }
    }

    pub(super) fn by_digest(&self, digest: &SecretDigest) -> Option<Arc<OperatorKey>> {
        let inner = self.0.read();
        inner.by_id.get(inner.accepted.get(digest)?).cloned()
    }

    pub(super) fn by_id(&self, id: &OperatorKeyId) -> Option<Arc<OperatorKey>> {
        self.0.read().by_id.get(id).cloned()
    }

    pub(super) fn list(&self, skip: usize, limit: usize) -> Vec<Arc<OperatorKey>> {
        let inner = self.0.read();
        let page = inner.in_order.iter().skip(skip).take(limit);
        page.filter_map(|id| inner.by_id.get(id).cloned()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().in_order.len()
    }

    /// Stops accepting a key whose state is not known any more.
    pub(super) fn quarantine(&self, id: &OperatorKeyId) {
        self.0.write().accepted.retain(|_, accepted| accepted != id);
    }

    /// In order of creation, and whether each is accepted.
    pub(super) fn all(&self) -> Vec<(Arc<OperatorKey>, bool)> {
        let inner = self.0.read();
        let keys = inner.in_order.iter().filter_map(|id| inner.by_id.get(id));
        keys.map(|key| (Arc::clone(key), inner.accepted.get(&key.digest) == Some(&key.key_id))).collect()
    }
}
