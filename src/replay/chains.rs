//! Whether records are what was written, and follow one another: their digests, their order, the revisions and
//! links of their streams, their ids. Knows: records. Must not know: what an event means.

use std::collections::HashMap;
use std::io;

use grantbook_events::{Position, Revision, StreamName};

use super::Finding;
use super::sorted::{Entry, Sorted};
use crate::store::{ChainDigest, Link, Record};

/// Where a stream is.
#[derive(Debug, Clone, Copy)]
struct End {
    position: Position,
    revision: Revision,
    digest: ChainDigest,
}

/// What was seen so far: a few bytes a stream, and the ids sorted on disk.
#[derive(Debug, Default)]
pub(super) struct Chains {
    position: Position,
    streams: HashMap<StreamName, End>,
    ids: Sorted<0>,
}

impl Chains {
    /// Looks at what comes next, and says what is wrong with it.
    ///
    /// # Errors
    /// If the ids cannot be put away.
    pub(super) fn check(&mut self, records: &[Record]) -> io::Result<Vec<Finding>> {
        let mut findings = Vec::new();
        let mut find = |position, what| findings.push(Finding::at(position, what));
        for record in records {
            if record.position <= self.position {
                find(record.position, format!("it comes after position {}", self.position));
            }
            self.position = self.position.max(record.position);
            if !record.is_intact() {
                let what = format!(
                    "the record is not what was written: its digest differs (event {} of stream {})",
                    record.event_id, record.stream
                );
                find(record.position, what);
            }
            let (before, wrong) = self.follow(record);
            if let Some(what) = wrong {
                find(record.position, what);
            }
            let before = before.map(|end| end.position);
            if let Link::Kept(kept) = record.link
                && kept != before
            {
                let told = |at: Option<Position>| at.map_or("none".to_owned(), |at| format!("position {at}"));
                let what = format!(
                    "the store looks for the record before it in its stream at {}, and it is {}",
                    told(kept),
                    told(before)
                );
                find(record.position, what);
            }
            let id = record.event_id.as_uuid().as_u128();
            self.ids.push(Entry { id, position: record.position, with: [] })?;
        }
        Ok(findings)
    }

    /// Where its stream was, and why the record does not follow there, if it does not.
    fn follow(&mut self, record: &Record) -> (Option<End>, Option<String>) {
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
        let wrong = if revision != expected {
            Some(format!("stream {stream} goes on with revision {revision} where {expected} is due"))
        } else {
            (record.previous_digest != digest).then(|| {
                format!("revision {expected} of stream {stream} was not written after what is before it")
            })
        };
        (before, wrong)
    }

    /// What is only seen in the end: ids that are there twice.
    ///
    /// # Errors
    /// If what was put away cannot be read.
    pub(super) fn end(self, mut find: impl FnMut(Finding)) -> io::Result<()> {
        let mut before: Option<Entry<0>> = None;
        self.ids.each(|entry| {
            if let Some(first) = before.filter(|before| before.id == entry.id) {
                let what = format!("the event has the id of the event at position {}", first.position);
                find(Finding::at(entry.position, what));
            } else {
                before = Some(entry);
            }
        })
    }
}
