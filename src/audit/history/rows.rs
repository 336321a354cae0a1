//! A row as the file keeps it, and back. Knows: columns. Must not know: which file, or who asks.

use grantbook_events::{
    Actor, ActorKind, ClientId, EventId, InstallationId, Position, Recorded, Revision, Timestamp, TokenId,
};
use grantbook_projections::history::{Bare, HistoryRow};
use grantbook_projections::live::StateDigest;
use rusqlite::Row;
use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use uuid::Uuid;

use super::HistoryError;
use crate::ledger::UnreadableError;
use crate::store::Record;

/// Every column of a row, in the order of [`values_of`], with the check at the end.
pub(super) const COLUMNS: &str = "position, recorded_at, event_id, stream, revision, type, client_id, account_id, \
                                  user_id, installation_id, token_ids, token_users, actor_kind, actor_id, reason, \
                                  request_id, digest";
/// How many columns the check covers.
const VALUES: usize = 16;

const ACTOR_KINDS: [(ActorKind, &str); 4] = [
    (ActorKind::User, "user"),
    (ActorKind::App, "app"),
    (ActorKind::Operator, "operator"),
    (ActorKind::System, "system"),
];

/// The row of a record, whether it can be read or not.
pub fn row_of(record: &Record, event: &Result<Recorded, UnreadableError>) -> HistoryRow {
    match event {
        Ok(recorded) => HistoryRow::of(recorded),
        Err(error) => {
            let known = Bare {
                position: record.position,
                recorded_at: record.recorded_at,
                event_id: record.event_id,
                stream: &record.stream,
                revision: record.revision,
                event_type: &record.type_name,
            };
            HistoryRow::unreadable(known, &record.payload, format!("cannot be read: {}", error.source))
        }
    }
}

/// The digest of one row. That of a history is the sum over its rows.
pub fn digest_of(row: &HistoryRow) -> StateDigest {
    digest_of_values(values_of(row).iter().map(value_ref))
}

/// How much of its digest is stored with a row: enough to notice every damage of a disk.
pub(super) fn check_of(digest: StateDigest) -> i64 {
    let [a, b, c, d, e, f, g, h, ..] = digest.to_bytes();
    i64::from_le_bytes([a, b, c, d, e, f, g, h])
}

pub(super) fn values_of(row: &HistoryRow) -> [ToSqlOutput<'_>; VALUES] {
    fn id(id: &Uuid) -> ValueRef<'_> {
        ValueRef::Blob(id.as_bytes())
    }
    fn text(text: &str) -> ValueRef<'_> {
        ValueRef::Text(text.as_bytes())
    }
    fn some<'a, T>(value: Option<&'a T>, as_ref: impl Fn(&'a T) -> ValueRef<'a>) -> ToSqlOutput<'a> {
        ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, as_ref))
    }
    fn number<'a>(number: u64) -> ToSqlOutput<'a> {
        ToSqlOutput::Owned(Value::Integer(number.cast_signed()))
    }
    let token_ids = match row.token_ids.as_slice() {
        [] => ToSqlOutput::Borrowed(ValueRef::Null),
        [one] => ToSqlOutput::Borrowed(id(one.as_uuid())),
        many => {
            let bytes = many.iter().flat_map(|token| *token.as_uuid().as_bytes()).collect();
            ToSqlOutput::Owned(Value::Blob(bytes))
        }
    };
    let token_users = match row.token_users.as_slice() {
        [] => Value::Null,
        users => Value::Text(serde_json::json!(users).to_string()),
    };
    [
        number(row.position.as_u64()),
        ToSqlOutput::Owned(Value::Integer(row.recorded_at.as_micros())),
        ToSqlOutput::Borrowed(id(row.event_id.as_uuid())),
        ToSqlOutput::Borrowed(text(row.stream.as_str())),
        number(row.revision.as_u64()),
        ToSqlOutput::Borrowed(text(&row.event_type)),
        some(row.client_id.as_ref(), |client| id(client.as_uuid())),
        some(row.account_id.as_ref(), |account| text(account.as_str())),
        some(row.user_id.as_ref(), |user| text(user.as_str())),
        some(row.installation_id.as_ref(), |installation| id(installation.as_uuid())),
        token_ids,
        ToSqlOutput::Owned(token_users),
        some(row.actor.as_ref(), |actor| text(kind_name(actor.kind))),
        some(row.actor.as_ref(), |actor| text(&actor.id)),
        some(row.reason.as_ref(), |reason| text(reason)),
        some(row.request_id.as_ref(), |request| text(request.as_str())),
    ]
}

