//! A fold from empty, and the pages that it is made of.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;

use super::{ReplayError, Step, Until, check_end};
use crate::ledger::fold;
use crate::store::{Record, Signal, Store, Subscription};

/// What a replay came to.
#[derive(Debug)]
pub struct Replayed {
    /// The state after the last event folded.
    pub live: Live,
    /// How many events were folded, by stored type name.
    pub types: BTreeMap<String, u64>,
    /// When the last event folded was recorded; none if there was none.
    pub recorded_at: Option<Timestamp>,
    /// Whether events before the last one were recorded later than was asked for, and left out.
    pub out_of_order: bool,
    left_out: u64,
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

    /// Folds one record, if it belongs to the replay; says whether there may be others.
    fn take(&mut self, record: &Record, until: Until) -> bool {
        if !until.takes(record.position, record.recorded_at) {
            self.left_out += 1;
            return !until.is_before(record.position);
        }
        self.out_of_order |= self.left_out > 0;
        // What cannot be folded is in quarantine then, as it is where the ledger is served.
        let _ = fold(&self.live, record);
        match self.types.get_mut(&record.type_name) {
            Some(count) => *count += 1,
            None => drop(self.types.insert(record.type_name.clone(), 1)),
        }
        self.recorded_at = Some(record.recorded_at);
        true
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
    let mut replayed = Replayed {
        live: Live::new(),
        types: BTreeMap::new(),
        recorded_at: None,
        out_of_order: false,
        left_out: 0,
    };
    each(store, |records, head| {
        for record in records {
            if !replayed.take(record, until) {
                return Ok(false);
            }
        }
        progress(Step { events: replayed.events(), position: replayed.position(), head });
        Ok(true)
    })
    .await?;
    Ok(replayed)
}

/// Hands over every record up to the head, as long as more are wanted.
pub(super) async fn each(
    store: &dyn Store,
    mut take: impl FnMut(&[Record], Position) -> Result<bool, ReplayError>,
) -> Result<(), ReplayError> {
    let mut pages = Pages::after(store, Position::START).await?;
    while let Some(page) = pages.next().await? {
        if !take(&page, pages.head)? {
            break;
        }
    }
    Ok(())
}

/// Every record behind a position and up to the head. Reading goes on while a page is looked at.
#[derive(Debug)]
pub(super) struct Pages {
    /// Records that are appended meanwhile belong to the next replay.
    pub head: Position,
    subscription: Subscription,
    is_over: bool,
}

impl Pages {
    pub(super) async fn after(store: &dyn Store, position: Position) -> Result<Self, ReplayError> {
        let head = store.head().await?.position;
        Ok(Self { head, subscription: store.subscribe(position).await?, is_over: false })
    }

    pub(super) async fn next(&mut self) -> Result<Option<Page>, ReplayError> {
        while !self.is_over {
            match self.subscription.next().await {
                Signal::CaughtUp => self.is_over = true,
                Signal::UpTo(_) => {}
                Signal::Lost(error) => return Err(error.into()),
                Signal::Records(records) => {
                    let known = records.partition_point(|record| record.position <= self.head);
                    self.is_over = known < records.len();
                    return Ok(Some(Page { records, known }));
                }
            }
        }
        Ok(None)
    }
}

/// Some records in a row, which several may look at at once.
#[derive(Debug, Clone)]
pub(super) struct Page {
    records: Arc<Vec<Record>>,
    known: usize,
}

impl Page {
    pub(super) fn of_one(record: Record) -> Self {
        Self { records: Arc::new(vec![record]), known: 1 }
    }
}

impl Deref for Page {
    type Target = [Record];

    fn deref(&self) -> &[Record] {
        self.records.get(..self.known).unwrap_or_default()
    }
}
