//! Whether a server says that it can answer. Knows: stores that break. Must not know: any rule.

use std::sync::Arc;

use actix_web::test::TestRequest;
use async_trait::async_trait;
use grantbook_events::{Position, Revision, Role, StreamName, Timestamp};
use serde_json::json;
use uuid::Uuid;

use crate::audit::History;
use crate::clock::SystemClock;
use crate::http::testing::{ROUTES, TestServer};
use crate::ledger::Ledger;
use crate::ledger::tests::poison::foreign;
use crate::secrets;
use crate::store::{
    Append, Expected, Head, MemoryStore, NewRecord, Record, SqliteOptions, SqliteStore, Store, StoreError,
    Subscription,
};

/// A store whose subscription ends in a way that the test chooses.
#[derive(Debug)]
struct Broken(Arc<MemoryStore>, fn() -> Result<Subscription, StoreError>);

#[async_trait]
impl Store for Broken {
    async fn append(
        &self,
        stream: &StreamName,
        expected: Expected,
        records: Vec<NewRecord>,
    ) -> Result<Append, StoreError> {
        self.0.append(stream, expected, records).await
    }

    async fn read_stream(&self, stream: &StreamName, from: Revision) -> Result<Vec<Record>, StoreError> {
        self.0.read_stream(stream, from).await
    }

    async fn read_all(&self, after: Position, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.0.read_all(after, limit).await
    }

    async fn subscribe(&self, _: Position) -> Result<Subscription, StoreError> {
        (self.1)()
    }

