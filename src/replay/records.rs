//! The first look of a verification: whether each record is what was written, follows the one before it in the ledger
//! and in its stream, and is found by the store. Knows: records. Must not know: what an event means.

use std::collections::HashMap;

use grantbook_events::{Position, Revision, StreamName};

use super::ReplayError;
use super::findings::{Compared, Finding, Verified};
use super::ids::Ids;
use crate::store::{ChainDigest, IndexCheck, Link, Record, Store, StoreError};

/// The last record of a stream so far.
#[derive(Debug, Clone, Copy)]
struct End {
    position: Position,
    revision: Revision,
    digest: ChainDigest,
}

#[derive(Debug)]
pub(super) struct Records {
    position: Position,
    streams: HashMap<StreamName, End>,
    ids: Ids,
    /// What the store finds streams by.
    index: Option<IndexCheck>,
}

impl Records {
    pub(super) async fn new(store: &dyn Store, verified: &mut Verified) -> Result<Self, ReplayError> {
        let index = match store.index().await {
            Err(StoreError::Damaged { detail, .. }) => {
                let what = format!("the index of streams: {detail}");
                verified.find(Finding { position: None, what });
                None
            }
            index => index?,
        };
        Ok(Self { position: Position::START, streams: HashMap::new(), ids: Ids::new()?, index })
    }

    /// What is wrong with the next records.
    ///
    /// # Errors
    /// If the temporary file cannot be written.
    pub(super) fn check(&mut self, records: &[Record]) -> rusqlite::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        for record in records {
            let mut find = |what| findings.push(Finding::at(record.position, what));
            if record.position <= self.position {
                find(format!("it comes after position {}", self.position));
            }
            self.position = self.position.max(record.position);
            // Reading it as an event finds that.
            if record.fault.is_some() {
                continue;
            }
            if !record.is_intact() {
                find(format!(
                    "the record is not what was written: its digest differs (event {} of stream {})",
                    record.event_id, record.stream
                ));
            }
            self.check_stream(record).into_iter().for_each(&mut find);
            self.index.as_mut().and_then(|index| index.see(record)).into_iter().for_each(find);
        }
        self.ids.add(records.iter().map(|record| (record.event_id.as_uuid(), record.position)))?;
        Ok(findings)
    }

    /// Whether a record follows the one before it in its stream, and the store finds that one.
    fn check_stream(&mut self, record: &Record) -> Vec<String> {
        let end = End { position: record.position, revision: record.revision, digest: record.digest };
        let before = match self.streams.get_mut(&record.stream) {
            Some(known) => Some(std::mem::replace(known, end)),
            None => {
                self.streams.insert(record.stream.clone(), end);
                None
            }
        };
        let (expected, digest) =
            before.map_or((Revision::FIRST, ChainDigest::NONE), |end| (end.revision.next(), end.digest));
        let (stream, revision) = (&record.stream, record.revision);
        let mut wrong = Vec::new();
        if revision != expected {
            wrong.push(format!("stream {stream} goes on with revision {revision} where {expected} is due"));
        } else if record.previous_digest != digest {
            let what = "was not written after what is before it";
            wrong.push(format!("revision {expected} of stream {stream} {what}"));
        }
        let before = before.map(|end| end.position);
        if let Link::Kept(kept) = record.link
            && kept != before
        {
            let words = |at: Option<Position>| at.map_or("none".to_owned(), |at| format!("position {at}"));
            wrong.push(format!(
                "the store looks for the record before it in its stream at {}, and it is {}",
                words(kept),
                words(before)
            ));
        }
        wrong
    }

    /// What the index has wrong after the last record, if all were read; then events with the id of an earlier event.
    ///
    /// # Errors
    /// If the temporary file cannot be read.
    pub(super) fn end(self, is_whole: bool) -> rusqlite::Result<(Option<Compared>, Vec<Finding>)> {
        let (mut findings, mut compared) = (Vec::new(), None);
        if let Some(index) = self.index.filter(|_| is_whole) {
            let position = index.up_to();
            match index.end(self.position) {
                Ok(()) if position == Position::START => {}
                Ok(()) => compared = Some(Compared { what: "the index of streams".to_owned(), position }),
                Err(what) => findings.push(Finding::at(self.position, what)),
            }
        }
        let twice = |_, first| format!("the event has the id of the event at position {first}");
        findings.extend(self.ids.repeated(twice)?);
        Ok((compared, findings))
    }
}
