//! `/audit/installations`, `/audit/token/…`, `/audit/diff`: what was true then.

use std::str::FromStr;

use actix_web::web::{Data, Path, Query};
use grantbook_events::{AccountId, TokenId};
use serde::Deserialize;
use utoipa::IntoParams;

use crate::audit::{AccountThen, Changes, Past, TokenAnswer};
use crate::http::problem::Problem;
use crate::http::reply::{Answer, Reply};
use crate::http::service::Service;
use crate::ledger::{Ledger, Until, When, WhenError};

/// A position or a time.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
struct Point(When);

impl TryFrom<String> for Point {
    type Error = WhenError;

    fn try_from(text: String) -> Result<Self, WhenError> {
        When::from_str(&text).map(Self)
    }
}

/// An account, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AccountAsOf {
    /// The account.
    #[param(required = true)]
    account: Option<AccountId>,
    /// As of this position or time; now without. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>)]
    as_of: Option<Point>,
}

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsOf {
    /// As of this position or time; now without. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>)]
    as_of: Option<Point>,
}

/// An account, and from when to when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FromTo {
    /// The account.
    #[param(required = true)]
    account: Option<AccountId>,
    /// From this position or time, written as in `as_of` of `/audit/installations`.
    #[param(value_type = Option<String>, required = true)]
    from: Option<Point>,
    /// To this position or time, which is not before `from`; now without.
    #[param(value_type = Option<String>)]
    to: Option<Point>,
}

fn required<T>(value: Option<T>, name: &str, example: &str) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::bad_request(format!("{name} is required, such as ?{name}={example}")))
}

fn until(point: Option<Point>, ledger: &Ledger) -> Until {
    point.map(|point| point.0.until(ledger.now())).unwrap_or_default()
}

pub async fn installations(service: Data<Service>, asked: Query<AccountAsOf>) -> Answer<AccountThen> {
    let AccountAsOf { account, as_of } = asked.into_inner();
    let account = required(account, "account", "acme")?;
    let past = Past::new(&service.ledger, &service.history);
    Ok(Reply(past.account(&account, until(as_of, &service.ledger)).await?))
}

pub async fn token(service: Data<Service>, id: Path<TokenId>, asked: Query<AsOf>) -> Answer<TokenAnswer> {
    let past = Past::new(&service.ledger, &service.history);
    let answer = past.token(*id, until(asked.as_of, &service.ledger)).await?;
    answer.map(Reply).ok_or_else(|| Problem::not_found("token"))
}

pub async fn diff(service: Data<Service>, asked: Query<FromTo>) -> Answer<Changes> {
    let FromTo { account, from, to } = asked.into_inner();
    let account = required(account, "account", "acme")?;
    let from = required(from, "from", "2026-01-31T12:00:00Z")?;
    let past = Past::new(&service.ledger, &service.history);
    let (from, to) = (until(Some(from), &service.ledger), until(to, &service.ledger));
    Ok(Reply(past.changes(&account, from, to).await?))
}
