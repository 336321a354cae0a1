//! Which rows are asked for, and in which order. Knows: filters, keys, recorded times. Must not know: who asks.

use grantbook_events::{AccountId, ClientId, InstallationId, Position, Timestamp, TokenId, UserId};
use grantbook_projections::history::HistoryRow;
use rusqlite::{OptionalExtension as _, Row, params_from_iter};
use serde::Deserialize;
use utoipa::ToSchema;

use super::error::HistoryError;
use super::file::HistoryReader;
use super::rows::{COLUMNS, Key, StoredRow, keys_of, number, position, read, read_unchecked};

// By position. Without a doc comment, which would stand in `/openapi.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum Order {
    #[default]
    #[serde(rename = "newest")]
    NewestFirst,
    #[serde(rename = "oldest")]
    OldestFirst,
}

/// Rows that pass every part that is set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    pub token: Option<TokenId>,
    pub installation: Option<InstallationId>,
    /// About a grant or token of this user.
    pub user: Option<UserId>,
    pub account: Option<AccountId>,
    pub app: Option<ClientId>,
    /// Done by this user, app, operator key or part of grantbook.
    pub actor: Option<String>,
    /// Word for word.
    pub reason: Option<String>,
    /// The stored type name.
    pub event_type: Option<String>,
    /// Recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Recorded at this time or earlier.
    pub until: Option<Timestamp>,
    pub after: Option<Position>,
    pub before: Option<Position>,
    /// At this position or before it.
    pub up_to: Option<Position>,
}

impl Filter {
    /// What leads to its rows, from what usually has the fewest to what has the most.
    fn keys(&self) -> Vec<i64> {
        let keys = [
            self.token.as_ref().map(|id| Key::Token(id.as_uuid())),
            self.installation.as_ref().map(|id| Key::Installation(id.as_uuid())),
            self.user.as_ref().map(|user| Key::User(user.as_str())),
            self.account.as_ref().map(|account| Key::Account(account.as_str())),
            self.reason.as_deref().map(Key::Reason),
            self.actor.as_deref().map(Key::Actor),
            self.app.as_ref().map(|id| Key::App(id.as_uuid())),
            self.event_type.as_deref().map(Key::Type),
        ];
        keys.into_iter().flatten().map(Key::hash).collect()
    }

    /// Whether it lets a row between its positions through.
    fn passes(&self, row: &HistoryRow) -> bool {
        fn is<T: PartialEq>(asked: Option<&T>, has: Option<&T>) -> bool {
            asked.is_none_or(|asked| Some(asked) == has)
        }
        self.token.is_none_or(|token| row.token_ids.contains(&token))
            && self.user.as_ref().is_none_or(|user| row.users().any(|about| about == user))
            && is(self.installation.as_ref(), row.installation_id.as_ref())
            && is(self.account.as_ref(), row.account_id.as_ref())
            && is(self.app.as_ref(), row.client_id.as_ref())
            && is(self.actor.as_ref(), row.actor.as_ref().map(|actor| &actor.id))
            && is(self.reason.as_ref(), row.reason.as_ref())
            && is(self.event_type.as_ref(), Some(&row.event_type))
            && self.since.is_none_or(|since| row.recorded_at >= since)
            && self.until.is_none_or(|until| row.recorded_at <= until)
    }
}

/// Selects the rows between two positions that all of some keys lead to. The positions are the first two parameters, the
/// keys follow.
fn query_of(keys: usize, order: Order) -> String {
    let mut query = match keys {
        0 => format!("SELECT {COLUMNS} FROM events WHERE position > ?1 AND position <= ?2"),
        _ => format!(
            "SELECT {COLUMNS} FROM keys CROSS JOIN events ON events.position = keys.position \
             WHERE keys.key = ?3 AND keys.position > ?1 AND keys.position <= ?2"
        ),
    };
    for key in 1..keys {
        query.push_str(&format!(
            " AND EXISTS (SELECT 1 FROM keys AS other WHERE other.key = ?{} AND other.position = keys.position)",
            key + 3
        ));
    }
    query.push_str(match (keys, order) {
        (0, Order::NewestFirst) => " ORDER BY events.position DESC",
        (0, Order::OldestFirst) => " ORDER BY events.position",
        (_, Order::NewestFirst) => " ORDER BY keys.position DESC",
        (_, Order::OldestFirst) => " ORDER BY keys.position",
    });
    query
}

