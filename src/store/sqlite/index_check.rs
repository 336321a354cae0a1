//! The index of streams, compared with the records that it is derived from. Knows: where streams end. Must not
//! know: where the records come from, or what is done about a fault.

use std::collections::HashMap;
use std::path::Path;

use grantbook_events::Position;
use uuid::Uuid;

use super::heads::{self, Key};
use super::seen_file::End;
use crate::store::{Record, StoreError};

/// What the index says, and how much of it the records have confirmed. Memory grows with streams.
#[derive(Debug)]
pub struct IndexCheck {
    end: End,
    streams: HashMap<Key, (Position, Found)>,
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
        let (end, last) = heads::read(path, ledger)?;
        let streams = last.into_iter().map(|(key, position)| (key, (position, Found::NotYet))).collect();
        Ok(Some(Self { end, streams, is_right: true }))
    }

    /// Up to where the index is to be compared.
    pub fn up_to(&self) -> Position {
        self.end.position
    }

    /// Looks at the next record of the ledger, and says what the index has wrong about it.
    pub fn see(&mut self, record: &Record) -> Option<String> {
        if record.position > self.end.position {
            return None;
        }
        let stream = &record.stream;
        let (last, found) = self.streams.entry(Key::of(stream)).or_insert((Position::START, Found::NotYet));
        let wrong = match *last {
            _ if *found == Found::Wrong => None,
            Position::START => Some(format!("the index of streams does not have stream {stream}")),
            last if last < record.position => {
                Some(format!("the index of streams has stream {stream} end otherwise, at position {last}"))
            }
            _ => None,
        };
        if wrong.is_some() {
            *found = Found::Wrong;
        } else if *last == record.position {
            *found = Found::Right;
        }
        let is_another = record.position == self.end.position && record.digest != self.end.digest;
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
        if self.end.position > last {
            return Err(format!("the index of streams has seen position {}", self.end.position));
        }
        match self.streams.values().filter(|(_, found)| *found == Found::NotYet).count() {
            0 if self.is_right => Ok(()),
            0 => Err("the index of streams does not agree with the ledger".to_owned()),
            count => Err(format!("the index of streams has {count} streams that the ledger does not have")),
        }
    }
}
