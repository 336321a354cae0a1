//! Rows on their way into a file, and back. Knows: columns. Must not know: which file, or who asks.

use std::collections::BTreeSet;

use grantbook_events::{
    Actor, ActorKind, ClientId, Event, EventId, InstallationEvent, InstallationId, Position, Recorded,
    Revision, Timestamp, TokenId, UserId,
};
use grantbook_projections::history::{Bare, HistoryRow};
use grantbook_projections::live::StateDigest;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};
use uuid::Uuid;

use super::HistoryError;
use super::leads::{KeptToken, Leads};
use crate::ledger::{self, UnreadableError};
use crate::store::Record;

/// Every column of a row, in the order of [`read`].
pub(super) const COLUMNS: &str = "position, recorded_at, event_id, stream, revision, type, client_id, account_id, \
                                  user_id, installation_id, token_ids, actor_kind, actor_id, reason, request_id, \
                                  token_users, latest_at, crc";
/// The last of them: over all others.
const CRC: usize = 17;

const INSERT_TOKEN: &str =
    "INSERT INTO event_tokens (token_id, position, user_id, expires_at) VALUES (?1, ?2, ?3, ?4)";
const INSERT_USER: &str = "INSERT OR IGNORE INTO event_users (user_id, position) VALUES (?1, ?2)";
/// The connection that writes, and where its rows end.
#[derive(Debug)]
pub(super) struct Writer {
    conn: Connection,
    position: Position,
    latest_at: i64,
    digest: StateDigest,
    leads: Leads,
}

impl Writer {
    pub(super) fn new(conn: Connection) -> Result<Self, HistoryError> {
        let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
        let (position, latest_at, digest, leads): (i64, i64, [u8; 32], [u8; 32]) =
            conn.query_row("SELECT position, latest_at, digest, leads FROM state", (), read)?;
        Ok(Self {
            conn,
            position: Position::new(position.cast_unsigned()),
            latest_at,
            digest: StateDigest::from_bytes(digest),
            leads: Leads::from_digest(StateDigest::from_bytes(leads)),
        })
    }

    /// Changes the file behind its back.
    #[cfg(test)]
    pub(super) fn tamper(&self, sql: &str) {
        self.conn.execute_batch(sql).unwrap();
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    pub(super) const fn latest_at(&self) -> i64 {
        self.latest_at
    }

    pub(super) const fn digest(&self) -> StateDigest {
        self.digest
    }

    /// Adds a row for each record that is not in yet, all of them or none.
    pub(super) fn insert<'a>(
        &mut self,
        records: impl IntoIterator<Item = &'a Record>,
    ) -> Result<(), HistoryError> {
        let Self { conn, position, latest_at, digest, leads } = self;
        let new: Vec<&Record> =
            records.into_iter().skip_while(|record| record.position <= *position).collect();
        let Some(last) = new.last() else { return Ok(()) };
        let transaction = conn.transaction()?;
        let (mut latest, mut sum, mut led) = (*latest_at, *digest, *leads);
        for record in &new {
            let (row, tokens) = row_and_tokens(record, &ledger::read(record));
            latest = latest.max(row.recorded_at.as_micros());
            row.digest(&mut sum);
            write(&transaction, &row, latest)?;
            write_beside(&transaction, &row, &tokens)?;
            led.add(row.position, &tokens, row.users().collect::<BTreeSet<_>>());
        }
        let previous = match new.as_slice() {
            [.., before, _] => before.position,
            _ => *position,
        };
        transaction
            .prepare_cached(
                "UPDATE state SET position = ?1, event_id = ?2, previous = ?3, latest_at = ?4, digest = ?5, leads = ?6",
            )?
            .execute((
                last.position.as_u64().cast_signed(),
                last.event_id.as_uuid().as_bytes(),
                previous.as_u64().cast_signed(),
                latest,
                sum.to_bytes(),
                led.digest().to_bytes(),
            ))?;
        transaction.commit()?;
        (*position, *latest_at, *digest, *leads) = (last.position, latest, sum, led);
        Ok(())
    }
}

