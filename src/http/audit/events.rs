//! `/audit/events`: the history, filtered, in pages or as a whole. Knows: the query, and the types and
//! reasons that grantbook gives. Must not know: how events are read.

use std::sync::Arc;

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantbook_events::codec::STORED_TYPES;
use grantbook_events::{
    AccountId, ClientId, InstallationId, Position, RevocationReason, Timestamp, TokenId, UserId,
};
use grantbook_projections::history::HistoryRow;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::export::{Export, Write, after_row, csv, ndjson};
use crate::audit::{Filter, History, Order};
use crate::connections::Open;
use crate::http::{
    Answer, Problem, Reply, Service, Text, accepted,
    manage::paging::{Limit, NOT_A_CURSOR},
};
use crate::ledger::WrittenTime;

/// Which events, in which order and form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// On this account.
    account: Option<AccountId>,
    /// About this app, by its client id.
    app: Option<ClientId>,
    /// About a grant or token of this user.
    user: Option<UserId>,
    /// Of this installation.
    installation: Option<InstallationId>,
    /// That issued or ended this token, by its id.
    token: Option<TokenId>,
    /// Done by this user id, client id, operator key id, or part of grantbook.
    actor: Option<String>,
    /// Of this type, such as `token-revoked`: one that grantbook knows, or one that is in the ledger.
    #[serde(rename = "type")]
    #[param(schema_with = event_type)]
    event_type: Option<String>,
    /// For this reason, word for word, such as `superseded`: one that grantbook gives, or one that is in the ledger.
    reason: Option<String>,
    /// Recorded at this time or later. A time is RFC 3339 (with + written as %2B), a date (its midnight, UTC), `today`,
    /// `yesterday`, or how long ago, such as `7d` or `12h`.
    #[param(value_type = Option<String>)]
    since: Option<Text<WrittenTime>>,
    /// Recorded at this time, written as in `since`, or earlier.
    #[param(value_type = Option<String>)]
    until: Option<Text<WrittenTime>>,
    /// After this position.
    #[serde(default, deserialize_with = "after")]
    after: Option<u64>,
    /// Before this position.
    #[serde(default, deserialize_with = "before")]
    before: Option<u64>,
    /// `newest` first, which is the default, or `oldest` first.
    #[serde(default)]
    #[param(inline)]
    order: Order,
    /// `json`, a page; `ndjson` or `csv`, everything. Without it, what the Accept header prefers.
    #[param(inline)]
    format: Option<Format>,
    /// `next_cursor` of the page before, with everything else as it was there.
    cursor: Option<String>,
    /// The most items: 1 to 200. Without it, 50 of a page, and all lines.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<Limit>,
}

/// The types that events have.
fn type_names() -> Vec<&'static str> {
    STORED_TYPES.iter().map(|(name, _)| *name).collect()
}

fn event_type() -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(type_names())).build()
}

fn after<'de, D: Deserializer<'de>>(text: D) -> Result<Option<u64>, D::Error> {
    position(text, "after")
}

fn before<'de, D: Deserializer<'de>>(text: D) -> Result<Option<u64>, D::Error> {
    position(text, "before")
}

/// What is wrong with it is said with its name.
fn position<'de, D: Deserializer<'de>>(text: D, name: &str) -> Result<Option<u64>, D::Error> {
    let text = String::deserialize(text)?;
    // No position is beyond the signed ones, which is what the description of the interface says.
    let position: Option<i64> = text.parse().ok().filter(|position| *position >= 0);
    let wrong = || D::Error::custom(format!("{name} must be a position, such as 42, and is {text:?}"));
    position.map(|position| Some(position.cast_unsigned())).ok_or_else(wrong)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Format {
    Json,
    Ndjson,
    Csv,
}

/// One page of events.
#[derive(Debug, Serialize, ToSchema)]
pub struct EventsJson {
    items: Vec<HistoryRow>,
    /// Asks for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_cursor: Option<String>,
}

impl EventsQuery {
    fn filter(&self, now: Timestamp) -> Filter {
        // As it was written, so that a list that goes on is the same list, however long ago it began.
        let at = |time: Option<Text<WrittenTime>>| time.map(|time| time.0.at(now));
        Filter {
            token: self.token,
            installation: self.installation,
            user: self.user.clone(),
            account: self.account.clone(),
            app: self.app,
            actor: self.actor.clone(),
            reason: self.reason.clone(),
            event_type: self.event_type.clone(),
            since: at(self.since),
            until: at(self.until),
            after: self.after.map(Position::new),
            before: self.before.map(Position::new),
            up_to: None,
        }
    }

    fn format(&self, request: &HttpRequest) -> Format {
        let accepted = || accepted(request, &Format::ALL.map(|(_, media_type)| media_type));
        self.format.unwrap_or_else(|| Format::ALL[accepted()].0)
    }
}

impl Format {
    /// The first is for callers who prefer none.
    const ALL: [(Self, &str); 3] =
        [(Self::Json, "application/json"), (Self::Ndjson, "application/x-ndjson"), (Self::Csv, "text/csv")];
}

/// Where a page ended, and which list it was a page of: 8 bytes of position and 4 of a checksum of what was asked.
struct Cursor;

impl Cursor {
    /// Of the times as they were written: how long ago is another time in each request, and the same list.
    fn checksum(query: &EventsQuery) -> [u8; 4] {
        let (filter, order) = (query.filter(Timestamp::EPOCH), query.order);
        let EventsQuery { since, until, .. } = query;
        crc32fast::hash(format!("{filter:?} {since:?} {until:?} {order:?}").as_bytes()).to_be_bytes()
    }

    fn write(position: Position, query: &EventsQuery) -> String {
        let position = position.as_u64().to_be_bytes();
        URL_SAFE_NO_PAD.encode([&position[..], &Self::checksum(query)].concat())
    }

    fn read(text: &str, query: &EventsQuery) -> Result<Position, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let (position, checksum) =
            bytes.split_first_chunk::<8>().ok_or_else(|| Problem::bad_request(NOT_A_CURSOR))?;
        if checksum != Self::checksum(query) {
            let detail =
                "the cursor is of another list: ask with the filters and the order of the page before";
            return Err(Problem::bad_request(detail));
        }
        Ok(Position::new(u64::from_be_bytes(*position)))
    }
}

