//! Which rows are wanted, and in which order. Knows: filters and the indexes that serve them. Must not know:
//! who asks.

use std::collections::BTreeSet;

use grantbook_events::{AccountId, ClientId, InstallationId, Position, Timestamp, TokenId, UserId};
use grantbook_projections::history::HistoryRow;
use rusqlite::{OptionalExtension as _, ToSql};

use super::HistoryError;
use super::file::HistoryReader;
use super::rows::{COLUMNS, read};

/// By how much a clock was behind the latest time, at the most: in the words of the index, so that it is one step.
pub(super) const MOST_BEHIND: &str = "SELECT latest_at - recorded_at FROM events WHERE recorded_at < latest_at \
                                      ORDER BY latest_at - recorded_at DESC LIMIT 1";

/// In which order rows are wanted: by position, one way or the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Order {
    /// The last position first.
    #[default]
    NewestFirst,
    /// The first position first.
    OldestFirst,
}

/// Which rows are wanted: those that pass everything that is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// About this token.
    pub token: Option<TokenId>,
    /// About this installation.
    pub installation: Option<InstallationId>,
    /// About a grant or token of this user.
    pub user: Option<UserId>,
    /// About this account.
    pub account: Option<AccountId>,
    /// About this app.
    pub app: Option<ClientId>,
    /// Done by this user, app, operator key or part of grantbook.
    pub actor: Option<String>,
    /// For this reason, word for word.
    pub reason: Option<String>,
    /// Of this stored type.
    pub event_type: Option<String>,
    /// Recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Recorded at this time or earlier.
    pub until: Option<Timestamp>,
    /// Behind this position.
    pub after: Option<Position>,
    /// Before this position.
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
    /// Whether one of the columns leads to the rows already. The others are then only compared: an index
    /// of theirs would lead to more rows.
    is_led: bool,
}

impl Where {
    fn equals(&mut self, column: &str, value: Option<impl ToSql + 'static>) {
        let Some(value) = value else { return };
        let plus = if std::mem::replace(&mut self.is_led, true) { "+" } else { "" };
        self.values.push(Box::new(value));
        self.conditions.push(format!("{plus}{column} = ?{}", self.values.len()));
    }

    /// Several users may be in one row.
    fn about_user(&mut self, user: Option<&UserId>) {
        let Some(user) = user else { return };
        self.values.push(Box::new(user.to_string()));
        let value = self.values.len();
        self.conditions.push(if std::mem::replace(&mut self.is_led, true) {
            format!(
                "EXISTS (SELECT 1 FROM event_users AS of \
                 WHERE of.user_id = ?{value} AND of.position = events.position)"
            )
        } else {
            format!("position IN (SELECT position FROM event_users WHERE user_id = ?{value})")
        });
    }

    fn compare(&mut self, condition: &str, value: Option<i64>) {
        let Some(value) = value else { return };
        self.values.push(Box::new(value));
        self.conditions.push(format!("{condition} ?{}", self.values.len()));
    }
}

impl HistoryReader {
    /// The installations on an account that any event up to a position was about, and their apps.
    pub(super) fn installations_on(
        &self,
        account: &AccountId,
        up_to: Position,
    ) -> Result<Vec<(InstallationId, Option<ClientId>)>, HistoryError> {
        let query = format!(
            "SELECT {COLUMNS} FROM events \
             WHERE account_id = ?1 AND position <= ?2 AND installation_id IS NOT NULL"
        );
        let mut select = self.conn()?.prepare_cached(&query)?;
        let mut rows = select.query((account.as_str(), number(up_to)))?;
        let mut found = BTreeSet::new();
        while let Some(row) = rows.next()? {
            let row = read(row)?;
            found.extend(row.installation_id.map(|installation| (installation, row.client_id)));
        }
        Ok(found.into_iter().collect())
    }

    /// A position behind which no row was recorded at a time or earlier. A clock may be behind the latest time, so
    /// rows up to the first later one are not enough: but none was ever behind by more than the most that is known.
    pub(super) fn last_as_early(&self, time: Timestamp) -> Result<Position, HistoryError> {
        let lag: Option<i64> =
            self.conn()?.prepare_cached(MOST_BEHIND)?.query_row((), |row| row.get(0)).optional()?;
        self.last_until(Timestamp::from_micros(time.as_micros().saturating_add(lag.unwrap_or(0))))
    }

    /// Rows that pass a filter, at most so many.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn rows(&self, filter: &Filter, order: Order, limit: usize) -> Result<Vec<HistoryRow>, HistoryError> {
        let mut wanted = Where::default();
        if let Some(token) = filter.token {
            wanted.values.push(Box::new(*token.as_uuid().as_bytes()));
            let positions = "position IN (SELECT position FROM event_tokens WHERE token_id = ?1)";
            wanted.conditions.push(positions.to_owned());
            wanted.is_led = true;
        }
        // From what has the fewest rows to what has the most.
        wanted.equals("installation_id", filter.installation.map(|id| *id.as_uuid().as_bytes()));
        wanted.about_user(filter.user.as_ref());
        wanted.equals("account_id", filter.account.as_ref().map(ToString::to_string));
        wanted.equals("actor_id", filter.actor.clone());
        wanted.equals("reason", filter.reason.clone());
        wanted.equals("client_id", filter.app.map(|id| *id.as_uuid().as_bytes()));
        wanted.equals("type", filter.event_type.clone());
        let mut after = filter.after.map(number);
        if let Some(since) = filter.since {
            // No row up to there is as late as that.
            let earlier = self.last_until(Timestamp::from_micros(since.as_micros().saturating_sub(1)))?;
            after = after.max(Some(number(earlier)));
        }
        let mut up_to = filter.up_to.map(number);
        if let Some(until) = filter.until {
            let later = number(self.last_as_early(until)?);
            up_to = Some(up_to.map_or(later, |up_to| later.min(up_to)));
        }
        wanted.compare("position >", after);
        wanted.compare("position <", filter.before.map(number));
        wanted.compare("position <=", up_to);
        wanted.compare("recorded_at >=", filter.since.map(Timestamp::as_micros));
        wanted.compare("recorded_at <=", filter.until.map(Timestamp::as_micros));
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
        let mut rows = Vec::new();
        while let Some(row) = found.next()? {
            let row = read(row)?;
            if !filter.leads_to(&row) {
                let position = row.position;
                return Err(HistoryError::Damaged(format!(
                    "an index leads to the row of position {position}"
                )));
            }
            rows.push(row);
        }
        Ok(rows)
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