/// The row of a record, whether it can be read or not, and what is kept of its tokens.
pub fn row_and_tokens(
    record: &Record,
    event: &Result<Recorded, UnreadableError>,
) -> (HistoryRow, Vec<KeptToken>) {
    match event {
        Ok(recorded) => {
            let row = HistoryRow::of(recorded);
            let tokens = tokens_of(&row, &recorded.event);
            (row, tokens)
        }
        Err(error) => {
            let known = Bare {
                position: record.position,
                recorded_at: record.recorded_at,
                event_id: record.event_id,
                stream: &record.stream,
                revision: record.revision,
                event_type: &record.type_name,
            };
            let why = format!("cannot be read: {}", error.source);
            (HistoryRow::unreadable(known, why), Vec::new())
        }
    }
}

fn tokens_of(row: &HistoryRow, event: &Event) -> Vec<KeptToken> {
    let issued = match event {
        Event::Installation(InstallationEvent::CodeExchanged(event)) => Some(event),
        Event::Installation(_) | Event::App(_) | Event::OperatorKey(_) => None,
    };
    let kept = |token: &TokenId| KeptToken {
        token_id: *token,
        user_id: issued.map(|event| event.user_id.clone()),
        expires_at: issued.and_then(|event| event.expires_at),
    };
    row.token_ids.iter().map(kept).collect()
}

fn write(conn: &Connection, row: &HistoryRow, latest_at: i64) -> Result<(), rusqlite::Error> {
    let tokens: Vec<u8> = row.token_ids.iter().flat_map(|token| *token.as_uuid().as_bytes()).collect();
    let id = |id: uuid::Uuid| Value::from(id.as_bytes().to_vec());
    let text = |text: &str| Value::from(text.to_owned());
    let users = || serde_json::json!(row.token_users).to_string();
    let mut values = vec![
        row.position.as_u64().cast_signed().into(),
        row.recorded_at.as_micros().into(),
        id(*row.event_id.as_uuid()),
        text(row.stream.as_str()),
        row.revision.as_u64().cast_signed().into(),
        text(&row.event_type),
        row.client_id.map(|of| id(*of.as_uuid())).into(),
        row.account_id.as_ref().map(|of| text(of.as_str())).into(),
        row.user_id.as_ref().map(|of| text(of.as_str())).into(),
        row.installation_id.map(|of| id(*of.as_uuid())).into(),
        (!tokens.is_empty()).then_some(tokens).into(),
        row.actor.as_ref().map(|actor| text(kind_name(actor.kind))).into(),
        row.actor.as_ref().map(|actor| text(&actor.id)).into(),
        row.reason.as_deref().map(text).into(),
        row.request_id.as_ref().map(|of| text(of.as_str())).into(),
        (!row.token_users.is_empty()).then(users).into(),
        latest_at.into(),
    ];
    values.push(i64::from(crc_of(values.iter().map(ValueRef::from))).into());
    let insert = format!("INSERT INTO events ({COLUMNS}) VALUES (?{})", ", ?".repeat(CRC));
    conn.prepare_cached(&insert)?.execute(rusqlite::params_from_iter(values))?;
    Ok(())
}

/// A CRC-32 over values: it tells every flipped bit, and nothing here has to withstand somebody who can write
/// the file.
fn crc_of<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    for value in values {
        let (kind, number);
        let (kind, bytes): (u8, &[u8]) = match value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(value) => {
                number = value.to_le_bytes();
                (1, &number)
            }
            ValueRef::Real(value) => {
                kind = value.to_le_bytes();
                (2, &kind)
            }
            ValueRef::Text(text) => (3, text),
            ValueRef::Blob(blob) => (4, blob),
        };
        crc.update(&[kind]);
        crc.update(&(bytes.len() as u64).to_le_bytes());
        crc.update(bytes);
    }
    crc.finalize()
}

