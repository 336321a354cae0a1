//! Records as rows of the log, and how they are read back without trust. Knows: columns and digests. Must
//! not know: threads, or who asks.

use std::path::Path;

use grantbook_events::{EventId, Position, Revision, StreamName, Timestamp};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use uuid::Uuid;

use super::schema::{damaged, file_error};
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

/// Whether this is the record that follows `head` in its stream.
pub(super) fn follows(record: &Record, head: Option<&StreamHead>) -> bool {
    let previous = record.link.previous();
    match head {
        None => {
            previous.is_none()
                && record.revision == Revision::FIRST
                && record.previous_digest == ChainDigest::NONE
        }
        Some(head) => {
            previous == Some(head.position)
                && record.revision == head.revision.next()
                && record.previous_digest == head.digest
        }
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
        previous_digest.map(|digest| &digest[..]),
        &record.digest.as_bytes()[..],
    ])?;
    Ok(())
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT position, stream, revision, previous, event_id, type, version, recorded_at, ",
            "metadata, payload, previous_digest, digest FROM log ",
            $rest
        )
    };
}

/// Reads a row and holds it against its digest.
fn intact(row: &Row<'_>, path: &Path) -> Result<Record, StoreError> {
    let position = row.get::<_, i64>(0).map_err(|error| file_error(path, Position::START, &error))?;
    let position = Position::new(position.cast_unsigned());
    let record = read(row, position).map_err(|error| file_error(path, position, &error))?;
    if record.is_intact() {
        Ok(record)
    } else {
        Err(damaged(path, position, "the record is not what was written: its digest differs"))
    }
}

fn read(row: &Row<'_>, position: Position) -> rusqlite::Result<Record> {
    let other = |error: Box<dyn std::error::Error + Send + Sync>| FromSqlError::Other(error);
    let digest = |bytes: &[u8]| {
        bytes
            .try_into()
            .map(ChainDigest::new)
            .map_err(|_| FromSqlError::InvalidBlobSize { expected_size: 32, blob_size: bytes.len() })
    };
    let stream: StreamName = row.get_ref(1)?.as_str()?.parse().map_err(|error| other(Box::new(error)))?;
    let id = Uuid::parse_str(row.get_ref(4)?.as_str()?).map_err(|error| other(Box::new(error)))?;
    let previous = row.get::<_, Option<i64>>(3)?.map(|previous| Position::new(previous.cast_unsigned()));
    Ok(Record {
        position,
        stream,
        revision: Revision::new(row.get::<_, i64>(2)?.cast_unsigned()),
        event_id: EventId::new(id),
        type_name: row.get(5)?,
        version: row.get(6)?,
        recorded_at: Timestamp::from_micros(row.get(7)?),
        metadata: row.get(8)?,
        payload: row.get(9)?,
        previous_digest: row.get_ref(10)?.as_blob_or_null()?.map_or(Ok(ChainDigest::NONE), digest)?,
        digest: digest(row.get_ref(11)?.as_blob()?)?,
        link: Link::Kept(previous),
    })
}

/// The last position; the records there are verified when they are read.
pub(super) fn last_position(conn: &Connection, path: &Path) -> Result<Position, StoreError> {
    let read = |conn: &Connection| {
        conn.prepare_cached("SELECT max(position) FROM log")?
            .query_one([], |row| row.get::<_, Option<i64>>(0))
    };
    let last = read(conn).map_err(|error| file_error(path, Position::START, &error))?;
    Ok(Position::new(last.unwrap_or(0).cast_unsigned()))
}

/// When the last record was recorded; the beginning of time if there is none.
pub(super) fn last_time(conn: &Connection, path: &Path) -> Result<Timestamp, StoreError> {
    let sql = "SELECT recorded_at FROM log ORDER BY position DESC LIMIT 1";
    let last: Result<Option<i64>, _> = conn.query_row(sql, [], |row| row.get(0)).optional();
    let last = last.map_err(|error| file_error(path, Position::START, &error))?;
    Ok(Timestamp::from_micros(last.unwrap_or(i64::MIN)))
}

