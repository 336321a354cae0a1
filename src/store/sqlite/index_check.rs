//! The index of streams, compared with the records that it is derived from. Knows: where streams end. Must not
//! know: where the records come from, or what is done about a fault.

use std::collections::HashMap;
use std::path::Path;

use grantbook_events::Position;
use uuid::Uuid;

use super::heads_file::{HeadsFile, Key, UpTo};
use super::rows::StreamHead;
use crate::store::{Record, StoreError};

/// What the index says, and how much of it the records have confirmed. Memory grows with streams.
#[derive(Debug)]
pub struct IndexCheck {
    up_to: UpTo,
    streams: HashMap<Key, (StreamHead, Found)>,
    is_right: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Found {
    NotYet,
    Right,
    Wrong,
}

impl IndexCheck {
    /// Reads the index of a ledger; `None` if there is none.
    ///
    /// # Errors
    /// If the file is not what was written.
    pub(super) fn read(path: &Path, ledger: Uuid) -> Result<Option<Self>, StoreError> {
        if !path.exists() {
            return Ok(None);
        }
        let file = HeadsFile::open(path, false)?;
        file.up_to(ledger)?;
        let mut streams = HashMap::new();
        let up_to = file.scan(|key, head| {
            streams.insert(key, (head, Found::NotYet));
        })?;
        Ok(Some(Self { up_to, streams, is_right: true }))
    }

    /// Up to where the index is to be compared.
    pub fn up_to(&self) -> Position {
        self.up_to.position
    }

    /// Looks at the next record of the ledger, and says what the index has wrong about it.
    pub fn see(&mut self, record: &Record) -> Option<String> {
        if record.position > self.up_to.position {
            return None;
        }
        let (head, stream) = (StreamHead::of(record), &record.stream);
        let wrong = match self.streams.get_mut(&Key::of(stream)) {
            None => {
                self.streams.insert(Key::of(stream), (head, Found::Wrong));
                Some(format!("the index of streams does not have stream {stream}"))
            }
            Some((known, found)) if *found != Found::Wrong && known.position <= head.position => {
                *found = if *known == head { Found::Right } else { Found::Wrong };
                let known = known.position;
                (*found == Found::Wrong).then(|| {
                    format!("the index of streams has stream {stream} end otherwise, at position {known}")
                })
            }
            Some(_) => None,
        };
        let is_another = record.position == self.up_to.position && record.digest != self.up_to.digest;
        let another = || "the index of streams has seen another record here".to_owned();
        let wrong = wrong.or_else(|| is_another.then(another));
        self.is_right &= wrong.is_none();
        wrong
    }

    /// What is wrong with the rest, after the last record.
    ///
    /// # Errors
    /// What is wrong, also if it was said before.
    pub fn end(&self, last: Position) -> Result<(), String> {
        if self.up_to.position > last {
            return Err(format!("the index of streams has seen position {}", self.up_to.position));
        }
        match self.streams.values().filter(|(_, found)| *found == Found::NotYet).count() {
            0 if self.is_right => Ok(()),
            0 => Err("the index of streams does not agree with the ledger".to_owned()),
            count => Err(format!("the index of streams has {count} streams that the ledger does not have")),
        }
    }
}
