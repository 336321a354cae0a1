//! Which ledger this is. Knows: the one event that says so. Must not know: what is in the ledger.

use std::sync::Arc;

use eventstore::{EventData, ExpectedRevision};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Shared;
use super::failure::Failure;
use crate::store::StoreError;

/// The stream that says which ledger this is.
pub(super) const STREAM: &str = "grantbook-ledger";
/// The type of its one event.
const TYPE: &str = "ledger-made";

#[derive(Serialize, Deserialize)]
struct Made {
    identity: Uuid,
}

/// The ledger's identity. A ledger that has none is given `minted`, if there is one.
///
/// # Errors
/// `Unavailable` if it cannot be read, or there is no ledger.
pub(super) async fn find_or_make(shared: &Arc<Shared>, minted: Option<Uuid>) -> Result<Uuid, StoreError> {
    if let Some(found) = find(shared).await? {
        return Ok(found);
    }
    let Some(minted) = minted else {
        return Err(StoreError::Unavailable(
            "there is no ledger in this cluster: grantbook serve makes one".to_owned(),
        ));
    };
    let no_json = |error: serde_json::Error| StoreError::Unavailable(error.to_string());
    let event = EventData::json(TYPE, &Made { identity: minted }).map_err(no_json)?;
    let event = event.id(*crate::secrets::new_event_id().as_uuid());
    let options = shared.append_options(ExpectedRevision::NoStream);
    // Made again with the same id, so one of unknown outcome is harmless.
    let made = shared.clients.call_again(|lease| {
        let (options, event) = (options.clone(), event.clone());
        async move { lease.client.append_to_stream(STREAM, &options, event).await }
    });
    match made.await {
        // Another node may have been first: what the stream says holds.
        Ok(_) | Err(Failure::Conflict(_)) => {}
        Err(failure) => return Err(failure.into_error()),
    }
    find(shared)
        .await?
        .ok_or_else(|| StoreError::Unavailable("the identity of the ledger cannot be read yet".to_owned()))
}

async fn find(shared: &Arc<Shared>) -> Result<Option<Uuid>, StoreError> {
    let events = match shared.read_events(STREAM, 0, 1).await {
        Ok(events) => events,
        Err(Failure::NotFound) => return Ok(None),
        Err(failure) => return Err(failure.into_error()),
    };
    let Some(event) = events.first() else { return Ok(None) };
    match serde_json::from_slice::<Made>(&event.data) {
        Ok(made) => Ok(Some(made.identity)),
        Err(error) => Err(StoreError::Unavailable(format!(
            "stream {STREAM} of this cluster is not what grantbook writes: {error}"
        ))),
    }
}
