//! The ledger from its first record to where it ends when a replay begins. Knows: pages. Must not know: what is done with
//! a record.

use std::sync::Arc;

use grantbook_events::{Position, Timestamp};
use serde::Serialize;

use super::{ReplayError, Step, Until};
use crate::store::{Record, Signal, Store, Subscription};

/// What was read.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Reading {
    pub events: u64,
    /// Of the last event.
    pub position: Position,
    /// When the last event was recorded; none if there was none.
    pub recorded_at: Option<Timestamp>,
    /// Whether events before the last one were recorded later than was asked for, and left out.
    pub out_of_order: bool,
}

/// Hands over every record after a position and up to a point, in order. `progress` is called after every few records.
///
/// # Errors
/// If the store cannot be read or ends before that point, and those of `take`.
pub(super) async fn each<E: From<ReplayError>>(
    store: &dyn Store,
    after: Position,
    until: Until,
    mut progress: impl FnMut(Step),
    mut take: impl FnMut(&Record) -> Result<(), E>,
) -> Result<Reading, E> {
    let mut pages = Pages::after(store, after).await?;
    let head = pages.head;
    until.within(head).map_err(ReplayError::from)?;
    let mut reading = Reading { events: 0, position: after, recorded_at: None, out_of_order: false };
    let mut left_out = false;
    while let Some(page) = pages.next().await? {
        for record in page {
            if until.is_before(record.position) {
                return Ok(reading);
            }
            if !until.takes(record.position, record.recorded_at) {
                left_out = true;
                continue;
            }
            take(record)?;
            reading.events += 1;
            reading.position = record.position;
            reading.recorded_at = Some(record.recorded_at);
            reading.out_of_order |= left_out;
        }
        progress(Step { events: reading.events, position: reading.position, head });
    }
    Ok(reading)
}

/// The store reads on while a page is worked on.
#[derive(Debug)]
pub(super) struct Pages {
    /// Records that are appended during a replay belong to the next one.
    pub head: Position,
    subscription: Subscription,
    page: Arc<Vec<Record>>,
    is_over: bool,
}

impl Pages {
    pub(super) async fn after(store: &dyn Store, position: Position) -> Result<Self, ReplayError> {
        let head = store.head().await?.position;
        let subscription = store.subscribe(position).await?;
        Ok(Self { head, subscription, page: Arc::default(), is_over: false })
    }

    pub(super) async fn next(&mut self) -> Result<Option<&[Record]>, ReplayError> {
        while !self.is_over {
            match self.subscription.next().await {
                Signal::CaughtUp => self.is_over = true,
                Signal::UpTo(_) => {}
                Signal::Lost(error) => return Err(error.into()),
                Signal::Records(records) => {
                    let known = records.partition_point(|record| record.position <= self.head);
                    self.is_over = known < records.len();
                    self.page = records;
                    return Ok(self.page.get(..known));
                }
            }
        }
        Ok(None)
    }
}
