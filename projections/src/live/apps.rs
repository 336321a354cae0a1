//! The table of apps.

mod image;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, RwLock};

use grantbook_events::{ClientId, Recorded};

use super::digest::StateDigest;
use super::shards::{Place, read, write};
use crate::app::{App, AppStatus, RegisteredApp};
use crate::fold::{FoldError, StreamState};

/// One app, shared by every row that belongs to it. A suspension is then one store, seen by a million
/// tokens at once.
#[derive(Debug)]
pub(super) struct AppHandle {
    pub(super) client_id: ClientId,
    /// Its place in the order of registration.
    pub(super) number: u32,
    active: AtomicBool,
    state: RwLock<Arc<RegisteredApp>>,
    installations: RwLock<Vec<Place>>,
}

impl AppHandle {
    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    pub(super) fn installations(&self, skip: usize, limit: usize) -> Vec<Place> {
        read(&self.installations).iter().skip(skip).take(limit).copied().collect()
    }

    pub(super) fn add_installation(&self, place: Place) {
        write(&self.installations).push(place);
    }
}

#[derive(Debug, Default)]
pub(super) struct Apps(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<ClientId, Arc<AppHandle>>,
    in_order: Vec<Arc<AppHandle>>,
}

impl Apps {
    pub(super) fn apply(&self, id: ClientId, recorded: &Recorded) -> Result<(), FoldError> {
        let handle = self.handle(&id);
        let mut state = match &handle {
            Some(handle) => App::Registered(Box::new((**read(&handle.state)).clone())),
            None => App::Unregistered,
        };
        state.apply(recorded)?;
        let App::Registered(app) = state else { return Ok(()) };
        if app.client_id != id {
            return Err(FoldError::new(recorded, "it names another app than its stream"));
        }
        match handle {
            Some(handle) => {
                handle.active.store(app.is_active(), Ordering::Release);
                *write(&handle.state) = Arc::from(app);
            }
            None => {
                let mut inner = write(&self.0);
                let number = u32::try_from(inner.in_order.len());
                let number = number.map_err(|_| FoldError::new(recorded, "the table of apps is full"))?;
                let handle = Arc::new(AppHandle {
                    client_id: id,
                    number,
                    active: AtomicBool::new(app.is_active()),
                    state: RwLock::new(Arc::from(app)),
                    installations: RwLock::default(),
                });
                inner.in_order.push(Arc::clone(&handle));
                inner.by_id.insert(id, handle);
            }
        }
        Ok(())
    }

    /// Makes an app inactive whose state is not known any more.
    pub(super) fn quarantine(&self, id: &ClientId, reason: &str) {
        let Some(handle) = self.handle(id) else { return };
        handle.active.store(false, Ordering::Release);
        let mut state = write(&handle.state);
        let status = AppStatus::Quarantined { reason: reason.to_owned() };
        *state = Arc::new(RegisteredApp { status, ..(**state).clone() });
    }

    pub(super) fn handle(&self, id: &ClientId) -> Option<Arc<AppHandle>> {
        read(&self.0).by_id.get(id).cloned()
    }

    pub(super) fn get(&self, id: &ClientId) -> Option<Arc<RegisteredApp>> {
        Some(Arc::clone(&read(&self.handle(id)?.state)))
    }

    pub(super) fn list(&self, skip: usize, limit: usize) -> Vec<Arc<RegisteredApp>> {
        let inner = read(&self.0);
        let page = inner.in_order.iter().skip(skip).take(limit);
        page.map(|handle| Arc::clone(&read(&handle.state))).collect()
    }

    pub(super) fn len(&self) -> usize {
        read(&self.0).in_order.len()
    }

    /// The apps as they are now, in order of registration.
    pub(super) fn all(&self) -> Vec<Arc<RegisteredApp>> {
        self.list(0, usize::MAX)
    }
}

/// Adds an app to a digest of the state.
pub(super) fn digest(app: &RegisteredApp, digest: &mut StateDigest) {
    // Debug shows every field of the state, in a fixed order; of digests it shows the beginning.
    let shown = format!("{app:?}");
    let secrets = app.secrets.iter().map(|secret| &secret.digest.as_bytes()[..]);
    let fields: Vec<&[u8]> = std::iter::once(shown.as_bytes()).chain(secrets).collect();
    digest.add("app", &fields);
}
