//! `/audit/events`: the history, filtered, in pages or as a whole.

use std::cmp::Reverse;
use std::sync::Arc;

use actix_web::body::BoxBody;
use actix_web::http::header::{self, Accept, Header as _, Quality};
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse, Responder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantbook_events::codec::STORED_TYPES;
use grantbook_events::{AccountId, ClientId, InstallationId, Position, Timestamp, TokenId, UserId};
use grantbook_projections::history::HistoryRow;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};
use utoipa::{IntoParams, ToSchema};

use super::export::{Body, Export, Lines, after_row};
use super::known;
use crate::audit::{Filter, Order};
use crate::connections::Open;
use crate::http::input::Text;
use crate::http::manage::paging::Limit;
use crate::http::openapi::describe::{Operation, Output};
use crate::http::problem::Problem;
use crate::http::reply::Reply;
use crate::http::service::Service;
use crate::ledger::WrittenTime;

/// Which events, in which order and form.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Wanted {
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
    #[param(inline)]
    order: Option<OrderName>,
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
fn event_type() -> Object {
    let names: Vec<&str> = STORED_TYPES.iter().map(|(name, _)| *name).collect();
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).build()
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

#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum OrderName {
    Newest,
    Oldest,
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

impl Wanted {
    fn order(&self) -> Order {
        match self.order {
            Some(OrderName::Newest) | None => Order::NewestFirst,
            Some(OrderName::Oldest) => Order::OldestFirst,
        }
    }

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
        self.format.or_else(|| Format::accepted(&Accept::parse(request).ok()?)).unwrap_or(Format::Json)
    }
}

impl Format {
    /// The first is for those who do not care.
    const ALL: [Self; 3] = [Self::Json, Self::Ndjson, Self::Csv];

    /// The form that is accepted most gladly, if any is (RFC 9110 section 12.5.1). Of two that are alike, the one that
    /// is named more precisely, and then the one that is named first.
    fn accepted(accept: &Accept) -> Option<Self> {
        let liked = Self::ALL.into_iter().filter_map(|format| Some((format.liked(accept)?, format)));
        // The last of equals is the greatest.
        liked.rev().max_by_key(|(liked, _)| *liked).map(|(_, format)| format)
    }

    /// How gladly it is accepted, how precisely it is named, and where. What is said most precisely counts.
    fn liked(self, accept: &Accept) -> Option<(Quality, usize, Reverse<usize>)> {
        let (kind, name) = match self {
            Self::Json => ("application", "json"),
            Self::Ndjson => ("application", "x-ndjson"),
            Self::Csv => ("text", "csv"),
        };
        let named = accept.iter().enumerate().filter_map(|(at, range)| {
            let precision = match (range.item.type_().as_str(), range.item.subtype().as_str()) {
                ("*", "*") => 0,
                (type_, "*") if type_ == kind => 1,
                (type_, subtype) if type_ == kind && subtype == name => 2,
                _ => return None,
            };
            Some((precision, Reverse(at), range.quality))
        });
        let (precision, at, quality) = named.max()?;
        (quality > Quality::ZERO).then_some((quality, precision, at))
    }
}

/// Where a page ended, and which list it was a page of: 8 bytes of position and 4 of a checksum of what was asked.
struct Cursor;

impl Cursor {
    /// Of the times as they were written: how long ago is another time in each request, and the same list.
    fn checksum(wanted: &Wanted) -> [u8; 4] {
        let (filter, order) = (wanted.filter(Timestamp::EPOCH), wanted.order());
        let Wanted { since, until, .. } = wanted;
        crc32fast::hash(format!("{filter:?} {since:?} {until:?} {order:?}").as_bytes()).to_be_bytes()
    }

    fn write(position: Position, wanted: &Wanted) -> String {
        let position = position.as_u64().to_be_bytes();
        URL_SAFE_NO_PAD.encode([&position[..], &Self::checksum(wanted)].concat())
    }

    fn read(text: &str, wanted: &Wanted) -> Result<Position, Problem> {
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        let (position, checksum) = bytes
            .split_first_chunk::<8>()
            .ok_or_else(|| Problem::bad_request("cursor must be the next_cursor of the page before"))?;
        if checksum != Self::checksum(wanted) {
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
    wanted: Query<Wanted>,
) -> Result<Events, Problem> {
    let (filter, order) = (wanted.filter(service.ledger.now()), wanted.order());
    service.history.reached(service.ledger.live().position()).await?;
    known::must_be(&service.history, &filter).await?;
    let mut from_here = filter;
    if let Some(cursor) = &wanted.cursor {
        after_row(&mut from_here, order, Cursor::read(cursor, &wanted)?);
    }
    let (media_type, lines) = match wanted.format(&request) {
        Format::Json => return page(&service, &wanted, from_here, order).await.map(Events::Page),
        Format::Ndjson => ("application/x-ndjson", Lines::Ndjson),
        Format::Csv => ("text/csv; charset=utf-8; header=present", Lines::Csv),
    };
    // What is recorded from here on is for the next answer, or this one might never end.
    let filter = Filter { up_to: Some(service.history.progress().position), ..from_here };
    let most = wanted.limit.map(|limit| Limit::or_default(Some(limit)));
    let export = Export { history: Arc::clone(&service.history), filter, order, lines, most };
    let body = export.start(&service.exports, request.conn_data::<Arc<Open>>().cloned())?;
    Ok(Events::All(media_type, body))
}

async fn page(
    service: &Service,
    wanted: &Wanted,
    from_here: Filter,
    order: Order,
) -> Result<EventsJson, Problem> {
    let limit = Limit::or_default(wanted.limit);
    // One row more than fits tells whether there is a next page.
    let mut rows = service.history.rows(from_here, order, limit + 1).await?;
    let is_more = rows.len() > limit;
    rows.truncate(limit);
    let last = rows.last().filter(|_| is_more);
    let next_cursor = last.map(|last| Cursor::write(last.position, wanted));
    Ok(EventsJson { items: rows, next_cursor })
}

/// One page, or everything.
#[derive(Debug)]
pub enum Events {
    Page(EventsJson),
    All(&'static str, Body),
}

impl Responder for Events {
    type Body = BoxBody;

    fn respond_to(self, request: &HttpRequest) -> HttpResponse {
        match self {
            Self::Page(page) => Reply::ok(page).respond_to(request),
            Self::All(media_type, body) => HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, media_type))
                .insert_header((header::CACHE_CONTROL, "no-store"))
                .streaming(body),
        }
    }
}

impl Output for Events {
    fn describe(operation: &mut Operation) {
        operation.answers_json::<EventsJson>();
    }
}

#[cfg(test)]
mod tests {
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
            assert_eq!(Wanted::default().format(&request), expected, "{accept:?}");
            let wanted = Wanted { format: Some(Format::Csv), ..Wanted::default() };
            assert_eq!(wanted.format(&request), Format::Csv, "{accept:?}");
        }
        let request = TestRequest::default().to_http_request();
        assert_eq!(Wanted::default().format(&request), Format::Json);
        // On several lines.
        let request = TestRequest::default()
            .append_header((header::ACCEPT, "application/json;q=0.1"))
            .append_header((header::ACCEPT, "text/csv;q=0.2"));
        assert_eq!(Wanted::default().format(&request.to_http_request()), Format::Csv);
    }
}
