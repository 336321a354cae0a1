//! Looks for everything that may be wrong with a ledger. Nothing it finds is repaired, and nothing it
//! cannot read is passed over.

use std::collections::HashMap;
use std::path::PathBuf;

use grantbook_events::{Position, Revision, StreamName};
use grantbook_projections::live::Live;
use uuid::Uuid;

use super::compare::{Against, Compared, PassedOver, Points, in_words, name};
use super::history::Stored;
use super::run::{each_after, run};
use super::twins::Twins;
use super::{ReplayError, Step, Until};
use crate::audit::{HistoryError, HistoryReader, StoredHistory};
use crate::ledger::{Snapshots, fold};
use crate::store::{ChainDigest, Record, Store, StoreError};

/// How many findings are told in words; the rest is counted.
const TOLD: usize = 20;
/// How often reading is taken up again behind something damaged.
const GAPS: usize = 10_000;

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
    /// What was of no use to compare with.
    pub passed_over: Vec<PassedOver>,
    /// Whether the live projection of the running server differs.
    pub live_differs: bool,
    /// Whether there is a stored history.
    pub has_history: bool,
}

impl Verified {
    fn new() -> Self {
        Self {
            live: Live::new(),
            events: 0,
            findings: Vec::new(),
            found: 0,
            compared: Vec::new(),
            passed_over: Vec::new(),
            live_differs: false,
            has_history: false,
        }
    }

    /// A ledger of which nothing can be read.
    pub fn damaged(position: Position, detail: String) -> Self {
        let mut verified = Self::new();
        verified.find(Finding::damage(position, &detail));
        verified
    }

    fn find(&mut self, finding: Finding) {
        self.found += 1;
        if self.findings.len() < TOLD {
            self.findings.push(finding);
        }
    }

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

impl Finding {
    fn damage(position: Position, detail: &str) -> Self {
        Self { position: Some(position), what: format!("the ledger is damaged: {detail}") }
    }
}

/// Reads a ledger from its first record to its last and checks order, revisions, digests, event ids,
/// and that every record is an event that follows from those before it; and compares what it folds to with
/// what others say of it. `progress` is told after every few records.
///
/// # Errors
/// If the store cannot be reached: then nothing can be said of it. What is damaged is a finding.
pub async fn verify(
    store: &dyn Store,
    against: Against,
    mut progress: impl FnMut(Step),
) -> Result<Verified, ReplayError> {
    let Against { live, snapshots, history } = against;
    let identity = match store.head().await {
        Ok(head) => head.identity,
        Err(StoreError::Damaged { position, detail }) => return Ok(Verified::damaged(position, detail)),
        Err(error) => return Err(error.into()),
    };
    let points = Points::new(live, snapshots, identity).map_err(ReplayError::Snapshots)?;
    let mut verifier = Verifier::new(points);
    verifier.open_history(history, identity);
    verifier.points.reached(Position::START, &verifier.verified.live);
    let head = verifier.read(store, &mut progress).await?;
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
    fn new(points: Points) -> Self {
        let (position, streams, twins) = (Position::START, HashMap::new(), Twins::new());
        Self { verified: Verified::new(), position, streams, twins, points, history: None }
    }

    fn open_history(&mut self, dir: Option<PathBuf>, ledger: Uuid) {
        let Some(dir) = dir else { return };
        self.verified.has_history = true;
        match HistoryReader::open(&dir, ledger) {
            Ok(StoredHistory::None) => self.verified.has_history = false,
            Ok(StoredHistory::Other { path, why }) => {
                let what = format!("history {}", name(&path));
                self.verified.passed_over.push(PassedOver { what, why });
            }
            Ok(StoredHistory::Here(reader)) => match Stored::new(reader) {
                Ok((stored, findings)) => {
                    findings.into_iter().for_each(|finding| self.found(finding));
                    self.history = Some(stored);
                }
                Err(error) => self.lose_history(&error),
            },
            Err(error) => self.lose_history(&error),
        }
    }

    /// What cannot be read of the history cannot be compared.
    fn lose_history(&mut self, error: &HistoryError) {
        let position = Some(self.position).filter(|position| *position != Position::START);
        self.found(Finding { position, what: format!("history: {error}") });
        self.history = None;
    }

    /// Reads everything that can be read, and gives the head. What is damaged is found and passed over.
    async fn read(
        &mut self,
        store: &dyn Store,
        progress: &mut impl FnMut(Step),
    ) -> Result<Position, ReplayError> {
        let (mut from, mut read_before) = (Position::START, None);
        for _ in 0..GAPS {
            let read = each_after(store, from, |records, head| {
                for record in records {
                    self.take(record)?;
                }
                progress(Step { events: self.verified.events, position: self.position, head });
                Ok(true)
            });
            let (position, detail) = match read.await {
                Err(ReplayError::Store(StoreError::Damaged { position, detail })) => (position, detail),
                ended => return ended,
            };
            // What is damaged spoils the page that it is on: what is before it there is read one by one.
            from = from.max(self.position);
            while from < position
                && let Ok(next) = store.read_all(from, 1).await
                && let Some(record) = next.first().filter(|record| record.position <= position)
            {
                self.take(record)?;
                from = record.position;
            }
            // A hole is found once, however wide it is.
            if position > from || read_before != Some(self.verified.events) {
                self.found(Finding::damage(position, &detail));
            }
            read_before = Some(self.verified.events);
            from = position.max(Position::new(from.as_u64().saturating_add(u64::from(position <= from))));
            if from >= store.head().await?.position {
                break;
            }
        }
        let head = store.head().await?.position;
        if from < head {
            let what = "too much is damaged from here on, and the rest was not read".to_owned();
            self.find(from, what);
        }
        Ok(head)
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
        match self.history.as_mut().map(|history| history.take(record)) {
            None => {}
            Some(Ok(findings)) => findings.into_iter().for_each(|finding| self.found(finding)),
            Some(Err(error)) => self.lose_history(&error),
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
        self.verified.find(finding);
    }

    fn end(mut self, head: Position) -> Result<Verified, ReplayError> {
        if self.position != head {
            self.find(self.position, format!("the ledger ends here, but says that it goes on to {head}"));
        }
        let twins = std::mem::replace(&mut self.twins, Twins::new()).find()?;
        if let Some((one, other)) = twins {
            self.find(other, format!("the event has the id of the event at position {one}"));
        }
        match self.history.take().map(Stored::end) {
            None => {}
            Some(Ok(Ok(same))) => self.points.compared.push(same),
            Some(Ok(Err(findings))) => findings.into_iter().for_each(|finding| self.found(finding)),
            Some(Err(error)) => self.lose_history(&error),
        }
        // The ledger itself comes first: what was folded from a damaged one differs for that reason.
        self.points.end();
        let Points { compared, findings, passed_over, live_differs, .. } = self.points;
        self.verified.passed_over.extend(passed_over);
        self.verified.found += findings.len() as u64;
        self.verified.findings.extend(findings);
        (self.verified.compared, self.verified.live_differs) = (compared, live_differs);
        Ok(self.verified)
    }
}
