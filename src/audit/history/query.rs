//! Which rows are wanted, and in which order. Knows: filters and the indexes that serve them. Must not know: who asks.

use grantbook_events::{AccountId, ClientId, InstallationId, Position, Timestamp, TokenId, UserId};
use grantbook_projections::history::HistoryRow;
use rusqlite::ToSql;
use serde::Deserialize;
use utoipa::ToSchema;

use super::HistoryError;
use super::file::HistoryReader;
use super::rows::{COLUMNS, read};

// By position. Without a doc comment, which would stand in `/openapi.json`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, ToSchema)]
pub enum Order {
    #[default]
    #[serde(rename = "newest")]
    NewestFirst,
    #[serde(rename = "oldest")]
    OldestFirst,
}

/// Which rows are wanted: those that pass every part that is set.
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

/// A position as the file has it. Beyond what it can hold is beyond every row.
fn number(position: Position) -> i64 {
    i64::try_from(position.as_u64()).unwrap_or(i64::MAX)
}

/// Conditions and their values.
#[derive(Default)]
struct Where {
    conditions: Vec<String>,
    values: Vec<Box<dyn ToSql>>,
    /// Whether an index leads to the rows already. Other columns are then only compared: their indexes would lead to
    /// more rows.
    is_led: bool,
}

impl Where {
    fn equals(&mut self, column: &str, value: Option<impl ToSql + 'static>) {
        let Some(value) = value else { return };
        self.values.push(Box::new(value));
        let plus = if std::mem::replace(&mut self.is_led, true) { "+" } else { "" };
        self.conditions.push(format!("{plus}{column} = ?{}", self.values.len()));
    }

    /// As [`Self::equals`], also where a row has several of them.
    fn names(&mut self, condition: &str, value: Option<impl ToSql + 'static>) {
        let Some(value) = value else { return };
        self.values.push(Box::new(value));
        let value = self.values.len();
        self.conditions.push(if std::mem::replace(&mut self.is_led, true) {
            format!(
                "({condition} = ?{value} OR EXISTS (SELECT 1 FROM several \
                 WHERE named = ?{value} AND several.position = events.position))"
            )
        } else {
            format!(
                "position IN (SELECT position FROM events WHERE {condition} = ?{value} \
                 UNION ALL SELECT position FROM several WHERE named = ?{value})"
            )
        });
    }

    fn compare(&mut self, comparison: &str, value: Option<i64>) {
        let Some(value) = value else { return };
        self.values.push(Box::new(value));
        self.conditions.push(format!("{comparison} ?{}", self.values.len()));
    }

    fn of(filter: &Filter, reader: &HistoryReader) -> Result<Self, HistoryError> {
        let mut wanted = Self::default();
        // From what has the fewest rows to what has the most.
        wanted.names("length(token_ids) = 16 AND token_ids", filter.token.map(|id| *id.as_uuid().as_bytes()));
        wanted.equals("installation_id", filter.installation.map(|id| *id.as_uuid().as_bytes()));
        wanted.names("user_id", filter.user.as_ref().map(ToString::to_string));
        wanted.equals("account_id", filter.account.as_ref().map(ToString::to_string));
        wanted.equals("reason", filter.reason.clone());
        wanted.equals("client_id", filter.app.map(|id| *id.as_uuid().as_bytes()));
        wanted.equals("type", filter.event_type.clone());
        // No index leads from it.
        wanted.equals("actor_id", filter.actor.clone());
        let mut after = filter.after.map(number);
        if let Some(since) = filter.since {
            // No row up to there is as late as that.
            let earlier = reader.last_until(Timestamp::from_micros(since.as_micros().saturating_sub(1)))?;
            after = after.max(Some(number(earlier)));
        }
        let mut up_to = filter.up_to.map(number);
        if let Some(until) = filter.until {
            let later = number(reader.last_as_early(until)?);
            up_to = Some(up_to.map_or(later, |up_to| later.min(up_to)));
        }
        wanted.compare("position >", after);
        wanted.compare("position <", filter.before.map(number));
        wanted.compare("position <=", up_to);
        wanted.compare("recorded_at >=", filter.since.map(Timestamp::as_micros));
        wanted.compare("recorded_at <=", filter.until.map(Timestamp::as_micros));
        Ok(wanted)
    }
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
        let wanted = Where::of(filter, self)?;
        let conditions = match wanted.conditions.as_slice() {
            [] => "1".to_owned(),
            conditions => conditions.join(" AND "),
        };
        let direction = match order {
            Order::NewestFirst => "DESC",
            Order::OldestFirst => "ASC",
        };
        let query = format!(
            "SELECT {COLUMNS} FROM events WHERE {conditions} ORDER BY position {direction} LIMIT {limit}"
        );
        let mut select = self.conn()?.prepare_cached(&query)?;
        let values: Vec<&dyn ToSql> = wanted.values.iter().map(|value| &**value).collect();
        let mut found = select.query(values.as_slice())?;
        while let Some(row) = found.next()? {
            let row = read(row)?.row;
            if !filter.leads_to(&row) {
                let position = row.position;
                let what = format!("an index leads to the row of position {position}");
                return Err(HistoryError::Damaged(what));
            }
            take(row);
        }
        Ok(())
    }
}

impl Filter {
    /// Whether a row is about what was asked for: what is found by an index is.
    fn leads_to(&self, row: &HistoryRow) -> bool {
        fn is<T: PartialEq>(wanted: Option<&T>, has: Option<&T>) -> bool {
            wanted.is_none_or(|wanted| Some(wanted) == has)
        }
        self.token.is_none_or(|token| row.token_ids.contains(&token))
            && self.user.as_ref().is_none_or(|user| row.users().any(|about| about == user))
            && is(self.installation.as_ref(), row.installation_id.as_ref())
            && is(self.account.as_ref(), row.account_id.as_ref())
            && is(self.app.as_ref(), row.client_id.as_ref())
            && is(self.actor.as_ref(), row.actor.as_ref().map(|actor| &actor.id))
            && is(self.reason.as_ref(), row.reason.as_ref())
            && is(self.event_type.as_ref(), Some(&row.event_type))
    }
}
