//! Where streams ended when they were last read or written, so that a record can be chained to its predecessor
//! without reading it. A remembered end may be old: the append at its exact revision decides.

use std::num::NonZeroUsize;
use std::sync::{Mutex, PoisonError};

use grantbook_events::{Revision, StreamName};
use lru::LruCache;

use crate::store::{ChainDigest, Record};

/// How many ends are remembered.
const MAX_HEADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(65_535);

/// The last record of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamHead {
    pub revision: Revision,
    pub digest: ChainDigest,
}

/// Remembered ends.
#[derive(Debug)]
pub(super) struct StreamHeads(Mutex<LruCache<StreamName, StreamHead>>);

impl Default for StreamHeads {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_HEADS)))
    }
}

impl StreamHeads {
    /// The digest of a stream's record at a revision, if that is where the stream is remembered to end.
    pub(super) fn digest_at(&self, stream: &StreamName, revision: Revision) -> Option<ChainDigest> {
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heads.get(stream).filter(|head| head.revision == revision).map(|head| head.digest)
    }

    /// Remembers a record, unless a later one of its stream is remembered already.
    pub(super) fn remember(&self, record: &Record) {
        let head = StreamHead { revision: record.revision, digest: record.digest };
        let mut heads = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if heads.get(&record.stream).is_none_or(|known| known.revision < head.revision) {
            heads.put(record.stream.clone(), head);
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