/// The next records after a position, verified, without gaps.
pub(super) fn page(
    conn: &Connection,
    path: &Path,
    after: Position,
    limit: usize,
) -> Result<Vec<Record>, StoreError> {
    // No row is beyond what an INTEGER can say.
    let Ok(start) = i64::try_from(after.as_u64()) else { return Ok(Vec::new()) };
    let failed = |error: &rusqlite::Error| file_error(path, after, error);
    let sql = select!("WHERE position > ?1 ORDER BY position LIMIT ?2");
    let mut statement = conn.prepare_cached(sql).map_err(|error| failed(&error))?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![start, limit]).map_err(|error| failed(&error))?;
    let (mut page, mut last) = (Vec::new(), after);
    while let Some(row) = rows.next().map_err(|error| file_error(path, last, &error))? {
        let record = intact(row, path)?;
        if record.position.as_u64() != last.as_u64() + 1 {
            let found = format!("the record after it is missing; the next one is {}", record.position);
            return Err(damaged(path, last, &found));
        }
        last = record.position;
        page.push(record);
    }
    Ok(page)
}

/// The position of the first row behind a position.
pub(super) fn next_after(conn: &Connection, position: Position) -> rusqlite::Result<Option<Position>> {
    let next: Option<i64> = conn
        .prepare_cached("SELECT min(position) FROM log WHERE position > ?1")?
        .query_one([position.as_u64().cast_signed()], |row| row.get(0))?;
    Ok(next.map(|next| Position::new(next.cast_unsigned())))
}

/// Where the stream of a row ended with it.
pub(super) fn end_at(
    conn: &Connection,
    position: Position,
    stream: &StreamName,
) -> rusqlite::Result<Option<StreamHead>> {
    let sql = "SELECT revision, digest FROM log WHERE position = ?1 AND stream = ?2";
    let found = conn
        .prepare_cached(sql)?
        .query_row(params![position.as_u64().cast_signed(), stream.as_str()], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, [u8; 32]>(1)?))
        });
    Ok(found.optional()?.map(|(revision, digest)| StreamHead {
        position,
        revision: Revision::new(revision.cast_unsigned()),
        digest: ChainDigest::new(digest),
    }))
}

/// The record at a position, verified.
fn at(conn: &Connection, path: &Path, position: Position) -> Result<Record, StoreError> {
    let failed = |error: &rusqlite::Error| file_error(path, position, error);
    let mut statement =
        conn.prepare_cached(select!("WHERE position = ?1")).map_err(|error| failed(&error))?;
    let mut rows = statement.query([position.as_u64().cast_signed()]).map_err(|error| failed(&error))?;
    match rows.next().map_err(|error| failed(&error))? {
        Some(row) => intact(row, path),
        None => Err(damaged(path, position, "the record is missing")),
    }
}

/// The records of a stream from a revision to its head, verified along the chain, in order.
pub(super) fn walk(
    conn: &Connection,
    path: &Path,
    stream: &StreamName,
    head: StreamHead,
    from: Revision,
) -> Result<Vec<Record>, StoreError> {
    let mut records: Vec<Record> = Vec::new();
    let mut next = Some(head);
    while let Some(first) = next.filter(|next| next.revision >= from) {
        // Inside the writer's transaction there is one already.
        let _short = conn
            .is_autocommit()
            .then(|| conn.unchecked_transaction())
            .transpose()
            .map_err(|error| file_error(path, first.position, &error))?;
        for _ in 0..WALK {
            let Some(expected) = next.filter(|next| next.revision >= from) else { break };
            let record = at(conn, path, expected.position)?;
            next = step_back(&record, stream, &expected, path)?;
            records.push(record);
        }
    }
    records.reverse();
    Ok(records)
}

/// Holds a record against what its successor (or the head) says of it, and says what must come before.
fn step_back(
    record: &Record,
    stream: &StreamName,
    expected: &StreamHead,
    path: &Path,
) -> Result<Option<StreamHead>, StoreError> {
    let wrong = |what: &str| Err(damaged(path, record.position, what));
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

/// Where a stream ends, found by looking at every record after a position.
pub(super) fn scan_for_head(
    conn: &Connection,
    path: &Path,
    stream: &StreamName,
    after: Position,
) -> Result<Option<StreamHead>, StoreError> {
    let scan = || {
        let mut last =
            conn.prepare_cached("SELECT max(position) FROM log WHERE position > ?1 AND stream = ?2")?;
        last.query_one(params![after.as_u64().cast_signed(), stream.as_str()], |row| {
            row.get::<_, Option<i64>>(0)
        })
    };
    let found = scan().map_err(|error| file_error(path, after, &error))?;
    found
        .map(|last| at(conn, path, Position::new(last.cast_unsigned())).map(|at| StreamHead::of(&at)))
        .transpose()
}
