//! Looks for everything that may be wrong with a ledger. Nothing it finds is repaired, and nothing it
//! cannot read is passed over.

use std::collections::{HashMap, HashSet};

use grantbook_events::{Position, Revision, StreamName};
use grantbook_projections::live::Live;

use super::run::each;
use super::twins::Twins;
use super::{ReplayError, Step};
use crate::ledger::read;
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
}

impl Verified {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.found == 0
    }
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("position {position}: {what}")]
pub struct Finding {
    /// Where.
    pub position: Position,
    /// What, in words.
    pub what: String,
}

/// Reads a ledger from its first record to its last and checks order, revisions, digests, event ids,
/// and that every record is an event that follows from those before it. `progress` is told after every
/// few records.
///
/// # Errors
/// If the store cannot be read to its end: then nothing can be said of it.
pub async fn verify(store: &dyn Store, mut progress: impl FnMut(Step)) -> Result<Verified, ReplayError> {
    let mut verifier = Verifier::new();
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
    /// Streams with an event that could not be folded: what follows in them cannot be, either.
    broken: HashSet<StreamName>,
    twins: Twins,
}

impl Verifier {
    fn new() -> Self {
        let verified = Verified { live: Live::new(), events: 0, findings: Vec::new(), found: 0 };
        Self {
            verified,
            position: Position::START,
            streams: HashMap::new(),
            broken: HashSet::new(),
            twins: Twins::new(),
        }
    }

    fn take(&mut self, record: &Record) -> std::io::Result<()> {
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
        self.twins.see(record.event_id, record.position)
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

    fn fold(&mut self, record: &Record) {
        if self.broken.contains(&record.stream) {
            return;
        }
        let folded = read(record)
            .map_err(|error| error.to_string())
            .and_then(|event| self.verified.live.apply(&event).map_err(|error| error.to_string()));
        if let Err(what) = folded {
            self.broken.insert(record.stream.clone());
            self.find(record.position, what);
        }
    }

    fn find(&mut self, position: Position, what: String) {
        self.verified.found += 1;
        if self.verified.findings.len() < TOLD {
            self.verified.findings.push(Finding { position, what });
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
        Ok(self.verified)
    }
}
