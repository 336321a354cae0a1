//! Records as rows of the log, and how they are read back and verified. Knows: columns and digests. Must
//! not know: threads, or who asks.

use std::error::Error;

use grantbook_events::{EventId, Position, Revision, StreamName, Timestamp};
use rusqlite::types::{FromSqlError, FromSqlResult};
use rusqlite::{Connection, Params, Row, params};
use uuid::Uuid;

use super::schema::{Log, file_error};
use crate::store::{ChainDigest, Link, Record, StoreError};

/// How many records one read transaction looks at, at most: a long one would hold up the checkpoints.
const WALK: usize = 512;

/// Where a stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct StreamHead {
    pub position: Position,
    pub revision: Revision,
    pub digest: ChainDigest,
}

impl StreamHead {
    pub(super) fn of(record: &Record) -> Self {
        Self { position: record.position, revision: record.revision, digest: record.digest }
    }
}

/// Puts a record at the end of the log.
pub(super) fn insert(conn: &Connection, record: &Record) -> rusqlite::Result<()> {
    let mut insert =
        conn.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)")?;
    let mut id = Uuid::encode_buffer();
    let previous_digest =
        (record.previous_digest != ChainDigest::NONE).then_some(record.previous_digest.as_bytes());
    insert.execute(params![
        record.position.as_u64().cast_signed(),
        record.stream.as_str(),
        record.revision.as_u64().cast_signed(),
        record.link.previous().map(|previous| previous.as_u64().cast_signed()),
        &*record.event_id.as_uuid().hyphenated().encode_lower(&mut id),
        record.type_name,
        record.version,
        record.recorded_at.as_micros(),
        record.metadata,
        record.payload,
        previous_digest,
        record.digest.as_bytes(),
    ])?;
    Ok(())
}

impl Log {
    /// The position that a statement gives, if any.
    fn position(
        &self,
        near: Position,
        sql: &str,
        params: impl Params,
    ) -> Result<Option<Position>, StoreError> {
        let found = self.ask(near, |conn| {
            conn.prepare_cached(sql)?.query_one(params, |row| row.get::<_, Option<i64>>(0))
        })?;
        Ok(found.map(|found| Position::new(found.cast_unsigned())))
    }

    /// The last position; the records there are verified when they are read.
    pub(super) fn last_position(&self) -> Result<Position, StoreError> {
        let last = self.position(Position::START, "SELECT max(position) FROM log", [])?;
        Ok(last.unwrap_or(Position::START))
    }

    /// The position of the first row after a position.
    pub(super) fn next_after(&self, position: Position) -> Result<Option<Position>, StoreError> {
        let sql = "SELECT min(position) FROM log WHERE position > ?1";
        self.position(position, sql, [position.as_u64().cast_signed()])
    }

    /// The next records after a position, verified, without gaps.
    pub(super) fn page(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        // No row is beyond what an INTEGER can say.
        let Ok(start) = i64::try_from(after.as_u64()) else { return Ok(Vec::new()) };
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let sql = "SELECT position, stream, revision, previous, event_id, type, version, recorded_at, \
                   metadata, payload, previous_digest, digest FROM log \
                   WHERE position > ?1 ORDER BY position LIMIT ?2";
        let mut statement = self.ask(after, |conn| conn.prepare_cached(sql))?;
        let mut rows = statement.query(params![start, limit]).map_err(|error| self.error(after, &error))?;
        let (mut page, mut last) = (Vec::new(), after);
        while let Some(row) = rows.next().map_err(|error| self.error(last, &error))? {
            let record = self.verified(row)?;
            if record.position.as_u64() != last.as_u64() + 1 {
                let found = format!("the record after it is missing; the next one is {}", record.position);
                return Err(self.damaged(last, &found));
            }
            last = record.position;
            page.push(record);
        }
        Ok(page)
    }

    /// The record at a position.
    pub(super) fn at(&self, position: Position) -> Result<Record, StoreError> {
        let before = Position::new(position.as_u64().saturating_sub(1));
        self.page(before, 1)?.pop().ok_or_else(|| self.damaged(position, "the record is missing"))
    }

    /// Reads a row and compares it with its digest.
    fn verified(&self, row: &Row<'_>) -> Result<Record, StoreError> {
        let position = row.get::<_, i64>(0).map_err(|error| self.error(Position::START, &error))?;
        let position = Position::new(position.cast_unsigned());
        let record = read(row, position).map_err(|error| self.error(position, &error))?;
        if record.is_intact() {
            Ok(record)
        } else {
            Err(self.damaged(position, "the record is not what was written: its digest differs"))
        }
    }

