//! How long a replay would take: everything is read, and a sample is folded.

use std::time::{Duration, Instant};

use grantbook_events::{Position, Timestamp};
use grantbook_projections::live::Live;
use serde::Serialize;

use super::compare::file_name;
use super::reading::each;
use super::{ReplayError, Step, Until};
use crate::ledger::{Snapshots, fold};
use crate::store::{Record, Store};

/// How many events are folded to see how fast that goes.
const SAMPLE: u64 = 20_000;

/// What a replay would read, and how long that takes.
#[derive(Debug, Default, Serialize)]
pub struct Plan {
    pub types: Vec<TypeCount>,
    pub events: u64,
    /// Of payload and metadata.
    pub bytes: u64,
    /// The last position; none in an empty ledger.
    pub position: Option<Position>,
    /// When the first event was recorded.
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    pub estimated_seconds: f64,
    /// The newest first.
    pub snapshots: Vec<UsableSnapshot>,
}

/// How many events have a stored type and version.
#[derive(Debug, Serialize)]
pub struct TypeCount {
    #[serde(rename = "type")]
    pub type_name: String,
    pub version: u16,
    pub events: u64,
}

/// A snapshot: up to which position it spares folding, or why it cannot be used.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct UsableSnapshot {
    pub file: String,
    pub usable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Plan {
    fn count(&mut self, record: &Record) {
        let is_it = |of: &&mut TypeCount| of.type_name == record.type_name && of.version == record.version;
        match self.types.iter_mut().find(is_it) {
            Some(of) => of.events += 1,
            None => {
                let (type_name, version) = (record.type_name.clone(), record.version);
                self.types.push(TypeCount { type_name, version, events: 1 });
            }
        }
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
        let (position, reason) = match checked.outcome {
            Ok((header, _)) => (Some(header.mark.position), None),
            Err(why) => (None, Some(why.to_string())),
        };
        let (file, usable) = (file_name(&checked.path), position.is_some());
        plan.snapshots.push(UsableSnapshot { file, usable, position, reason });
    }
    let (sampled, mut folded, mut folding) = (Live::new(), 0, Duration::ZERO);
    let started = Instant::now();
    let read = each(store, Position::START, Until::Head, progress, |record| -> Result<(), ReplayError> {
        plan.count(record);
        if folded < SAMPLE {
            let started = Instant::now();
            let _ = fold(&sampled, record);
            folded += 1;
            folding += started.elapsed();
        }
        Ok(())
    });
    read.await?;
    plan.types.sort_by(|one, other| (&one.type_name, one.version).cmp(&(&other.type_name, other.version)));
    // A replay reads and folds at the same time.
    let reading = started.elapsed().saturating_sub(folding);
    let all_folding = folding.mul_f64(plan.events as f64 / folded.max(1) as f64);
    plan.estimated_seconds = (reading.max(all_folding).as_secs_f64() * 10.0).ceil() / 10.0;
    Ok(plan)
}
