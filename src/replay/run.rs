//! A fold from empty.

use std::collections::BTreeMap;

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;

use super::{ReplayError, Step, Until, check_end};
use crate::ledger::fold;
use crate::store::{Record, Signal, Store};

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// The state after the last event folded.
    pub live: Live,
    /// How many events were folded, by stored type name.
    pub types: BTreeMap<String, u64>,
    /// When the last event folded was recorded; none if there was none.
    pub recorded_at: Option<Timestamp>,
}

impl Replayed {
    /// The last position folded.
    pub fn position(&self) -> Position {
        self.live.position()
    }

    /// How many events were folded.
    pub fn events(&self) -> u64 {
        self.types.values().sum()
    }

    /// Folds one record, unless the replay ends before it.
    fn take(&mut self, record: &Record, until: Until) -> Result<bool, ReplayError> {
        if !until.takes(record.position, record.recorded_at) {
            return Ok(false);
        }
        // What cannot be folded is in quarantine then, as it is where the ledger is served.
        let _ = fold(&self.live, record);
        match self.types.get_mut(&record.type_name) {
            Some(count) => *count += 1,
            None => drop(self.types.insert(record.type_name.clone(), 1)),
        }
        self.recorded_at = Some(record.recorded_at);
        Ok(true)
    }
}

/// Folds a ledger from its first event. `progress` is told after every few events.
///
/// # Errors
/// If the store cannot be read, or something in it cannot be folded.
pub async fn run(
    store: &dyn Store,
    until: Until,
    mut progress: impl FnMut(Step),
) -> Result<Replayed, ReplayError> {
    check_end(store, until).await?;
    let mut replayed = Replayed { live: Live::new(), types: BTreeMap::new(), recorded_at: None };
    each(store, |records, head| {
        for record in records {
            if !replayed.take(record, until)? {
                return Ok(false);
            }
        }
        progress(Step { events: replayed.events(), position: replayed.position(), head });
        Ok(true)
    })
    .await?;
    Ok(replayed)
}

/// Hands over every record up to the head, as long as more are wanted, and gives the head. Reading goes on
/// meanwhile.
pub(super) async fn each(
    store: &dyn Store,
    take: impl FnMut(&[Record], Position) -> Result<bool, ReplayError>,
) -> Result<Position, ReplayError> {
    each_after(store, Position::START, take).await
}

/// The same, behind a position.
pub(super) async fn each_after(
    store: &dyn Store,
    after: Position,
    mut take: impl FnMut(&[Record], Position) -> Result<bool, ReplayError>,
) -> Result<Position, ReplayError> {
    let head = store.head().await?.position;
    let mut subscription = store.subscribe(after).await?;
    loop {
        match subscription.next().await {
            Signal::CaughtUp => return Ok(head),
            Signal::UpTo(_) => {}
            Signal::Lost(error) => return Err(error.into()),
            Signal::Records(records) => {
                // Records that were appended meanwhile belong to the next replay.
                let known = records.partition_point(|record| record.position <= head);
                if !take(&records[..known], head)? || known < records.len() {
                    return Ok(head);
                }
            }
        }
    }
}