/// Whether a row is what was written.
pub(super) fn is_intact(row: &Row<'_>) -> Result<bool, rusqlite::Error> {
    let values: Vec<ValueRef<'_>> = (0..CRC).map(|column| row.get_ref(column)).collect::<Result<_, _>>()?;
    let crc = match row.get_ref(CRC)? {
        ValueRef::Integer(crc) => Some(crc),
        _ => None,
    };
    Ok(crc == Some(i64::from(crc_of(values.into_iter()))))
}

/// What leads from tokens and users to the row.
fn write_beside(conn: &Connection, row: &HistoryRow, tokens: &[KeptToken]) -> Result<(), rusqlite::Error> {
    let position = row.position.as_u64().cast_signed();
    for token in tokens {
        conn.prepare_cached(INSERT_TOKEN)?.execute((
            token.token_id.as_uuid().as_bytes(),
            position,
            token.user_id.as_ref().map(UserId::as_str),
            token.expires_at.map(Timestamp::as_micros),
        ))?;
    }
    for user in row.users() {
        conn.prepare_cached(INSERT_USER)?.execute((user.as_str(), position))?;
    }
    Ok(())
}

/// Reads a row back, if it is what was written.
pub(super) fn read(row: &Row<'_>) -> Result<HistoryRow, HistoryError> {
    if !is_intact(row)? {
        let position = row.get::<_, i64>(0)?;
        return Err(HistoryError::Damaged(format!("the row of position {position} is not what was written")));
    }
    read_as_it_is(row)
}

/// Reads a row back, whatever became of it.
pub(super) fn read_as_it_is(row: &Row<'_>) -> Result<HistoryRow, HistoryError> {
    let id = |column: usize| -> Result<Option<Uuid>, HistoryError> {
        Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
    };
    let kind: Option<String> = row.get(11)?;
    let actor = match (kind, row.get::<_, Option<String>>(12)?) {
        (Some(kind), Some(id)) => Some(Actor { kind: kind_of(&kind)?, id }),
        _ => None,
    };
    let tokens: Option<Vec<u8>> = row.get(10)?;
    let tokens = tokens.unwrap_or_default();
    let users: Option<String> = row.get(15)?;
    let no_users =
        |error: serde_json::Error| HistoryError::File(format!("it has users that are none: {error}"));
    Ok(HistoryRow {
        position: Position::new(row.get::<_, i64>(0)?.cast_unsigned()),
        recorded_at: Timestamp::from_micros(row.get(1)?),
        event_id: EventId::new(Uuid::from_bytes(row.get(2)?)),
        stream: opaque(row.get::<_, String>(3)?)?,
        revision: Revision::new(row.get::<_, i64>(4)?.cast_unsigned()),
        event_type: row.get(5)?,
        client_id: id(6)?.map(ClientId::new),
        account_id: row.get::<_, Option<String>>(7)?.map(opaque).transpose()?,
        user_id: row.get::<_, Option<String>>(8)?.map(opaque).transpose()?,
        installation_id: id(9)?.map(InstallationId::new),
        token_ids: tokens.as_chunks::<16>().0.iter().map(|id| TokenId::new(Uuid::from_bytes(*id))).collect(),
        actor,
        reason: row.get(13)?,
        request_id: row.get::<_, Option<String>>(14)?.map(opaque).transpose()?,
        token_users: users
            .map(|users| serde_json::from_str(&users))
            .transpose()
            .map_err(no_users)?
            .unwrap_or_default(),
    })
}

pub(super) fn opaque<T: std::str::FromStr<Err: std::fmt::Display>>(text: String) -> Result<T, HistoryError> {
    text.parse().map_err(|error| HistoryError::File(format!("it has a field that is none: {error}")))
}

pub(super) const fn kind_name(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::User => "user",
        ActorKind::App => "app",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
    }
}

fn kind_of(name: &str) -> Result<ActorKind, HistoryError> {
    let kinds = [ActorKind::User, ActorKind::App, ActorKind::Operator, ActorKind::System];
    let found = kinds.into_iter().find(|kind| kind_name(*kind) == name);
    found.ok_or_else(|| HistoryError::File(format!("it has an actor of kind {name:?}")))
}
