//! The table of apps, as it is in an image.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use super::super::image::{Bytes, ImageError};
use super::super::shards::read;
use super::{AppHandle, Apps, Inner};
use crate::app::RegisteredApp;

impl Apps {
    /// Every app, in order of registration.
    pub(in crate::live) fn handles(&self) -> Vec<Arc<AppHandle>> {
        read(&self.0).in_order.clone()
    }

    /// The table with these apps in order of registration, and the places of their installations.
    pub(in crate::live) fn of(apps: Vec<RegisteredApp>, mut places: Bytes<'_>) -> Result<Self, ImageError> {
        let mut inner = Inner::default();
        for (number, app) in apps.into_iter().enumerate() {
            let handle = Arc::new(AppHandle {
                client_id: app.client_id,
                number: u32::try_from(number).map_err(|_| ImageError::Malformed("too many apps"))?,
                active: AtomicBool::new(app.is_active()),
                state: RwLock::new(Arc::new(app)),
                installations: RwLock::new(places.places()?),
            });
            inner.by_id.insert(handle.client_id, Arc::clone(&handle));
            inner.in_order.push(handle);
        }
        if !places.is_empty() {
            return Err(ImageError::Malformed("it has installations of an app that is not in it"));
        }
        Ok(Self(RwLock::new(inner)))
    }
}

impl AppHandle {
    /// The app as it is now.
    pub(in crate::live) fn state(&self) -> Arc<RegisteredApp> {
        Arc::clone(&read(&self.state))
    }
}
