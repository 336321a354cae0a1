//! Lists in pages. Knows: cursors. Must not know: what is listed.
//!
//! Lists only ever grow at their end, so a cursor is the number of rows to skip: a page read while
//! new rows arrive neither repeats nor misses one.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{IntoParams, PartialSchema, ToSchema};

/// The items of a page unless the caller says otherwise.
const DEFAULT_LIMIT: usize = 50;
/// The most items of a page.
const MAX_LIMIT: usize = 200;
/// The most rows looked at for one page of a filtered list.
const MAX_LOOKED_AT: usize = 10 * MAX_LIMIT;

/// What is said to anything but a cursor that was handed out.
pub const NOT_A_CURSOR: &str = "cursor must be the next_cursor of the page before";

/// Which page of a list.
#[derive(Debug, Clone, Copy, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub struct Paging {
    /// `next_cursor` of the page before; the first page without.
    #[param(value_type = Option<String>)]
    pub(super) cursor: Option<Cursor>,
    /// The most items of the page: 1 to 200, 50 by default.
    #[param(value_type = Option<u8>, minimum = 1, maximum = 200, default = 50)]
    pub(super) limit: Option<Limit>,
}

/// One page of a list.
#[derive(Debug, Serialize)]
pub struct Page<T> {
    pub(super) items: Vec<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<Cursor>,
}

impl<T: ToSchema> PartialSchema for Page<T> {
    fn schema() -> RefOr<Schema> {
        let item = Ref::from_schema_name(T::name());
        let items = "The items. They may be fewer than asked for, even none, before the end.";
        let next_cursor = ObjectBuilder::new().schema_type(Type::String);
        let next = "Asks for the next page; absent at the end.";
        let page = ObjectBuilder::new()
            .description(Some("One page of a list."))
            .property("items", ArrayBuilder::new().description(Some(items)).items(item))
            .required("items")
            .property("next_cursor", next_cursor.description(Some(next)));
        page.build().into()
    }
}

/// A page is named after its items.
impl<T: ToSchema> ToSchema for Page<T> {
    fn name() -> Cow<'static, str> {
        format!("{}Page", T::name().trim_end_matches("Json")).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((T::name().into_owned(), T::schema()));
        T::schemas(schemas);
    }
}

impl Paging {
    /// Reads one page. `rows(skip, limit)` are the rows of the list; `item` is a row as it is shown, or
    /// `None` if it is not asked for.
    pub(super) fn page<R, T>(
        self,
        rows: impl Fn(usize, usize) -> Vec<R>,
        item: impl Fn(&R) -> Option<T>,
    ) -> Page<T> {
        let limit = Limit::or_default(self.limit);
        let start = self.cursor.map_or(0, |cursor| cursor.0);
        let (mut at, mut items) = (start, Vec::new());
        while at - start < MAX_LOOKED_AT {
            // One row more than fits tells whether there is a next page.
            let found = rows(at, limit + 1);
            let is_end = found.len() <= limit;
            for row in found.iter().take(limit) {
                if items.len() == limit {
                    return Page { items, next_cursor: Some(Cursor(at)) };
                }
                items.extend(item(row));
                at += 1;
            }
            if is_end || items.len() == limit {
                return Page { items, next_cursor: (!is_end).then_some(Cursor(at)) };
            }
        }
        Page { items, next_cursor: Some(Cursor(at)) }
    }
}

/// How many rows to skip, as callers see it: opaque.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cursor(usize);

impl From<Cursor> for String {
    fn from(cursor: Cursor) -> Self {
        URL_SAFE_NO_PAD.encode((cursor.0 as u64).to_be_bytes())
    }
}

impl TryFrom<String> for Cursor {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
        // What cannot be skipped was never handed out; and the sums of a page must not overflow.
        let number = bytes.and_then(|bytes| u32::try_from(u64::from_be_bytes(bytes)).ok());
        let number = number.and_then(|number| usize::try_from(number).ok());
        number.map(Self).ok_or(NOT_A_CURSOR)
    }
}

/// The most items of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Limit(usize);

impl Limit {
    /// The items of a page.
    pub fn or_default(limit: Option<Self>) -> usize {
        limit.map_or(DEFAULT_LIMIT, |limit| limit.0)
    }
}

impl TryFrom<String> for Limit {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let number = text.parse().ok().filter(|number| (1..=MAX_LIMIT).contains(number));
        number.map(Self).ok_or_else(|| format!("limit must be a number from 1 to {MAX_LIMIT}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pages(count: usize, limit: usize, keep: impl Fn(usize) -> bool) -> (Vec<usize>, usize) {
        let rows = |skip, limit| (0..count).skip(skip).take(limit).collect::<Vec<_>>();
        let (mut all, mut asked, mut cursor) = (Vec::new(), 0, None);
        loop {
            let paging = Paging { cursor, limit: Some(Limit(limit)) };
            let page = paging.page(rows, |&row| keep(row).then_some(row));
            assert!(page.items.len() <= limit);
            all.extend(page.items);
            asked += 1;
            cursor = page.next_cursor;
            if cursor.is_none() {
                return (all, asked);
            }
        }
    }

    #[test]
    fn pages_together_are_the_list() {
        for count in 0..=13 {
            for limit in 1..=13 {
                let (all, asked) = pages(count, limit, |_| true);
                assert_eq!(all, (0..count).collect::<Vec<_>>());
                assert_eq!(asked, count.div_ceil(limit).max(1), "{count} by {limit}: no empty last page");
                let (odd, _) = pages(count, limit, |row| row % 2 == 1);
                assert_eq!(odd, (0..count).filter(|row| row % 2 == 1).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn a_filter_that_matches_nothing_does_not_read_without_bound() {
        let (none, asked) = pages(3 * MAX_LOOKED_AT, 1, |_| false);
        assert_eq!((none.len(), asked), (0, 3));
    }

    #[test]
    fn a_cursor_is_what_was_handed_out() {
        let text = String::from(Cursor(17));
        assert_eq!(Cursor::try_from(text), Ok(Cursor(17)));
        for wrong in ["", "17", "AAAA", "__________8", "AAAAAAAAABE=", "é"] {
            assert_eq!(Cursor::try_from(wrong.to_owned()), Err(NOT_A_CURSOR), "{wrong}");
        }
    }
}
