//! The table of apps.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use grantbook_events::{AppEvent, ClientId, Envelope};
use parking_lot::RwLock;

use super::shards::Place;
use crate::app::{App, AppStatus};

/// One app, shared by every token of it. A suspension is then one store, seen by a million tokens at once.
#[derive(Debug)]
pub(super) struct AppHandle {
    pub(super) client_id: ClientId,
    active: AtomicBool,
    state: RwLock<Arc<App>>,
    installations: RwLock<Vec<Place>>,
}

impl AppHandle {
    fn new(app: App, installations: Vec<Place>) -> Arc<Self> {
        Arc::new(Self {
            client_id: app.client_id,
            active: AtomicBool::new(app.is_active()),
            state: RwLock::new(Arc::new(app)),
            installations: RwLock::new(installations),
        })
    }

    pub(super) fn is_active(&self) -> bool {
        self.active.load(Ordering::Acquire)
    }

    pub(super) fn state(&self) -> Arc<App> {
        Arc::clone(&self.state.read())
    }

    fn change<T>(&self, change: impl FnOnce(&mut App) -> T) -> T {
        let mut state = self.state.write();
        let changed = change(Arc::make_mut(&mut state));
        self.active.store(state.is_active(), Ordering::Release);
        changed
    }

    /// The places of its installations, in order of their first approval.
    pub(super) fn installations(&self, skip: usize, limit: usize) -> Vec<Place> {
        self.installations.read().iter().skip(skip).take(limit).copied().collect()
    }

    pub(super) fn add_installation(&self, place: Place) {
        self.installations.write().push(place);
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
    pub(super) fn apply(
        &self,
        id: ClientId,
        event: &AppEvent,
        envelope: &Envelope,
    ) -> Result<(), &'static str> {
        if let AppEvent::Registered(event) = event
            && event.client_id != id
        {
            return Err("it names another app than its stream");
        }
        let mut state = self.get(&id).map(|app| (*app).clone());
        App::apply(&mut state, event, envelope)?;
        let Some(app) = state else { return Ok(()) };
        match self.handle(&id) {
            Some(handle) => handle.change(|known| *known = app),
            None => self.add(app, Vec::new()),
        }
        Ok(())
    }

    /// Adds an app that was not known here.
    pub(super) fn add(&self, app: App, installations: Vec<Place>) {
        let handle = AppHandle::new(app, installations);
        let mut inner = self.0.write();
        inner.in_order.push(Arc::clone(&handle));
        inner.by_id.insert(handle.client_id, handle);
    }

    /// Makes an app inactive whose state is not known any more.
    pub(super) fn quarantine(&self, id: &ClientId, reason: &str) {
        if let Some(handle) = self.handle(id) {
            handle.change(|app| app.status = AppStatus::Quarantined { reason: reason.to_owned() });
        }
    }

    pub(super) fn handle(&self, id: &ClientId) -> Option<Arc<AppHandle>> {
        self.0.read().by_id.get(id).cloned()
    }

    pub(super) fn get(&self, id: &ClientId) -> Option<Arc<App>> {
        Some(self.handle(id)?.state())
    }

    pub(super) fn list(&self, skip: usize, limit: usize) -> Vec<Arc<App>> {
        self.0.read().in_order.iter().skip(skip).take(limit).map(|handle| handle.state()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.0.read().in_order.len()
    }

    /// In order of registration.
    pub(super) fn handles(&self) -> Vec<Arc<AppHandle>> {
        self.0.read().in_order.clone()
    }
}
