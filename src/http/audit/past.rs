//! `/audit/installations`, `/audit/token/…`, `/audit/diff`: what was true then.

use std::str::FromStr;

use actix_web::{HttpResponse, web};
use grantbook_events::{AccountId, TokenId};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use crate::audit::{AccountThen, Changes, Past, TokenAnswer};
use crate::http::manage::reply;
use crate::http::problem::Problem;
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
    #[param(value_type = Option<String>, required = true, nullable = false)]
    account: Option<AccountId>,
    /// As of this position or time; now without. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>, nullable = false)]
    as_of: Option<Point>,
}

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AsOf {
    /// As of this position or time; now without. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>, nullable = false)]
    as_of: Option<Point>,
}

/// An account, and from when to when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct FromTo {
    /// The account.
    #[param(value_type = Option<String>, required = true, nullable = false)]
    account: Option<AccountId>,
    /// From this position or time, written as in `as_of` of `/audit/installations`.
    #[param(value_type = Option<String>, required = true, nullable = false)]
    from: Option<Point>,
    /// To this position or time, which is not before `from`; now without.
    #[param(value_type = Option<String>, nullable = false)]
    to: Option<Point>,
}

fn required<T>(value: Option<T>, name: &str, example: &str) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::bad_request(format!("{name} is required, such as ?{name}={example}")))
}

fn until(point: Option<Point>, ledger: &Ledger) -> Until {
    point.map(|point| point.0.until(ledger.now())).unwrap_or_default()
}

/// Read which apps were installed on an account, with which scopes and tokens, since when.
#[utoipa::path(get, path = "/audit/installations", operation_id = "list_installations_as_of", tag = "audit", security(("operator_key" = [])),
    params(AccountAsOf),
    responses(
        (status = 200, description = "Every app that anybody had approved by then, and the position and time that this is as of", body = AccountThen),
    ))]
pub async fn installations(
    _asked: Asked,
    service: web::Data<Service>,
    asked: web::Query<AccountAsOf>,
) -> Result<HttpResponse, Problem> {
    let AccountAsOf { account, as_of } = asked.into_inner();
    let account = required(account, "account", "acme")?;
    let past = Past::new(&service.ledger, &service.history);
    Ok(reply::ok(&past.account(&account, until(as_of, &service.ledger)).await?))
}

/// Read whether a token was valid, and why or why not.
#[utoipa::path(get, path = "/audit/token/{token_id}", operation_id = "read_token_as_of", tag = "audit", security(("operator_key" = [])),
    params(("token_id" = String, Path), AsOf),
    responses(
        (status = 200, description = "Whether it was valid, why or why not, and the event that says so", body = TokenAnswer),
    ))]
pub async fn token(
    _asked: Asked,
    service: web::Data<Service>,
    id: web::Path<TokenId>,
    asked: web::Query<AsOf>,
) -> Result<HttpResponse, Problem> {
    let past = Past::new(&service.ledger, &service.history);
    let answer = past.token(*id, until(asked.as_of, &service.ledger)).await?;
    Ok(reply::ok(&answer.ok_or_else(|| Problem::not_found("token"))?))
}

/// Read what changed on an account from one time to another.
#[utoipa::path(get, path = "/audit/diff", operation_id = "read_changes", tag = "audit", security(("operator_key" = [])),
    params(FromTo),
    responses(
        (status = 200, description = "What is different, and the positions and times compared", body = Changes),
    ))]
pub async fn diff(
    _asked: Asked,
    service: web::Data<Service>,
    asked: web::Query<FromTo>,
) -> Result<HttpResponse, Problem> {
    let FromTo { account, from, to } = asked.into_inner();
    let account = required(account, "account", "acme")?;
    let from = required(from, "from", "2026-01-31T12:00:00Z")?;
    let past = Past::new(&service.ledger, &service.history);
    Ok(reply::ok(
        &past.changes(&account, until(Some(from), &service.ledger), until(to, &service.ledger)).await?,
    ))
}
