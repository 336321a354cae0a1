//! Everything that passes a filter, as lines or as CSV, for as long as it is read. Knows: rows as JSON and as CSV, and
//! how many are read at once. Must not know: how a question is put, or how long a reader may take, which is the same for
//! every answer.
//!
//! A thread and a connection to the history are held for one part at a time, and only when there is room for
//! it: so a reader who stops reading holds neither.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll};

use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use futures_core::Stream;
use grantbook_events::{ActorKind, Position};
use grantbook_projections::history::HistoryRow;
use tokio::sync::{Semaphore, mpsc, watch};

use crate::audit::{Filter, History, HistoryError, Order};
use crate::connections::Open;
use crate::http::problem::Problem;

/// Rows read at once: about 100 KB of text.
const ROWS_AT_ONCE: usize = 250;
/// How many such parts may wait for a slow reader.
const PARTS_AHEAD: usize = 1;
/// How many answers without end may be under way: each holds a few parts.
const AT_ONCE: usize = 128;

/// The answers without end that are under way.
#[derive(Debug)]
pub struct Exports {
    room: Arc<Semaphore>,
    is_stopped: watch::Sender<bool>,
}

impl Default for Exports {
    /// None yet.
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(AT_ONCE)), is_stopped: watch::Sender::new(false) }
    }
}

impl Exports {
    /// Breaks off what is under way, so that the server need not wait for those who read it.
    pub fn stop(&self) {
        self.is_stopped.send_replace(true);
    }
}

/// Writes rows. `true` says that they are the first, which may need a head.
pub(super) type Write = fn(&[HistoryRow], bool) -> Result<Vec<u8>, std::io::Error>;