    /// The records of a stream from a revision to its head, verified along the chain, in order.
    pub(super) fn walk(
        &self,
        stream: &StreamName,
        head: StreamHead,
        from: Revision,
    ) -> Result<Vec<Record>, StoreError> {
        let mut records: Vec<Record> = Vec::new();
        let mut next = Some(head);
        while let Some(first) = next.filter(|next| next.revision >= from) {
            // Inside the writer's transaction there is one already.
            let begin = || self.ask(first.position, Connection::unchecked_transaction);
            let _short = self.conn.is_autocommit().then(begin).transpose()?;
            for _ in 0..WALK {
                let Some(expected) = next.filter(|next| next.revision >= from) else { break };
                let record = self.at(expected.position)?;
                next = self.step_back(&record, stream, &expected)?;
                records.push(record);
            }
        }
        records.reverse();
        Ok(records)
    }

    /// Compares a record with what its successor (or the head) says of it, and says what must come before.
    fn step_back(
        &self,
        record: &Record,
        stream: &StreamName,
        expected: &StreamHead,
    ) -> Result<Option<StreamHead>, StoreError> {
        let wrong = |what: &str| Err(self.damaged(record.position, what));
        if record.stream != *stream || StreamHead::of(record) != *expected {
            return wrong("the record is not the one its stream names here");
        }
        match (record.link.previous(), record.revision.as_u64().checked_sub(1)) {
            (None, None) if record.previous_digest == ChainDigest::NONE => Ok(None),
            // Going back must end.
            (Some(position), Some(revision)) if position < record.position => Ok(Some(StreamHead {
                position,
                revision: Revision::new(revision),
                digest: record.previous_digest,
            })),
            _ => wrong("the link to the record before it in its stream is not what was written"),
        }
    }

    /// Whether this is the record that follows `head` in its stream.
    pub(super) fn check_follows(&self, record: &Record, head: Option<&StreamHead>) -> Result<(), StoreError> {
        let (previous, revision, digest) = match head {
            None => (None, Revision::FIRST, ChainDigest::NONE),
            Some(head) => (Some(head.position), head.revision.next(), head.digest),
        };
        let found = (record.link.previous(), record.revision, record.previous_digest);
        if found == (previous, revision, digest) {
            return Ok(());
        }
        Err(self.damaged(record.position, "the record does not follow the one before it in its stream"))
    }

    /// Where a stream ends, found by a look at every record.
    pub(super) fn scan_for_head(&self, stream: &StreamName) -> Result<Option<StreamHead>, StoreError> {
        let sql = "SELECT max(position) FROM log WHERE stream = ?1";
        let last = self.position(Position::START, sql, [stream.as_str()])?;
        last.map(|last| Ok(StreamHead::of(&self.at(last)?))).transpose()
    }

    fn error(&self, at: Position, error: &rusqlite::Error) -> StoreError {
        file_error(&self.path, at, error)
    }
}

fn read(row: &Row<'_>, position: Position) -> rusqlite::Result<Record> {
    fn other(error: impl Error + Send + Sync + 'static) -> FromSqlError {
        FromSqlError::Other(Box::new(error))
    }
    let digest = |bytes: &[u8]| -> FromSqlResult<ChainDigest> {
        let wrong = |_| FromSqlError::InvalidBlobSize { expected_size: 32, blob_size: bytes.len() };
        bytes.try_into().map(ChainDigest::new).map_err(wrong)
    };
    let previous = row.get::<_, Option<i64>>(3)?.map(|previous| Position::new(previous.cast_unsigned()));
    Ok(Record {
        position,
        stream: row.get_ref(1)?.as_str()?.parse().map_err(other)?,
        revision: Revision::new(row.get::<_, i64>(2)?.cast_unsigned()),
        event_id: EventId::new(Uuid::parse_str(row.get_ref(4)?.as_str()?).map_err(other)?),
        type_name: row.get(5)?,
        version: row.get(6)?,
        recorded_at: Timestamp::from_micros(row.get(7)?),
        metadata: row.get(8)?,
        payload: row.get(9)?,
        previous_digest: row.get_ref(10)?.as_blob_or_null()?.map_or(Ok(ChainDigest::NONE), digest)?,
        digest: digest(row.get_ref(11)?.as_blob()?)?,
        link: Link::Kept(previous),
        fault: None,
    })
}
