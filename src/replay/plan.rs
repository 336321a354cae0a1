//! How long a replay would take: everything is read, and a sample is folded.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;

use super::reading::each;
use super::{ReplayError, Step, Until};
use crate::ledger::{Snapshots, fold};
use crate::store::{Record, Store};

/// How many events are folded to see how fast that goes.
const SAMPLE: u64 = 20_000;

/// What a replay would read, and how long that takes.
#[derive(Debug, Default)]
pub struct Plan {
    /// How many events there are, by stored type name and version.
    pub types: BTreeMap<(String, u16), u64>,
    /// How many events there are.
    pub events: u64,
    /// Bytes of payload and metadata.
    pub bytes: u64,
    /// The last position; none in an empty ledger.
    pub position: Option<Position>,
    /// When the first event was recorded.
    pub first_at: Option<Timestamp>,
    /// When the last event was recorded.
    pub last_at: Option<Timestamp>,
    /// How long reading took.
    pub reading: Duration,
    /// How long folding the sample took.
    sample: Duration,
    folded: u64,
    /// The snapshots there are, the newest first: up to which position each spares folding, or why it
    /// cannot be used.
    pub snapshots: Vec<(PathBuf, Result<Position, String>)>,
}

impl Plan {
    /// How long a replay would take, about: it reads and folds at the same time.
    pub fn estimate(&self) -> Duration {
        if self.folded == 0 {
            return self.reading;
        }
        self.reading.max(self.sample.mul_f64(self.events as f64 / self.folded as f64))
    }

    fn count(&mut self, record: &Record) {
        let key = (record.type_name.clone(), record.version);
        *self.types.entry(key).or_default() += 1;
        self.events += 1;
        self.bytes += (record.payload.len() + record.metadata.len()) as u64;
        self.position = Some(record.position);
        self.first_at.get_or_insert(record.recorded_at);
        self.last_at = Some(record.recorded_at);
    }
}

/// Reads the whole ledger and folds a sample of it, and looks at the snapshots. `progress` is called after every few events.
///
/// # Errors
/// If the store cannot be read, or something in the sample cannot be folded.
pub async fn plan(
    store: &dyn Store,
    snapshots: &Snapshots,
    progress: impl FnMut(Step),
) -> Result<Plan, ReplayError> {
    let mut plan = Plan::default();
    for path in snapshots.paths().map_err(ReplayError::Snapshots)? {
        let checked = snapshots.check(path, store).await;
        let outcome = checked.outcome.map(|(header, _)| header.mark.position);
        plan.snapshots.push((checked.path, outcome.map_err(|error| error.to_string())));
    }
    let sampled = Live::new();
    let started = Instant::now();
    let read = each(store, Until::Head, progress, |record| -> Result<(), ReplayError> {
        plan.count(record);
        if plan.folded < SAMPLE {
            let started = Instant::now();
            let _ = fold(&sampled, record);
            plan.folded += 1;
            plan.sample += started.elapsed();
        }
        Ok(())
    });
    read.await?;
    plan.reading = started.elapsed().saturating_sub(plan.sample);
    Ok(plan)
}
