//! Which ledger this is. Knows: the one event that says so. Must not know: what is in the ledger.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Shared;
use super::failure::{Failure, retry};
use crate::store::StoreError;

/// The stream that says which ledger this is.
pub(super) const STREAM: &str = "grantbook-ledger";
/// The type of its one event.
const TYPE: &str = "ledger-made";

#[derive(Serialize, Deserialize)]
struct Made {
    identity: Uuid,
}

/// The ledger's identity. A ledger without one gets it, if this store was opened to serve.
///
/// # Errors
/// `Unavailable` if it cannot be read, or there is no ledger.
pub(super) async fn find_or_make(shared: &Shared) -> Result<Uuid, StoreError> {
    let unavailable = |why: &str| StoreError::Unavailable(why.to_owned());
    if let Some(found) = find(shared).await? {
        return Ok(found);
    }
    let none = || unavailable("there is no ledger in this cluster: grantbook serve makes one");
    let minted = shared.minted.ok_or_else(none)?;
    let made = Made { identity: minted };
    let made = retry(Failure::is_transient, || shared.append_own(STREAM, TYPE, &made, None));
    match made.await {
        // Another node may have been first, or an earlier try: the stream decides.
        Ok(_) | Err(Failure::Conflict(_)) => {}
        Err(failure) => return Err(failure.into_error()),
    }
    find(shared).await?.ok_or_else(|| unavailable("the identity of the ledger cannot be read yet"))
}

async fn find(shared: &Shared) -> Result<Option<Uuid>, StoreError> {
    let events = shared.nodes.events(STREAM, 0, 1).await?;
    let made = events.first().map(|event| serde_json::from_slice::<Made>(&event.data)).transpose();
    made.map(|made| made.map(|made| made.identity)).map_err(|error| {
        StoreError::Unavailable(format!(
            "stream {STREAM} of this cluster is not what grantbook writes: {error}"
        ))
    })
}
