//! A ledger folded from its first event: into the live projection, or into rows of the history.

use std::collections::BTreeMap;

use grantbook_events::Position;
use grantbook_projections::history::HistoryRow;
use grantbook_projections::live::{Live, StateDigest};

use super::reading::{Reading, each};
use super::{ReplayError, Step, Until};
use crate::audit::{digest_of, row_of};
use crate::ledger::{fold, read};
use crate::store::Store;

/// The live projection of a ledger, or of its first events.
#[derive(Debug)]
pub struct Replayed {
    pub live: Live,
    /// How many events were folded, by stored type name.
    pub types: BTreeMap<String, u64>,
    pub reading: Reading,
}

/// Folds a ledger into a live projection. `progress` is called after every few events.
///
/// # Errors
/// If the store cannot be read, or ends before `until`.
pub async fn run(
    store: &dyn Store,
    until: Until,
    progress: impl FnMut(Step),
) -> Result<Replayed, ReplayError> {
    let (live, mut types) = (Live::new(), BTreeMap::new());
    let reading = each(store, Position::START, until, progress, |record| -> Result<(), ReplayError> {
        // What cannot be folded is in quarantine then, as it is where the ledger is served.
        let _ = fold(&live, record);
        match types.get_mut(&record.type_name) {
            Some(count) => *count += 1,
            None => drop(types.insert(record.type_name.clone(), 1)),
        }
        Ok(())
    });
    let reading = reading.await?;
    Ok(Replayed { live, types, reading })
}

/// Hands over the row of each event, in order. Gives what was read, and the digest of all rows.
///
/// # Errors
/// If the store cannot be read or ends before `until`, and those of `take`.
pub async fn run_history<E: From<ReplayError>>(
    store: &dyn Store,
    until: Until,
    progress: impl FnMut(Step),
    mut take: impl FnMut(&HistoryRow) -> Result<(), E>,
) -> Result<(Reading, StateDigest), E> {
    let mut digest = StateDigest::default();
    let reading = each(store, Position::START, until, progress, |record| {
        let row = row_of(record, &read(record));
        digest.merge(digest_of(&row));
        take(&row)
    });
    Ok((reading.await?, digest))
}
