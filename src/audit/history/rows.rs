//! A row as the file has it, and what leads to it. Knows: encodings, keys, one connection that writes. Must not know: which
//! file, or who asks.

use grantbook_events::{EventId, Position, Recorded};
use grantbook_projections::history::{Bare, HistoryRow};
use grantbook_projections::live::StateDigest;
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::error::HistoryError;
use crate::ledger::UnreadableError;
use crate::store::{Record, SeenMark, SeenRecord};

/// What is in a file: another number for every release that writes other rows.
pub const VERSION: u32 = 7;

pub(super) const SCHEMA: &str = "
-- Where the rows end.
CREATE TABLE state (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    ledger BLOB NOT NULL,
    position INTEGER NOT NULL,
    event_id BLOB,
    -- The position before the last.
    previous INTEGER NOT NULL,
    latest_at INTEGER NOT NULL,
    -- The most by which an event was recorded before the latest time of those before it.
    most_behind INTEGER NOT NULL,
    -- The sum over all rows.
    digest BLOB NOT NULL
) STRICT;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    recorded_at INTEGER NOT NULL,
    -- The latest time up to this row. It never falls, so a time leads to a position by a binary search.
    latest_at INTEGER NOT NULL,
    -- The first 8 bytes of the row's digest: checked whenever the row is read.
    digest INTEGER NOT NULL,
    row BLOB NOT NULL
) STRICT;
-- Hashes of everything that rows are found by. One narrow table is written with fewer pages than an index for each kind.
CREATE TABLE keys (
    key INTEGER NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (key, position)
) STRICT, WITHOUT ROWID;
";

/// The columns that [`read`] reads.
pub(super) const COLUMNS: &str = "events.position, events.recorded_at, events.digest, events.row";

/// The row of a record, whether it can be read or not.
pub fn row_of(record: &Record, event: &Result<Recorded, UnreadableError>) -> HistoryRow {
    match event {
        Ok(recorded) => HistoryRow::of(recorded),
        Err(error) => {
            let bare = Bare {
                position: record.position,
                recorded_at: record.recorded_at,
                event_id: record.event_id,
                stream: &record.stream,
                revision: record.revision,
                event_type: &record.type_name,
            };
            HistoryRow::unreadable(bare, &record.payload, format!("cannot be read: {}", error.source))
        }
    }
}

/// The digest of one row. That of a history is the sum over its rows.
pub fn digest_of(row: &HistoryRow) -> StateDigest {
    digest_of_bytes(&encode(row))
}

pub(super) fn encode(row: &HistoryRow) -> Vec<u8> {
    // Every row can be encoded. An empty one would be found damaged.
    postcard::to_stdvec(row).unwrap_or_default()
}

fn digest_of_bytes(bytes: &[u8]) -> StateDigest {
    let mut digest = StateDigest::default();
    digest.add("history", &[bytes]);
    digest
}

/// How much of its digest is stored with a row: enough to notice every damage of a disk.
fn check_of(digest: StateDigest) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = digest.to_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

/// A position as the file has it. Beyond what it can hold is beyond every row.
pub(super) fn number(position: Position) -> i64 {
    i64::try_from(position.as_u64()).unwrap_or(i64::MAX)
}

pub(super) const fn position(number: i64) -> Position {
    Position::new(number.cast_unsigned())
}