/// Why an answer was broken off.
#[derive(Debug, thiserror::Error)]
enum BrokenOff {
    #[error("the server stops")]
    Stopped,
    #[error(transparent)]
    History(#[from] HistoryError),
    #[error(transparent)]
    Form(#[from] std::io::Error),
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct Export {
    pub history: Arc<History>,
    pub filter: Filter,
    pub order: Order,
    pub write: Write,
    /// The most lines, at least one; `None` is all.
    pub most: Option<usize>,
}

impl Export {
    /// Begins to write, as fast as it is read.
    ///
    /// # Errors
    /// If too many are under way.
    pub(super) fn start(self, exports: &Exports, connection: Option<Arc<Open>>) -> Result<Body, Problem> {
        let room = Arc::clone(&exports.room).try_acquire_owned().map_err(|_| {
            let detail = format!("{AT_ONCE} exports are under way, which is the most: ask again in a minute");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too_many_exports", detail)
        })?;
        let mut stopped = exports.is_stopped.subscribe();
        let (sender, parts) = mpsc::channel(PARTS_AHEAD);
        let is_whole = Arc::new(AtomicBool::new(false));
        let body = Body { parts, is_whole: Arc::clone(&is_whole) };
        tokio::spawn(async move {
            let _room = room;
            match self.send(&sender, &mut stopped).await {
                Ok(()) => is_whole.store(true, Ordering::Release),
                Err(reason) => {
                    tracing::warn!(%reason, "an export was broken off");
                    // A body is not asked for more while the reader waits, so it cannot say that it ends.
                    if let Some(connection) = connection {
                        connection.cut();
                    }
                }
            }
        });
        Ok(body)
    }

    async fn send(
        mut self,
        parts: &mpsc::Sender<Bytes>,
        stopped: &mut watch::Receiver<bool>,
    ) -> Result<(), BrokenOff> {
        let mut is_first = true;
        loop {
            let room = tokio::select! {
                _ = stopped.wait_for(|stopped| *stopped) => return Err(BrokenOff::Stopped),
                room = parts.reserve() => room,
            };
            // The reader went away, or its connection was closed because it did not read on.
            let Ok(room) = room else { return Ok(()) };
            let at_once = self.most.map_or(ROWS_AT_ONCE, |most| most.min(ROWS_AT_ONCE));
            let rows = self.history.rows(self.filter.clone(), self.order, at_once).await?;
            self.most = self.most.map(|most| most - rows.len().min(most));
            room.send(Bytes::from((self.write)(&rows, is_first)?));
            is_first = false;
            match rows.last() {
                Some(last) if rows.len() == ROWS_AT_ONCE && self.most != Some(0) => {
                    after_row(&mut self.filter, self.order, last.position);
                }
                Some(_) | None => return Ok(()),
            }
        }
    }
}

/// What is left of a list after a row.
pub(super) fn after_row(filter: &mut Filter, order: Order, last: Position) {
    match order {
        Order::NewestFirst => filter.before = Some(last),
        Order::OldestFirst => filter.after = Some(last),
    }
}

/// Parts as they come. One that was broken off ends with an error, so that it is not taken for the whole.
#[derive(Debug)]
pub struct Body {
    parts: mpsc::Receiver<Bytes>,
    is_whole: Arc<AtomicBool>,
}

impl Stream for Body {
    type Item = Result<Bytes, std::io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<Option<Self::Item>> {
        self.parts.poll_recv(task).map(|part| match part {
            Some(part) => Some(Ok(part)),
            None if self.is_whole.swap(true, Ordering::AcqRel) => None,
            None => Some(Err(std::io::Error::other("the answer was broken off"))),
        })
    }
}

/// Rows as JSON, one object a line.
pub(super) fn ndjson(rows: &[HistoryRow], _: bool) -> Result<Vec<u8>, std::io::Error> {
    let mut text = Vec::new();
    for row in rows {
        serde_json::to_writer(&mut text, row)?;
        text.push(b'\n');
    }
    Ok(text)
}

/// What a row has in a column.
type Field = fn(&HistoryRow) -> String;

/// The columns of CSV: their names, and what a row has there.
const COLUMNS: [(&str, Field); 16] = [
    ("position", |row| row.position.to_string()),
    ("recorded_at", |row| row.recorded_at.to_string()),
    ("type", |row| row.event_type.to_string()),
    ("event_id", |row| row.event_id.to_string()),
    ("stream", |row| row.stream.to_string()),
    ("revision", |row| row.revision.to_string()),
    ("client_id", |row| text(row.client_id.as_ref())),
    ("account_id", |row| text(row.account_id.as_ref())),
    ("user_id", |row| text(row.user_id.as_ref())),
    ("installation_id", |row| text(row.installation_id.as_ref())),
    ("token_ids", |row| list(&row.token_ids)),
    ("actor_kind", |row| row.actor.as_ref().map(|actor| kind(actor.kind)).unwrap_or_default().to_owned()),
    ("actor_id", |row| row.actor.as_ref().map(|actor| actor.id.clone()).unwrap_or_default()),
    ("reason", |row| text(row.reason.as_ref())),
    ("request_id", |row| text(row.request_id.as_ref())),
    ("token_users", |row| list(&row.token_users)),
];

fn text<T: ToString>(value: Option<&T>) -> String {
    value.map(T::to_string).unwrap_or_default()
}

fn list<T: ToString>(values: &[T]) -> String {
    values.iter().map(T::to_string).collect::<Vec<_>>().join(" ")
}

fn kind(kind: ActorKind) -> &'static str {
    match kind {
        ActorKind::User => "user",
        ActorKind::App => "app",
        ActorKind::Operator => "operator",
        ActorKind::System => "system",
    }
}

/// Rows as CSV, after a line of names.
pub(super) fn csv(rows: &[HistoryRow], is_first: bool) -> Result<Vec<u8>, std::io::Error> {
    let header = is_first.then(|| COLUMNS.map(|(name, _)| name.to_owned()));
    csv_of(header.into_iter().chain(rows.iter().map(|row| COLUMNS.map(|(_, field)| field(row)))))
}

/// The fields of a line.
type Line = [String; COLUMNS.len()];

/// Lines of CSV (RFC 4180). A field that a spreadsheet would take for a formula begins with an apostrophe.
fn csv_of(lines: impl IntoIterator<Item = Line>) -> Result<Vec<u8>, std::io::Error> {
    // Quotes keep a field whole also where a comma is not what separates fields.
    let mut writer = csv::WriterBuilder::new()
        .quote_style(csv::QuoteStyle::Always)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for line in lines {
        writer.write_record(line.map(harmless))?;
    }
    writer.into_inner().map_err(csv::IntoInnerError::into_error)
}

/// Account ids, user ids and reasons are words of strangers: `=1+1` must stay what it says, also after
/// spaces, which some spreadsheets leave out, and in full-width forms, which some take for the narrow ones.
fn harmless(field: String) -> String {
    let is_skipped = |symbol: &char| symbol.is_whitespace() && !matches!(symbol, '\t' | '\r');
    match field.chars().find(|symbol| !is_skipped(symbol)) {
        Some('=' | '+' | '-' | '@' | '＝' | '＋' | '－' | '＠' | '\t' | '\r') => format!("'{field}"),
        Some(_) | None => field,
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use super::*;
    use crate::http::testing::TestServer;

    /// Nothing a test waits for may take longer.
    const PATIENCE: Duration = Duration::from_secs(30);

    /// A server with more history than is written ahead, and what asks for all of it.
    async fn given_history() -> (TestServer, impl Fn() -> Export) {
        let server = TestServer::start().await;
        let app = server.register("One").await;
        for number in 0..ROWS_AT_ONCE * 2 {
            server.install(&app, &format!("account-{number}")).await;
        }
        let history = Arc::clone(&server.service.history);
        let last = server.service.ledger.progress().position;
        while history.progress().position < last {
            // Each time it waits for a few seconds, which may be too few for all of it.
            let _ = history.reached(last).await;
            assert_eq!(history.progress().stopped, None);
        }
        let export = move || Export {
            history: Arc::clone(&history),
            filter: Filter::default(),
            order: Order::OldestFirst,
            write: ndjson,
            most: None,
        };
        (server, export)
    }

    /// Every part, and what the body ended with.
    async fn rest(mut body: Body) -> (usize, Option<std::io::Error>) {
        let mut lines = 0;
        loop {
            match poll_fn(|task| Pin::new(&mut body).poll_next(task)).await {
                Some(Ok(part)) => lines += part.iter().filter(|byte| **byte == b'\n').count(),
                Some(Err(error)) => return (lines, Some(error)),
                None => return (lines, None),
            }
        }
    }

    #[tokio::test]
    async fn readers_who_stop_reading_keep_nobody_else_waiting() {
        let (server, export) = given_history().await;
        // More than there are threads that may block.
        let (mut stalled, mut refused) = (Vec::new(), 0);
        for _ in 0..600 {
            match export().start(&server.service.exports, None) {
                Ok(body) => stalled.push(body),
                Err(problem) => {
                    assert_eq!((problem.status, problem.code), (503, "too_many_exports"));
                    refused += 1;
                }
            }
        }
        assert_eq!((stalled.len(), refused), (AT_ONCE, 600 - AT_ONCE));
        let page = server.get("/audit/events?limit=200").await.json(200);
        assert_eq!(page["items"].as_array().unwrap().len(), 200);
        let then = server.get("/audit/installations?account=account-7").await.json(200);
        assert_eq!(then["items"][0]["installed"], true);
        // One who reads on gets everything, and then there is room for others.
        assert_eq!(rest(stalled.pop().unwrap()).await.0, ROWS_AT_ONCE * 4 + 1);
        drop(stalled);
        let all = async {
            loop {
                if let Ok(body) = export().start(&server.service.exports, None) {
                    return rest(body).await;
                }
                tokio::task::yield_now().await;
            }
        };
        let (lines, error) = tokio::time::timeout(PATIENCE, all).await.unwrap();
        assert!(error.is_none());
        assert_eq!(lines, ROWS_AT_ONCE * 4 + 1);
    }

    #[tokio::test]
    async fn a_reader_who_goes_away_makes_room() {
        let (server, export) = given_history().await;
        let exports = &server.service.exports;
        let body = export().start(exports, None).unwrap();
        assert_eq!(exports.room.available_permits(), AT_ONCE - 1);
        drop(body);
        let gone = async {
            while exports.room.available_permits() < AT_ONCE {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_pending_ends_when_the_server_stops() {
        let (server, export) = given_history().await;
        let body = export().start(&server.service.exports, None).unwrap();
        server.service.exports.stop();
        let (lines, error) = tokio::time::timeout(PATIENCE, rest(body)).await.unwrap();
        assert!(lines <= ROWS_AT_ONCE * (PARTS_AHEAD + 1), "{lines}");
        assert!(error.is_some());
    }

    #[test]
    fn what_a_spreadsheet_would_run_is_text_and_what_csv_would_split_is_whole() {
        let line = |field: &str| {
            let mut line = [const { String::new() }; COLUMNS.len()];
            line[0] = field.to_owned();
            let bytes = csv_of([line]).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let rest = ",\"\"".repeat(15);
        for (field, written) in [
            ("plain", "plain"),
            ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@cmd", "'@cmd"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("  =1", "'  =1"),
            ("\u{a0}\u{3000}+1", "'\u{a0}\u{3000}+1"),
            ("\n-1", "'\n-1"),
            (" \tx", "' \tx"),
            ("＝1", "'＝1"),
            ("＋1", "'＋1"),
            (" －1", "' －1"),
            ("＠cmd", "'＠cmd"),
            ("  ", "  "),
            ("a=b", "a=b"),
            ("a,b", "a,b"),
            ("a;=b", "a;=b"),
            ("say \"no\"", "say \"\"no\"\""),
            ("two\r\nlines", "two\r\nlines"),
        ] {
            assert_eq!(line(field), format!("\"{written}\"{rest}\r\n"), "{field:?}");
        }
    }
}
