//! `/audit/installations`, `/audit/token/…`, `/audit/diff`: what was true then, and what happened, in plain sentences.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Query};
use grantbook_events::{AccountId, InstallationId, TokenId};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::audit::{self, AccountThen, Changes, Moment, TokenAnswer};
use crate::http::{Answer, Body, Context, Problem, Reply, Service, Text};
use crate::ledger::{Ledger, Until, When};
use crate::secrets::{self, PlainSecret, PresentedRefresh};

/// An account, and when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AccountAsOf {
    /// The account.
    #[param(required = true)]
    account: Option<AccountId>,
    /// As of this position or time; now without. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>)]
    as_of: Option<Text<When>>,
}

/// When.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct AsOf {
    /// As of this position or time; now without. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>)]
    as_of: Option<Text<When>>,
}

/// A token by itself, and when. In a body, because every log on the way keeps a URI.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ValueAsOf {
    /// The token itself.
    #[schema(min_length = 1, format = Password)]
    token: String,
    /// As of this position or time, written as in the query of `/audit/token/{token_id}`; now without.
    #[schema(value_type = Option<String>)]
    as_of: Option<Text<When>>,
}

/// A token by itself.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenValue {
    /// The token itself.
    #[schema(min_length = 1, format = Password)]
    token: String,
}

/// What is asked is in the body.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// An account, and from when to when.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct FromTo {
    /// The account.
    #[param(required = true)]
    account: Option<AccountId>,
    /// From this position or time, written as in `as_of` of `/audit/installations`.
    #[param(value_type = Option<String>, required = true)]
    from: Option<Text<When>>,
    /// To this position or time, which is not before `from`; now without.
    #[param(value_type = Option<String>)]
    to: Option<Text<When>>,
}

fn required<T>(value: Option<T>, name: &str, example: &str) -> Result<T, Problem> {
    value.ok_or_else(|| Problem::bad_request(format!("{name} is required, such as ?{name}={example}")))
}

fn until(point: Option<Text<When>>, ledger: &Ledger) -> Until {
    point.map(|point| point.0.until(ledger.now())).unwrap_or_default()
}

pub async fn installations(service: Data<Service>, asked: Query<AccountAsOf>) -> Answer<AccountThen> {
    let AccountAsOf { account, as_of } = asked.into_inner();
    let account = required(account, "account", "acme")?;
    Ok(Reply::ok(service.past().account(&account, until(as_of, &service.ledger)).await?))
}

pub async fn token(service: Data<Service>, id: Path<TokenId>, asked: Query<AsOf>) -> Answer<TokenAnswer> {
    token_then(&service, *id, asked.into_inner().as_of).await
}

pub async fn token_by_value(
    context: Context,
    service: Data<Service>,
    _: Query<NoQuery>,
    Body(asked): Body<ValueAsOf>,
) -> Answer<TokenAnswer> {
    let (_, token_id) = asked_about(&context, &service, &asked.token).await?;
    token_then(&service, token_id, asked.as_of).await
}

async fn token_then(service: &Service, id: TokenId, as_of: Option<Text<When>>) -> Answer<TokenAnswer> {
    let answer = service.past().token(id, until(as_of, &service.ledger)).await?;
    answer.map(Reply::ok).ok_or_else(|| Problem::not_found("token"))
}

/// Finds a token by itself. The question was logged without it, so its id is logged here.
async fn asked_about(
    context: &Context,
    service: &Service,
    value: &str,
) -> Result<(InstallationId, TokenId), Problem> {
    let found = token_of_value(service, value).await?;
    let (token_id, request_id) = (found.1, context.request_id.as_str());
    tracing::info!(target: "grantbook::audit", %token_id, request_id, "the question is about this token");
    Ok(found)
}

/// The installation and the id of a token, by the token itself, of which only the digest goes on.
///
/// # Errors
/// If it was never issued, or the ledger cannot be read.
pub async fn token_of_value(service: &Service, value: &str) -> Result<(InstallationId, TokenId), Problem> {
    let value = PlainSecret::presented(value.trim());
    let of_refresh = || PresentedRefresh::read(value.expose()).map(|refresh| refresh.installation_id);
    if let Some(installation_id) = secrets::locate_token(value.expose()).or_else(of_refresh)
        && let Some(token_id) = service.past().token_with(value.digest(), installation_id).await?
    {
        return Ok((installation_id, token_id));
    }
    let detail = "no such token was ever issued; send the whole of it, from gbt_ or gbr_ on";
    Err(Problem::new(StatusCode::NOT_FOUND, "not_found", detail))
}

pub async fn diff(service: Data<Service>, asked: Query<FromTo>) -> Answer<Changes> {
    let FromTo { account, from, to } = asked.into_inner();
    let account = required(account, "account", "acme")?;
    let from = required(from, "from", "2026-01-31T12:00:00Z")?;
    let (from, to) = (until(Some(from), &service.ledger), until(to, &service.ledger));
    Ok(Reply::ok(service.past().changes(&account, from, to).await?))
}

/// What happened.
#[derive(Debug, Serialize, ToSchema)]
pub struct TimelineJson {
    /// Events in sentences, oldest first, each with its event id, position, time, actor and request id.
    items: Vec<Moment>,
}

pub async fn timeline_of_installation(
    service: Data<Service>,
    id: Path<InstallationId>,
) -> Answer<TimelineJson> {
    let items = audit::timeline(&service.ledger, *id).await?;
    let items = items.ok_or_else(|| Problem::not_found("installation"))?;
    Ok(Reply::ok(TimelineJson { items }))
}

pub async fn timeline_of_token(service: Data<Service>, id: Path<TokenId>) -> Answer<TimelineJson> {
    let installation = service.past().installation_of(*id).await?;
    let installation = installation.ok_or_else(|| Problem::not_found("token"))?;
    let items = audit::token_timeline(&service.ledger, installation, *id).await?;
    Ok(Reply::ok(TimelineJson { items }))
}

pub async fn timeline_of_value(
    context: Context,
    service: Data<Service>,
    _: Query<NoQuery>,
    Body(asked): Body<TokenValue>,
) -> Answer<TimelineJson> {
    let (installation, token_id) = asked_about(&context, &service, &asked.token).await?;
    let items = audit::token_timeline(&service.ledger, installation, token_id).await?;
    Ok(Reply::ok(TimelineJson { items }))
}