fn value_ref<'a>(value: &'a ToSqlOutput<'_>) -> ValueRef<'a> {
    match value {
        ToSqlOutput::Borrowed(value) => *value,
        ToSqlOutput::Owned(value) => value.into(),
        _ => ValueRef::Null,
    }
}

fn digest_of_values<'a>(values: impl Iterator<Item = ValueRef<'a>>) -> StateDigest {
    let mut bytes = Vec::with_capacity(512);
    for value in values {
        let number;
        let (kind, value): (u8, &[u8]) = match value {
            ValueRef::Null => (0, &[]),
            ValueRef::Integer(value) => {
                number = value.to_le_bytes();
                (1, &number)
            }
            ValueRef::Real(value) => {
                number = value.to_le_bytes();
                (2, &number)
            }
            ValueRef::Text(text) => (3, text),
            ValueRef::Blob(blob) => (4, blob),
        };
        bytes.push(kind);
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes()[..4]);
        bytes.extend_from_slice(value);
    }
    let mut digest = StateDigest::default();
    digest.add("history", &[&bytes]);
    digest
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
    if stored.is_intact {
        return Ok(stored);
    }
    let position = stored.row.position;
    Err(HistoryError::Damaged(format!("the row of position {position} is not what was written")))
}

/// Reads a row back, whatever it is now.
pub(super) fn read_unchecked(row: &Row<'_>) -> Result<StoredRow, HistoryError> {
    let values: Vec<ValueRef<'_>> =
        (0..VALUES).map(|column| row.get_ref(column)).collect::<Result<_, _>>()?;
    let digest = digest_of_values(values.into_iter());
    let is_intact = row.get_ref(VALUES)? == ValueRef::Integer(check_of(digest));
    let at: i64 = row.get(0)?;
    let wrong = |why: HistoryError| match why {
        // An error of SQLite names a column, and not the row.
        why if is_intact => why,
        _ => HistoryError::Damaged(format!("the row of position {at} is not what was written")),
    };
    Ok(StoredRow { row: parse(row).map_err(wrong)?, digest, is_intact })
}

fn parse(row: &Row<'_>) -> Result<HistoryRow, HistoryError> {
    let id = |column: usize| -> Result<Option<Uuid>, HistoryError> {
        Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(Uuid::from_bytes))
    };
    let kind: Option<String> = row.get(12)?;
    let actor = match (kind, row.get::<_, Option<String>>(13)?) {
        (Some(kind), Some(id)) => Some(Actor { kind: kind_of(&kind)?, id }),
        _ => None,
    };
    let tokens: Option<Vec<u8>> = row.get(10)?;
    let tokens = tokens.unwrap_or_default();
    let users: Option<String> = row.get(11)?;
    let users = users.map(|users| serde_json::from_str(&users)).transpose().map_err(unknown)?;
    Ok(HistoryRow {
        position: Position::new(row.get::<_, i64>(0)?.cast_unsigned()),
        recorded_at: Timestamp::from_micros(row.get(1)?),
        event_id: EventId::new(Uuid::from_bytes(row.get(2)?)),
        stream: row.get::<_, String>(3)?.parse().map_err(unknown)?,
        revision: Revision::new(row.get::<_, i64>(4)?.cast_unsigned()),
        event_type: row.get(5)?,
        client_id: id(6)?.map(ClientId::new),
        account_id: from_text(row, 7)?,
        user_id: from_text(row, 8)?,
        installation_id: id(9)?.map(InstallationId::new),
        token_ids: tokens.as_chunks::<16>().0.iter().map(|id| TokenId::new(Uuid::from_bytes(*id))).collect(),
        token_users: users.unwrap_or_default(),
        actor,
        reason: row.get(14)?,
        request_id: from_text(row, 15)?,
    })
}

fn from_text<T: std::str::FromStr<Err: std::fmt::Display>>(
    row: &Row<'_>,
    column: usize,
) -> Result<Option<T>, HistoryError> {
    row.get::<_, Option<String>>(column)?.map(|text| text.parse()).transpose().map_err(unknown)
}

fn unknown(error: impl std::fmt::Display) -> HistoryError {
    HistoryError::File(format!("a field of a row has another form than grantbook writes: {error}"))
}

fn kind_name(kind: ActorKind) -> &'static str {
    ACTOR_KINDS.iter().find(|(known, _)| *known == kind).map_or("", |(_, name)| name)
}

fn kind_of(name: &str) -> Result<ActorKind, HistoryError> {
    let found = ACTOR_KINDS.iter().find(|(_, known)| *known == name);
    found.map(|(kind, _)| *kind).ok_or_else(|| unknown(format!("{name:?} is no kind of actor")))
}