    async fn head(&self) -> Result<Head, StoreError> {
        self.0.head().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

/// A server on a ledger with one event whose subscription is broken.
async fn given_broken(subscribe: fn() -> Result<Subscription, StoreError>) -> TestServer {
    let mut server = TestServer::start().await;
    server.register("One").await;
    let store: Arc<dyn Store> = Arc::new(Broken(Arc::clone(&server.store), subscribe));
    server.with_ledger(Ledger::open(store, Arc::new(SystemClock)));
    server
}

#[tokio::test]
async fn it_is_ready_once_the_ledger_is_folded() {
    let server = TestServer::start().await;
    server.register("One").await;
    let answer = server.send(TestRequest::get().uri("/readyz")).await;
    assert_eq!(answer.json(200), json!({ "ready": true, "position": 1, "quarantined": 0 }));
    assert_eq!(server.send(TestRequest::get().uri("/healthz")).await.text, "ok\n");
}

#[tokio::test]
async fn it_is_not_ready_while_the_ledger_is_being_folded() {
    let server = given_broken(|| {
        let (sender, signals) = tokio::sync::mpsc::channel(1);
        // The subscription never says anything, and never ends.
        std::mem::forget(sender);
        Ok(Subscription::new(signals))
    })
    .await;
    let answer = server.send(TestRequest::get().uri("/readyz")).await;
    let expected = json!({
        "ready": false, "position": 0, "quarantined": 0, "head": 1, "reason": "the ledger is still being folded",
    });
    assert_eq!(answer.json(503), expected);
    assert_eq!(server.send(TestRequest::get().uri("/healthz")).await.status, 200);
    let metrics = server.send(TestRequest::get().uri("/metrics")).await.text;
    assert!(metrics.contains("\ngrantbook_caught_up 0\n"), "{metrics}");
}

#[tokio::test]
async fn it_is_not_ready_when_folding_has_stopped_and_the_reason_names_nothing() {
    let server = given_broken(|| {
        Err(StoreError::Damaged { position: Position::new(1), detail: "stream app-5f0c is odd".to_owned() })
    })
    .await;
    server.service.ledger.caught_up().await.unwrap_err();
    let answer = server.send(TestRequest::get().uri("/readyz")).await;
    assert_eq!(answer.json(503)["reason"], "folding the ledger has stopped: the log says why");
    assert!(!answer.text.contains("app-"));
}

/// Each subscriber that finds that the ledger ends early is enough: what the other one knows may be of what is lost.
#[tokio::test]
async fn nothing_is_answered_once_the_ledger_ends_before_what_was_seen() {
    let ends_early: fn() -> Result<Subscription, StoreError> =
        || Err(StoreError::EndsEarly("the node has seen position 7 of app-5f0c".to_owned()));
    let live = given_broken(ends_early).await;
    live.service.ledger.caught_up().await.unwrap_err();
    let mut history = TestServer::start().await;
    history.register("One").await;
    let dir = tempfile::tempdir().unwrap();
    let store: Arc<dyn Store> = Arc::new(Broken(Arc::clone(&history.store), ends_early));
    history.with_history(History::of(store, dir.path().to_owned()));
    history.service.history.reached(Position::new(1)).await.unwrap_err();
    assert!(history.service.ledger.is_ready(), "the live projection has not noticed");
    for server in [live, history] {
        let ready = server.send(TestRequest::get().uri("/readyz")).await;
        let reason = "the ledger ends before what this node has seen of it: see the log";
        assert_eq!(ready.json(503)["reason"], reason);
        assert!(!ready.text.contains("app-"), "{}", ready.text);
        assert_eq!(server.send(TestRequest::get().uri("/healthz")).await.status, 200);
        assert_eq!(server.send(TestRequest::get().uri("/metrics")).await.status, 200);
        let oauth =
            ["token", "revoke", "introspect", "leaked", "userinfo"].map(|name| format!("/oauth/{name}"));
        let oauth = oauth.iter().map(|path| ("POST", path.as_str()));
        let pages = ["/", "/sign-in", "/account/apps", "/oauth/authorize"].map(|path| ("GET", path));
        let routes = ROUTES.iter().map(|route| (route.method, route.path));
        for (method, path) in routes.chain(oauth).chain(pages) {
            if ["/healthz", "/readyz", "/metrics"].contains(&path) {
                continue;
            }
            let answer = server.ask(Role::Admin, method, path, None).await;
            let answered = answer.json(503);
            match path.starts_with("/oauth/") && method == "POST" {
                true => assert_eq!(answered["error"], "temporarily_unavailable", "{path}"),
                false => assert_eq!(answered["code"], "not_ready", "{method} {path}"),
            }
            assert_eq!(answer.header("retry-after"), "1", "{method} {path}");
        }
        let page = TestRequest::get().uri("/account/apps").insert_header(("accept", "text/html"));
        let page = server.send(page).await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (503, "text/html; charset=utf-8"));
    }
}

/// The first twenty, in order, with all that an operator needs to find them; nothing that looks like a secret.
#[tokio::test]
async fn streams_in_quarantine_are_named() {
    let server = TestServer::start().await;
    let secret = secrets::mint_operator_key();
    for number in 1..=25 {
        let stream = format!("installation-{}", Uuid::from_u128(number)).parse().unwrap();
        let type_name = format!("app-teleported by {} {}", secret.expose(), "é".repeat(500));
        let record = NewRecord { type_name, ..foreign() };
        server.store.append(&stream, Expected::NoStream, vec![record]).await.unwrap();
    }
    assert!(server.service.ledger.reached(Position::new(25)).await);
    let ready = server.send(TestRequest::get().uri("/readyz")).await.json(200);
    let metrics = server.send(TestRequest::get().uri("/metrics")).await.text;
    assert_eq!(ready["quarantined"], 25);
    let named = ready["quarantined_streams"].as_array().unwrap();
    assert_eq!(named.len(), 20);
    assert_eq!(metrics.matches("\ngrantbook_quarantined_stream{").count(), 20);
    for (number, named) in (1_u64..).zip(named) {
        let stream = format!("installation-{}", Uuid::from_u128(number.into()));
        assert_eq!((&named["stream"], &named["position"]), (&json!(stream), &json!(number)));
        let reason = named["reason"].as_str().unwrap();
        assert_eq!(reason.chars().count(), 200, "{reason}");
        assert!(reason.contains(&format!("position {number} ")), "{reason}");
        let line =
            format!("\ngrantbook_quarantined_stream{{stream=\"{stream}\",position=\"{number}\",reason=\"");
        assert!(metrics.contains(&line), "{line}");
    }
    assert!(!metrics.contains(secret.expose()) && !server.answers().contains(secret.expose()));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_preferred() {
    let server = TestServer::start().await;
    let (open_metrics, older) = (
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "text/plain; version=0.0.4; charset=utf-8",
    );
    for (accept, expected) in [
        (None, older),
        (Some("*/*"), older),
        (Some("text/html, */*;q=0.1"), older),
        (Some("nonsense"), older),
        (Some("application/openmetrics-text"), open_metrics),
        (Some("application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.9"), older),
        // As Prometheus 2.53 asks.
        (
            Some(
                "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                 text/plain;version=0.0.4;q=0.3,*/*;q=0.2",
            ),
            open_metrics,
        ),
    ] {
        let request = TestRequest::get().uri("/metrics");
        let request =
            accept.into_iter().fold(request, |request, accept| request.insert_header(("accept", accept)));
        let answer = server.send(request).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, expected), "{accept:?}");
        assert_eq!(answer.text.ends_with("# EOF\n"), expected == open_metrics, "{accept:?}");
    }
}

/// A ledger on a disk, whose writer can be made to panic.
#[tokio::test]
async fn it_is_not_ready_when_a_thread_that_it_needs_has_ended_and_says_which() {
    let dir = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(
        dir.path(),
        SqliteOptions { identity: uuid::Uuid::from_u128(1), now: Timestamp::EPOCH },
    )
    .unwrap();
    let mut server = TestServer::start().await;
    let ledger = Ledger::open(Arc::clone(&store) as Arc<dyn Store>, Arc::new(SystemClock));
    server.with_ledger(ledger);
    server.service.ledger.caught_up().await.unwrap();
    server.send(TestRequest::get().uri("/readyz")).await.json(200);
    store.break_the_writer().await;
    let answer = loop {
        let answer = server.send(TestRequest::get().uri("/readyz")).await;
        if answer.status == 503 && answer.text.contains("ledger-writer") {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    let reason = answer.json(503)["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("what the server needs has ended: ledger-"), "{reason}");
    // What is folded is not taken for what is true any more.
    while server.service.ledger.is_ready() {
        tokio::task::yield_now().await;
    }
    let metrics = server.send(TestRequest::get().uri("/metrics")).await.text;
    for ended in ["ledger-writer", "live"] {
        assert!(metrics.contains(&format!("\ngrantbook_task_running{{task=\"{ended}\"}} 0\n")), "{metrics}");
    }
}
