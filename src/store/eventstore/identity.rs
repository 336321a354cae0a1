//! Which ledger this is, and whether it is the one that files of this node have seen. Knows: the one event that says so,
//! and what was seen. Must not know: what is in the ledger.

use futures_util::future::try_join_all;
use grantbook_events::Position;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Shared;
use super::failure::{Failure, retry};
use crate::store::StoreError;
use crate::store::evidence::{Lost, Seen};

/// The stream that says which ledger this is.
pub(super) const STREAM: &str = "grantbook-ledger";
/// The type of its one event.
const TYPE: &str = "ledger-made";
/// How what is missing can be put back.
const INSTEAD: &str = "Connect to the right cluster, put its newer state back, or use an empty data directory if the ledger \
                       was copied here";

#[derive(Serialize, Deserialize)]
struct Made {
    identity: Uuid,
}

/// The ledger's identity. A ledger without one gets it, if this store was opened to serve.
///
/// # Errors
/// `Unavailable` if it cannot be read, or there is no ledger; `EndsEarly` if it does not have what this node has seen of it.
pub(super) async fn find_or_make(shared: &Shared) -> Result<Uuid, StoreError> {
    let unavailable = |why: &str| StoreError::Unavailable(why.to_owned());
    let found = find(shared).await?;
    check_seen(shared, found).await?;
    if let Some(found) = found {
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

/// Refuses a ledger, or the lack of one, that contradicts what files of this node have seen; or, on an operator's word,
/// moves these files away.
async fn check_seen(shared: &Shared, ledger: Option<Uuid>) -> Result<(), StoreError> {
    let is_of_it = |seen: &&Seen| ledger.is_none_or(|ledger| ledger == seen.ledger);
    let seen = shared.evidence.seen.iter().filter(|seen| seen.record.position > Position::START);
    let all = try_join_all(seen.filter(is_of_it).map(async |seen| {
        let found = match ledger {
            None => None,
            Some(_) => Some(shared.nodes.has(&seen.record).await?),
        };
        Ok::<_, StoreError>((seen.clone(), found))
    }))
    .await?;
    let end = if ledger.is_some() { shared.nodes.last().await? } else { Position::START };
    let word = shared.evidence.accept_loss.clone();
    // Looks into the files, and moves them.
    let judged = tokio::task::spawn_blocking(move || {
        let all = all.iter().map(|(seen, found)| (seen, *found));
        let Some(lost) = Lost::of("ledger in the cluster", end, all) else { return Ok(()) };
        word.map_or_else(|| Err(lost.refusal(INSTEAD)), |word| lost.accept(&word))
    });
    judged.await.map_err(|error| StoreError::Unavailable(error.to_string()))?
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