/// What rows can be found by.
#[derive(Debug, Clone, Copy)]
pub(super) enum Key<'a> {
    Token(&'a Uuid),
    Installation(&'a Uuid),
    User(&'a str),
    Account(&'a str),
    Reason(&'a str),
    Actor(&'a str),
    App(&'a Uuid),
    Type(&'a str),
    Unreadable,
}

impl Key<'_> {
    /// FNV-1a. Two keys that have one hash by chance lead to each other's rows, which are then left out.
    pub(super) fn hash(self) -> i64 {
        let (kind, value): (u8, &[u8]) = match &self {
            Self::Token(id) => (1, id.as_bytes()),
            Self::Installation(id) => (2, id.as_bytes()),
            Self::User(user) => (3, user.as_bytes()),
            Self::Account(account) => (4, account.as_bytes()),
            Self::Reason(reason) => (5, reason.as_bytes()),
            Self::Actor(actor) => (6, actor.as_bytes()),
            Self::App(id) => (7, id.as_bytes()),
            Self::Type(name) => (8, name.as_bytes()),
            Self::Unreadable => (9, &[]),
        };
        fnv(std::iter::once(kind).chain(value.iter().copied()))
    }
}

pub(super) fn fnv(bytes: impl Iterator<Item = u8>) -> i64 {
    let add = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
    bytes.fold(0xcbf2_9ce4_8422_2325, add).cast_signed()
}

/// The hashes that lead to a row, each once.
pub(super) fn keys_of(row: &HistoryRow) -> Vec<i64> {
    let mut keys = vec![Key::Type(&row.event_type)];
    keys.extend(row.token_ids.iter().map(|id| Key::Token(id.as_uuid())));
    keys.extend(row.users().map(|user| Key::User(user.as_str())));
    keys.extend(row.installation_id.as_ref().map(|id| Key::Installation(id.as_uuid())));
    keys.extend(row.account_id.as_ref().map(|account| Key::Account(account.as_str())));
    keys.extend(row.reason.as_deref().map(Key::Reason));
    keys.extend(row.client_id.as_ref().map(|id| Key::App(id.as_uuid())));
    keys.push(row.actor.as_ref().map_or(Key::Unreadable, |actor| Key::Actor(&actor.id)));
    let mut hashes: Vec<_> = keys.into_iter().map(Key::hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// A row as it is in the file.
#[derive(Debug)]
pub struct StoredRow {
    pub row: HistoryRow,
    pub(super) digest: StateDigest,
    /// Whether it is what was written.
    pub is_intact: bool,
}

/// Reads a row back, if it is what was written.
pub(super) fn read(row: &Row<'_>) -> Result<StoredRow, HistoryError> {
    let stored = read_unchecked(row)?;
    if stored.is_intact { Ok(stored) } else { Err(is_damaged(stored.row.position)) }
}

/// Reads a row back, whatever it is now.
pub(super) fn read_unchecked(row: &Row<'_>) -> Result<StoredRow, HistoryError> {
    let (at, recorded_at): (i64, i64) = (row.get(0)?, row.get(1)?);
    let bytes = row.get_ref(3)?.as_blob().map_err(|_| is_damaged(position(at)))?;
    let digest = digest_of_bytes(bytes);
    let decoded: HistoryRow = postcard::from_bytes(bytes).map_err(|_| is_damaged(position(at)))?;
    let is_intact = row.get::<_, i64>(2)? == check_of(digest)
        && number(decoded.position) == at
        && decoded.recorded_at.as_micros() == recorded_at;
    Ok(StoredRow { row: HistoryRow { position: position(at), ..decoded }, digest, is_intact })
}

fn is_damaged(position: Position) -> HistoryError {
    HistoryError::Damaged(format!("the row of position {position} is not what was written"))
}

/// Where the rows of a file end, and what they add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    pub(super) ledger: Uuid,
    pub position: Position,
    pub(super) event_id: Option<EventId>,
    /// The position before it.
    pub(super) previous: Position,
    pub(super) latest_at: i64,
    pub(super) most_behind: i64,
    /// The sum over all rows.
    pub digest: StateDigest,
}

impl End {
    /// Of a file without rows.
    pub(super) fn none(ledger: Uuid) -> Self {
        let (position, digest) = (Position::START, StateDigest::default());
        Self {
            ledger,
            position,
            event_id: None,
            previous: position,
            latest_at: i64::MIN,
            most_behind: 0,
            digest,
        }
    }

    /// The last event; none in a file without rows.
    pub(super) fn seen(&self) -> Option<SeenRecord> {
        let mark = SeenMark::Event(self.event_id?);
        Some(SeenRecord { position: self.position, previous: self.previous, mark })
    }

    pub(super) fn read(conn: &Connection) -> rusqlite::Result<Self> {
        let select = "SELECT ledger, position, event_id, previous, latest_at, most_behind, digest FROM state";
        conn.query_row(select, (), |row| {
            Ok(Self {
                ledger: Uuid::from_bytes(row.get(0)?),
                position: position(row.get(1)?),
                event_id: row.get::<_, Option<_>>(2)?.map(|id| EventId::new(Uuid::from_bytes(id))),
                previous: position(row.get(3)?),
                latest_at: row.get(4)?,
                most_behind: row.get(5)?,
                digest: StateDigest::from_bytes(row.get(6)?),
            })
        })
    }

    pub(super) fn write(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut write = conn.prepare_cached("REPLACE INTO state VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7)")?;
        write.execute((
            self.ledger.as_bytes(),
            number(self.position),
            self.event_id.map(|id| *id.as_uuid().as_bytes()),
            number(self.previous),
            self.latest_at,
            self.most_behind,
            self.digest.to_bytes(),
        ))?;
        Ok(())
    }

    fn add(&mut self, row: &HistoryRow, digest: StateDigest) {
        let at = row.recorded_at.as_micros();
        (self.previous, self.position, self.event_id) = (self.position, row.position, Some(row.event_id));
        self.latest_at = self.latest_at.max(at);
        self.most_behind = self.most_behind.max(self.latest_at.saturating_sub(at));
        self.digest.merge(digest);
    }
}

/// The one connection that adds rows to a file.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) conn: Connection,
    pub(super) end: End,
}

impl Writer {
    /// Adds the rows that are not there yet, all of them or none.
    pub(super) fn insert(&mut self, rows: impl IntoIterator<Item = HistoryRow>) -> Result<(), HistoryError> {
        let (mut end, mut keys) = (self.end, Vec::new());
        let transaction = self.conn.transaction()?;
        {
            let mut insert = transaction.prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for row in rows.into_iter().skip_while(|row| row.position <= self.end.position) {
                let bytes = encode(&row);
                let digest = digest_of_bytes(&bytes);
                end.add(&row, digest);
                let (at, recorded_at) = (number(row.position), row.recorded_at.as_micros());
                insert.execute((at, recorded_at, end.latest_at, check_of(digest), bytes))?;
                keys.extend(keys_of(&row).into_iter().map(|key| (key, at)));
            }
            // In their order, each page of the table is changed once.
            keys.sort_unstable();
            let mut insert = transaction.prepare_cached("INSERT INTO keys VALUES (?1, ?2)")?;
            for key in keys {
                insert.execute(key)?;
            }
        }
        if end.position != self.end.position {
            end.write(&transaction)?;
            transaction.commit()?;
            self.end = end;
        }
        Ok(())
    }
}