pub async fn list(
    request: HttpRequest,
    service: Data<Service>,
    query: Query<EventsQuery>,
) -> Answer<EventsJson> {
    let (filter, order) = (query.filter(service.ledger.now()), query.order);
    service.history.reached(service.ledger.live().position()).await?;
    must_be_known(&service.history, &filter).await?;
    let mut from_here = filter;
    if let Some(cursor) = &query.cursor {
        after_row(&mut from_here, order, Cursor::read(cursor, &query)?);
    }
    let (media_type, write): (_, Write) = match query.format(&request) {
        Format::Json => return page(&service, &query, from_here, order).await.map(Reply::ok),
        Format::Ndjson => ("application/x-ndjson", ndjson),
        Format::Csv => ("text/csv; charset=utf-8; header=present", csv),
    };
    // What is recorded from here on is for the next answer, or this one might never end.
    let filter = Filter { up_to: Some(service.history.progress().position), ..from_here };
    let most = query.limit.map(|limit| Limit::or_default(Some(limit)));
    let export = Export { history: Arc::clone(&service.history), filter, order, write, most };
    let body = export.start(&service.exports, request.conn_data::<Arc<Open>>().cloned())?;
    Ok(Reply::of(HttpResponse::Ok().content_type(media_type).streaming(body)))
}

async fn page(
    service: &Service,
    query: &EventsQuery,
    from_here: Filter,
    order: Order,
) -> Result<EventsJson, Problem> {
    let limit = Limit::or_default(query.limit);
    // One row more than fits tells whether there is a next page.
    let mut rows = service.history.rows(from_here, order, limit + 1).await?;
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| is_more);
    let next_cursor = last.map(|last| Cursor::write(last.position, query));
    Ok(EventsJson { items: rows, next_cursor })
}

/// Refuses a type or a reason that grantbook does not give, unless an event in the ledger has it: operators
/// give reasons in words of their own, and another grantbook may have written types that this one cannot read.
async fn must_be_known(history: &History, filter: &Filter) -> Result<(), Problem> {
    if let Some(name) = &filter.event_type
        && !type_names().contains(&name.as_str())
        && !is_in(history, Filter { event_type: Some(name.clone()), ..Filter::default() }).await?
    {
        let names = type_names().join(", ");
        return Err(Problem::bad_request(format!("type {name:?} is unknown: it takes one of {names}")));
    }
    if let Some(reason) = &filter.reason
        && !RevocationReason::ALL.iter().any(|known| known.as_str() == reason)
        && !is_in(history, Filter { reason: Some(reason.clone()), ..Filter::default() }).await?
    {
        let known = RevocationReason::ALL.map(RevocationReason::as_str).join(", ");
        let detail = format!(
            "reason {reason:?} is unknown: it takes one of {known}, or the words of an operator that an event has"
        );
        return Err(Problem::bad_request(detail));
    }
    Ok(())
}

async fn is_in(history: &History, filter: Filter) -> Result<bool, Problem> {
    Ok(!history.rows(filter, Order::NewestFirst, 1).await?.is_empty())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header;
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn what_is_accepted_most_gladly_is_answered() {
        for (accept, expected) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/html", Format::Json),
            ("text/csv", Format::Csv),
            ("TEXT/CSV; header=present", Format::Csv),
            ("application/x-ndjson", Format::Ndjson),
            ("text/csv;q=0.1, application/json", Format::Json),
            ("text/csv;q=0.1, application/json;q=0.05", Format::Csv),
            ("application/json;q=0.2, application/x-ndjson; q=0.3, text/csv;q=0.1", Format::Ndjson),
            // What is not accepted at all is not answered as long as anything else is.
            ("text/csv;q=0", Format::Json),
            ("text/csv;q=0, */*", Format::Json),
            ("application/json;q=0, */*;q=0.1", Format::Ndjson),
            ("application/*;q=0, */*", Format::Csv),
            // What is said of the one form counts, and not what is said of all.
            ("*/*, text/csv;q=0.5", Format::Json),
            ("*/*;q=0.5, text/csv", Format::Csv),
            ("application/*;q=0.4, application/json;q=0.1, text/*;q=0.3", Format::Ndjson),
            // Of two that are alike.
            ("*/*, text/csv", Format::Csv),
            ("text/csv, application/json", Format::Csv),
            ("application/json, text/csv", Format::Json),
            // A part that means nothing.
            ("csv please, application/x-ndjson", Format::Ndjson),
        ] {
            let request = TestRequest::default().insert_header((header::ACCEPT, accept)).to_http_request();
            assert_eq!(EventsQuery::default().format(&request), expected, "{accept:?}");
            let query = EventsQuery { format: Some(Format::Csv), ..EventsQuery::default() };
            assert_eq!(query.format(&request), Format::Csv, "{accept:?}");
        }
        let request = TestRequest::default().to_http_request();
        assert_eq!(EventsQuery::default().format(&request), Format::Json);
        // On several lines.
        let request = TestRequest::default()
            .append_header((header::ACCEPT, "application/json;q=0.1"))
            .append_header((header::ACCEPT, "text/csv;q=0.2"));
        assert_eq!(EventsQuery::default().format(&request.to_http_request()), Format::Csv);
    }
}