impl HistoryReader {
    /// Rows that pass a filter, at most so many.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rows(&self, filter: &Filter, order: Order, limit: usize) -> Result<Vec<HistoryRow>, HistoryError> {
        let mut rows = Vec::new();
        self.each_row(filter, order, limit, |row| rows.push(row))?;
        Ok(rows)
    }

    /// As [`Self::rows`], one by one.
    pub(super) fn each_row(
        &self,
        filter: &Filter,
        order: Order,
        limit: usize,
        mut take: impl FnMut(HistoryRow),
    ) -> Result<(), HistoryError> {
        let keys = filter.keys();
        let mut select = self.conn.prepare_cached(&query_of(keys.len(), order))?;
        let mut found = select.query(params_from_iter(self.bounds(filter)?.iter().chain(&keys)))?;
        let mut left = limit;
        while left > 0
            && let Some(row) = found.next()?
        {
            let row = read(row)?.row;
            let leads = keys_of(&row);
            if !keys.iter().all(|key| leads.contains(key)) {
                let what =
                    format!("a key leads to the row of position {}, which is not about it", row.position);
                return Err(HistoryError::Damaged(what));
            }
            if filter.passes(&row) {
                take(row);
                left -= 1;
            }
        }
        Ok(())
    }

    /// The position before the rows that can pass a filter, and the last of them.
    fn bounds(&self, filter: &Filter) -> Result<[i64; 2], HistoryError> {
        let mut after = filter.after.map_or(-1, number);
        if let Some(since) = filter.since {
            // No row up to there is as late as that.
            let earlier = self.last_until(Timestamp::from_micros(since.as_micros().saturating_sub(1)))?;
            after = after.max(number(earlier));
        }
        let mut up_to = filter.up_to.map_or(i64::MAX, number);
        if let Some(before) = filter.before.map(number).filter(|before| *before < i64::MAX) {
            up_to = up_to.min(before - 1);
        }
        if let Some(until) = filter.until {
            up_to = up_to.min(number(self.last_as_early(until)?));
        }
        Ok([after, up_to])
    }

    /// The last position before the first event that was recorded after a time. The latest time up to a row never falls, so
    /// a binary search finds it without an index.
    pub(super) fn last_until(&self, time: Timestamp) -> Result<Position, HistoryError> {
        let mut at_or_before = self.conn.prepare_cached(
            "SELECT position, latest_at FROM events WHERE position <= ?1 ORDER BY position DESC LIMIT 1",
        )?;
        let (mut found, mut low, mut high) = (0, 0, self.end()?.position.as_u64());
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            let read = |row: &Row<'_>| Ok((row.get::<_, i64>(0)?.cast_unsigned(), row.get::<_, i64>(1)?));
            match at_or_before.query_row([middle.cast_signed()], read).optional()? {
                Some((position, latest_at)) if position > low && latest_at > time.as_micros() => {
                    high = position - 1;
                }
                Some((position, _)) if position > low => (found, low) = (position, middle),
                // No event is there: positions may have gaps.
                Some(_) | None => low = middle,
            }
        }
        Ok(Position::new(found))
    }

    /// A position after which no row was recorded at a time or earlier. A clock may be slow, so rows up to the first later
    /// one are not enough; but none was ever recorded later than the most that is known.
    pub(super) fn last_as_early(&self, time: Timestamp) -> Result<Position, HistoryError> {
        let most_behind = self.end()?.most_behind;
        self.last_until(Timestamp::from_micros(time.as_micros().saturating_add(most_behind)))
    }

    /// Rows after a position and up to another, the oldest first, at most so many, whether they are intact or not.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rows_between(
        &self,
        after: Position,
        up_to: Position,
        limit: usize,
    ) -> Result<Vec<StoredRow>, HistoryError> {
        let mut select = self.conn.prepare_cached(&query_of(0, Order::OldestFirst))?;
        let mut rows = select.query([number(after), number(up_to)])?;
        let mut stored = Vec::new();
        while stored.len() < limit
            && let Some(row) = rows.next()?
        {
            stored.push(read_unchecked(row)?);
        }
        Ok(stored)
    }

    /// Some of the events that could not be read, each with the position before it.
    pub(super) fn unreadable(&self, limit: usize) -> Result<Vec<(Position, Position)>, HistoryError> {
        let mut select = self.conn.prepare(
            "SELECT position, coalesce(\
             (SELECT max(position) FROM events WHERE events.position < keys.position), 0) \
             FROM keys WHERE key = ?1 ORDER BY position DESC",
        )?;
        let found = select
            .query_map([Key::Unreadable.hash()], |row| Ok((position(row.get(1)?), position(row.get(0)?))))?;
        Ok(found.take(limit).collect::<Result<_, _>>()?)
    }
}
