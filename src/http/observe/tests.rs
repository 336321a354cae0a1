//! What is logged and counted. Knows: the log of this process. Must not know: how requests are answered.

use std::cell::RefCell;
use std::io;
use std::sync::Once;

use actix_web::http::{Method, header};
use actix_web::test::TestRequest;
use grantbook_events::Role;
use serde_json::{Value, json};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::*;
use crate::http::testing::TestServer;

thread_local! {
    static LOG: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The log of this thread. There is one subscriber for the whole test process: with several, which
/// lines each gets depends on which thread was first.
struct ThisThread;

impl io::Write for ThisThread {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.with_borrow_mut(|log| log.extend_from_slice(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ThisThread {
    fn listen() -> Self {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let lines = tracing_subscriber::fmt().with_env_filter("trace").with_writer(|| Self);
            lines.json().flatten_event(true).finish().try_init().unwrap();
        });
        LOG.take();
        Self
    }

    /// What was logged since it was last asked.
    fn text(&self) -> String {
        String::from_utf8(LOG.take()).unwrap()
    }

    fn lines(&self, level: &str) -> Vec<Value> {
        let all = self.text();
        let lines = all.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter(|line| line["level"] == level).collect()
    }
}

#[tokio::test]
async fn a_change_or_a_refusal_is_one_line_with_its_reason_and_the_name_of_the_request() {
    let (server, log) = (TestServer::start().await, ThisThread::listen());
    let answer = server.post("/apps?secret=hush", json!({ "name": "hush" })).await;
    let detail = server.get("/apps?cursor=hush").await.problem(400);
    server.get("/apps").await.json(200);
    let lines = log.lines("INFO");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(lines[1]["reason"], format!("invalid_request: {detail}"));
    assert_eq!((&lines[1]["operator"], &lines[1]["client_id"]), (&json!("test"), &Value::Null));
    let line = &lines[0];
    assert!(line["reason"].as_str().unwrap().contains("owner"), "{line}");
    assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!("grantbook::request")));
    assert_eq!(
        (&line["method"], &line["route"], &line["status"]),
        (&json!("POST"), &json!("/apps"), &json!(400))
    );
    assert_eq!(line["request_id"], answer.header("x-request-id"));
    assert!(line["duration_ms"].as_f64().unwrap() > 0.0);
}

#[tokio::test]
async fn t8_no_log_line_of_any_level_holds_a_secret_or_what_a_caller_sent() {
    let (server, log) = (TestServer::start().await, ThisThread::listen());
    let app = server.register("hush-name").await;
    let id = app["client_id"].as_str().unwrap();
    let rotated = server.post(&format!("/apps/{id}/secrets"), json!({})).await.json(201);
    server.get(&format!("/apps/{id}?hush-query=1")).await;
    server.get("/hush-path").await;
    let request = TestRequest::with_uri("/apps").insert_header(("hush-header", "hush-header"));
    server.send(request.insert_header((header::USER_AGENT, "hush-agent"))).await;
    let odd = TestRequest::with_uri("/apps").method(Method::from_bytes(b"HUSHMETHOD").unwrap());
    server.send(odd).await;
    let text = log.text();
    assert!(text.lines().count() == 6, "{text}");
    let shown = [&app["client_secret"], &rotated["client_secret"]];
    for secret in shown.map(|secret| secret.as_str().unwrap()).into_iter().chain([
        server.key(Role::Admin),
        "gbs_",
        "gbk_",
    ]) {
        assert!(!text.contains(secret), "{secret} in\n{text}");
    }
    assert!(!text.to_lowercase().contains("hush"), "{text}");
    let metrics = server.send(TestRequest::get().uri("/metrics")).await;
    assert!(!metrics.text.to_lowercase().contains("hush") && !metrics.text.contains(id), "{}", metrics.text);
}

#[tokio::test]
async fn a_name_of_a_request_is_taken_if_it_is_plain_and_minted_if_not() {
    let server = TestServer::start().await;
    let sent = async |name: &str| {
        let request = TestRequest::with_uri("/healthz").insert_header((REQUEST_ID_HEADER, name));
        server.send(request).await.header("x-request-id").to_owned()
    };
    assert_eq!(sent("r-1.a_B").await, "r-1.a_B");
    for odd in ["", "two words", "a\"b", &"x".repeat(65)] {
        let name = sent(odd).await;
        assert!(name.len() == 32 && name != odd, "{odd}: {name}");
    }
    let unmatched = server.send(TestRequest::with_uri("/nowhere")).await;
    assert_eq!((unmatched.status.as_u16(), unmatched.header("x-request-id").len()), (404, 32));
}

#[tokio::test]
async fn requests_are_counted_by_route_pattern_and_class_of_status() {
    let server = TestServer::start().await;
    let app = server.register("One").await;
    let id = app["client_id"].as_str().unwrap();
    server.get(&format!("/apps/{id}")).await.json(200);
    server.get("/apps/nonsense").await.problem(400);
    server.get("/nowhere/one").await;
    server.get("/nowhere/two").await;
    server.install(&app, "acme").await;
    let answer = server.send(TestRequest::with_uri("/metrics")).await;
    for line in [
        r#"grantbook_http_requests_total{route="/apps",status="2xx"} 1"#,
        r#"grantbook_http_requests_total{route="/apps/{client_id}",status="2xx"} 1"#,
        r#"grantbook_http_requests_total{route="/apps/{client_id}",status="4xx"} 1"#,
        r#"grantbook_decisions_total{command="register_app",outcome="granted"} 1"#,
        r#"grantbook_http_requests_total{route="unmatched",status="4xx"} 2"#,
        "grantbook_apps 1",
        "grantbook_installations 1",
        "grantbook_live_tokens 1",
        "grantbook_operator_keys 0",
        "grantbook_position 3",
        "grantbook_caught_up 1",
        "process_start_time_seconds 1767323045.0",
        r#"grantbook_task_running{task="live"} 1"#,
        r#"grantbook_task_running{task="history"} 1"#,
    ] {
        assert!(answer.text.lines().any(|found| found == line), "{line} is missing from\n{}", answer.text);
    }
}

#[test]
fn a_token_check_is_not_worth_a_line_and_a_failure_is() {
    let listening = ThisThread::listen();
    let context = Context::of(&TestRequest::default().to_http_request());
    let line = |method, route, status: StatusCode| {
        let reason = (status.as_u16() >= 400).then(|| Reason::new("no"));
        log(method, route, status, &context, 0.5, reason);
    };
    for (level, lines) in [
        ("DEBUG", [("POST", "/oauth/introspect", StatusCode::OK), ("GET", "/apps", StatusCode::OK)]),
        ("INFO", [("POST", "/oauth/token", StatusCode::OK), ("POST", UNMATCHED, StatusCode::NOT_FOUND)]),
        (
            "INFO",
            [("GET", "/apps", StatusCode::FORBIDDEN), ("GET", "/readyz", StatusCode::SERVICE_UNAVAILABLE)],
        ),
        (
            "ERROR",
            [
                ("GET", "/apps", StatusCode::SERVICE_UNAVAILABLE),
                ("GET", "/", StatusCode::INTERNAL_SERVER_ERROR),
            ],
        ),
    ] {
        for (method, route, status) in lines {
            line(method, route, status);
        }
        assert_eq!(listening.lines(level).len(), 2, "{level}");
    }
}
