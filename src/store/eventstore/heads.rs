//! Where streams ended when they were last looked at, so that a record can be chained to its predecessor
//! without reading it. A remembered end may be behind: the append at its exact revision decides.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use grantbook_events::{Revision, StreamName};

use crate::store::{ChainDigest, Record};

/// How many ends are remembered; when they are that many, the older half goes.
const MAX_HEADS: usize = 65_536;

/// The last record of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamHead {
    pub revision: Revision,
    pub digest: ChainDigest,
}

/// Remembered ends, in two generations: when the younger is full it becomes the older, and the older goes.
#[derive(Debug, Default)]
pub(super) struct StreamHeads(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<StreamName, StreamHead>,
    old: HashMap<StreamName, StreamHead>,
}

impl StreamHeads {
    /// The digest of a stream's record at a revision, if that is where the stream is remembered to end.
    pub(super) fn digest_at(&self, stream: &StreamName, revision: Revision) -> Option<ChainDigest> {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let head = generations.young.get(stream).or_else(|| generations.old.get(stream))?;
        (head.revision == revision).then_some(head.digest)
    }

    /// Remembers a record, unless a later one of its stream is remembered already.
    pub(super) fn remember(&self, record: &Record) {
        let head = StreamHead { revision: record.revision, digest: record.digest };
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Generations { young, old } = &mut *generations;
        let known = young.get_mut(&record.stream).or_else(|| old.get_mut(&record.stream));
        match known {
            Some(known) if known.revision >= head.revision => {}
            Some(known) => *known = head,
            None => {
                if young.len() >= MAX_HEADS / 2 {
                    *old = std::mem::take(young);
                }
                young.insert(record.stream.clone(), head);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::contract::{fresh_stream, new_record};
    use grantbook_events::Position;

    #[test]
    fn the_last_record_is_remembered_whatever_comes_late() {
        let (heads, stream) = (StreamHeads::default(), fresh_stream());
        let record = |revision| {
            let new = new_record("{}");
            new.place(stream.clone(), Revision::new(revision), Position::START, ChainDigest::NONE)
        };
        let (third, second) = (record(2), record(1));
        heads.remember(&third);
        heads.remember(&second);
        assert_eq!(heads.digest_at(&stream, Revision::new(2)), Some(third.digest));
        assert_eq!(heads.digest_at(&stream, Revision::new(1)), None);
        assert_eq!(heads.digest_at(&fresh_stream(), Revision::new(2)), None);
    }
}
