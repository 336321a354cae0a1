//! Looks for everything that may be wrong with a ledger. Nothing it finds is repaired, and nothing it
//! cannot read is passed over.

use std::collections::HashMap;
use std::path::PathBuf;

use grantbook_events::{Position, Revision, StreamName};
use grantbook_projections::live::Live;

use super::compare::{Against, Compared, Points, in_words};
use super::history::Stored;
use super::run::{each, run};
use super::twins::Twins;
use super::{ReplayError, Step, Until};
use crate::ledger::{Snapshots, fold};
use crate::store::{ChainDigest, Record, Store};

/// How many findings are told in words; the rest is counted.
const TOLD: usize = 20;

/// What a verification came to.
#[derive(Debug)]
pub struct Verified {
    /// The state after the last event.
    pub live: Live,
    /// How many records were read.
    pub events: u64,
    /// The first things that are wrong, in words.
    pub findings: Vec<Finding>,
    /// How many things are wrong.
    pub found: u64,
    /// What was compared with the fold and is the same.
    pub compared: Vec<Compared>,
    /// Whether the live projection of the running server differs.
    pub live_differs: bool,
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{what}", .position.map_or_else(String::new, |at| format!("position {at}: ")))]
pub struct Finding {
    /// Where, if it is anywhere in the ledger.
    pub position: Option<Position>,
    /// What, in words.
    pub what: String,
}

/// Reads a ledger from its first record to its last and checks order, revisions, digests, event ids,
/// and that every record is an event that follows from those before it; and compares what it folds to with
/// what others say of it. `progress` is told after every few records.
///
/// # Errors
/// If the store cannot be read to its end: then nothing can be said of it.
pub async fn verify(
    store: &dyn Store,
    against: Against,
    mut progress: impl FnMut(Step),
) -> Result<Verified, ReplayError> {
    let Against { live, snapshots, history } = against;
    let identity = store.head().await?.identity;
    let points = Points::new(live, snapshots, identity).map_err(ReplayError::Snapshots)?;
    let (history, findings) = history.map(Stored::new).transpose()?.unzip();
    let mut verifier = Verifier::new(points, history);
    findings.into_iter().flatten().for_each(|finding| verifier.found(finding));
    verifier.points.reached(Position::START, &verifier.verified.live);
    let head = each(store, |records, head| {
        for record in records {
            verifier.take(record)?;
        }
        progress(Step { events: verifier.verified.events, position: verifier.position, head });
        Ok(true)
    })
    .await?;
    verifier.end(head)
}

/// The first difference between a snapshot and what the ledger folds to, in words; `None` if there is none.
///
/// # Errors
/// If the store cannot be read.
pub async fn difference_from(
    store: &dyn Store,
    position: Position,
    snapshots: &Snapshots,
    progress: impl FnMut(Step),
) -> Result<Option<Finding>, ReplayError> {
    let replayed = run(store, Until::Position(position), progress).await?;
    let found = |what| Ok(Some(Finding { position: Some(position), what }));
    let paths = snapshots.paths().map_err(ReplayError::Snapshots)?;
    let is_it =
        |path: &&PathBuf| Snapshots::header(path).is_ok_and(|header| header.mark.position == position);
    let Some(path) = paths.iter().find(is_it) else {
        return found("the server wrote no snapshot that could be compared".to_owned());
    };
    match Snapshots::load(path, store.head().await?.identity) {
        Err(why) => found(format!("the state that the server wrote cannot be compared: {why}")),
        Ok(live) if live.digest() == replayed.live.digest() => Ok(None),
        Ok(live) => found(in_words(&live, &replayed.live, "live")),
    }
}

/// Where a stream is.
#[derive(Debug, Clone, Copy)]
struct End {
    revision: Revision,
    digest: ChainDigest,
}

#[derive(Debug)]
struct Verifier {
    verified: Verified,
    position: Position,
    streams: HashMap<StreamName, End>,
    twins: Twins,
    points: Points,
    history: Option<Stored>,
}

impl Verifier {
    fn new(points: Points, history: Option<Stored>) -> Self {
        let verified = Verified {
            live: Live::new(),
            events: 0,
            findings: Vec::new(),
            found: 0,
            compared: Vec::new(),
            live_differs: false,
        };
        let (position, streams, twins) = (Position::START, HashMap::new(), Twins::new());
        Self { verified, position, streams, twins, points, history }
    }

    fn take(&mut self, record: &Record) -> Result<(), ReplayError> {
        self.verified.events += 1;
        if record.position <= self.position {
            self.find(record.position, format!("it comes after position {}", self.position));
        }
        self.position = self.position.max(record.position);
        if !record.is_intact() {
            self.find(record.position, "the record is not what was written: its digest differs".to_owned());
        }
        self.follow(record);
        self.fold(record);
        self.points.reached(record.position, &self.verified.live);
        if let Some(history) = &mut self.history {
            for finding in history.take(record)? {
                self.found(finding);
            }
        }
        Ok(self.twins.see(record.event_id, record.position)?)
    }

    /// Whether the record follows the one before it in its stream.
    fn follow(&mut self, record: &Record) {
        let before = self.streams.get(&record.stream).copied();
        let (expected, digest) =
            before.map_or((Revision::FIRST, ChainDigest::NONE), |end| (end.revision.next(), end.digest));
        if record.revision != expected {
            let what = format!(
                "stream {} goes on with revision {} where {expected} is due",
                record.stream, record.revision
            );
            self.find(record.position, what);
        } else if record.previous_digest != digest {
            let what = format!(
                "revision {} of stream {} was not written after what is before it",
                expected, record.stream
            );
            self.find(record.position, what);
        }
        let end = End { revision: record.revision, digest: record.digest };
        match self.streams.get_mut(&record.stream) {
            Some(known) => *known = end,
            None => drop(self.streams.insert(record.stream.clone(), end)),
        }
    }

    /// What follows an event that could not be folded, in its stream, cannot be folded either, and is
    /// passed over.
    fn fold(&mut self, record: &Record) {
        if let Err(poison) = fold(&self.verified.live, record)
            && self
                .verified
                .live
                .quarantine_of(&record.stream)
                .is_none_or(|first| first.position == record.position)
        {
            self.find(record.position, poison.reason);
        }
    }

    fn find(&mut self, position: Position, what: String) {
        self.found(Finding { position: Some(position), what });
    }

    fn found(&mut self, finding: Finding) {
        self.verified.found += 1;
        if self.verified.findings.len() < TOLD {
            self.verified.findings.push(finding);
        }
    }

    fn end(mut self, head: Position) -> Result<Verified, ReplayError> {
        if self.position != head {
            self.find(self.position, format!("the ledger ends here, but says that it goes on to {head}"));
        }
        let twins = std::mem::replace(&mut self.twins, Twins::new()).find()?;
        if let Some((one, other)) = twins {
            self.find(other, format!("the event has the id of the event at position {one}"));
        }
        match self.history.take().map(Stored::end).transpose()? {
            None => {}
            Some(Ok(same)) => self.points.compared.push(same),
            Some(Err(findings)) => findings.into_iter().for_each(|finding| self.found(finding)),
        }
        // The ledger itself comes first: what was folded from a damaged one differs for that reason.
        self.points.end();
        let Points { compared, findings, live_differs, .. } = self.points;
        self.verified.found += findings.len() as u64;
        self.verified.findings.extend(findings);
        (self.verified.compared, self.verified.live_differs) = (compared, live_differs);
        Ok(self.verified)
    }
}
