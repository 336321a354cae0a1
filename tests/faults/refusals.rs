//! Whoever is refused can be found in the log: one line for each refusal, with the id that the answer quotes, the
//! route, the caller where it is known, and the reason.

use std::io::{Read as _, Write as _};

use serde_json::{Value, json};

use crate::client::{Reply, encode};
use crate::process::{Serving, eventually};
use crate::site::Site;

const JSON: &[(&str, &str)] = &[("LOG_FORMAT", "json"), ("LIMITS_REQUEST_TIMEOUT", "2s")];

fn lines(serving: &Serving) -> Vec<Value> {
    serving.log().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The one line that has this request's id.
#[track_caller]
fn line_of(serving: &Serving, request_id: &str) -> Value {
    assert!(!request_id.is_empty());
    let of_it =
        || lines(serving).into_iter().filter(|line| line["request_id"] == request_id).collect::<Vec<_>>();
    eventually("the refusal is logged", || (!of_it().is_empty()).then_some(()));
    let mut found = of_it();
    assert_eq!(found.len(), 1, "one line a refusal: {found:?}");
    found.remove(0)
}

/// The line of a refusal, which has what the caller was told.
#[track_caller]
fn refusal(serving: &Serving, reply: &Reply, status: u16, route: &str, told: &str) -> Value {
    assert_eq!(reply.status, status, "{reply:?}");
    let shown = format!("{} {}", reply.body, reply.location().replace("%20", " "));
    assert!(shown.contains(told), "{told:?} was not told: {reply:?}");
    let line = line_of(serving, reply.header("x-request-id"));
    assert_eq!((&line["status"], &line["route"]), (&json!(status), &json!(route)), "{line}");
    assert!(line["reason"].as_str().unwrap().contains(told), "{line}");
    assert_eq!(line["level"], if status >= 500 { "ERROR" } else { "INFO" }, "{line}");
    line
}

#[test]
fn every_refusal_is_one_line_with_its_reason() {
    let site = Site::with(JSON);
    let serving = site.serve();
    let (app, http) = (serving.app(), &serving.http);
    let check = |reply: Reply, status, route, told| refusal(&serving, &reply, status, route, told);
    let by_app = |reply: Reply, status, route, told| {
        assert_eq!(check(reply, status, route, told)["client_id"], app.client_id.as_str());
    };

    check(http.get("/nowhere"), 404, "unmatched", "no such path");
    check(http.post("/healthz", &[]), 405, "/healthz", "this path takes GET, HEAD");
    check(http.get("/oauth/token"), 405, "/oauth/token", "this path takes POST");
    let long = "x".repeat(90_000);
    check(http.send("GET", "/healthz", &[("x-long", &long)], None), 431, "/healthz", "may have at most");
    check(http.get("/apps"), 401, "/apps", "send an operator key");

    let (token, code) = (serving.token(&app), serving.code(&app));
    let of_another = serving.exchange(&serving.app(), &code);
    let unknown = check(of_another, 400, "/oauth/token", "the code is unknown, expired, used or ended");
    assert_eq!(unknown["cause"], "the code is unknown");
    by_app(again_of(&serving, &app.client_id, "wrong"), 401, "/oauth/token", "client authentication failed");
    by_app(http.post_raw("/oauth/revoke", &[], &app.form(&[])), 400, "/oauth/revoke", "token is required");
    let text = [("content-type", "text/plain")];
    check(http.send("POST", "/oauth/token", &text, Some(b"x")), 415, "/oauth/token", "x-www-form-urlencoded");
    let large = "x".repeat(20_000);
    check(http.post("/oauth/token", &[("code", &large)]), 413, "/oauth/token", "at most");
    let bearer = [("authorization", "Bearer gbk_unknown")];
    let unknown = http.post_with("/oauth/introspect", &bearer, &[("token", &token)]);
    check(unknown, 401, "/oauth/introspect", "operator key is unknown");

    let bad = serving.ask("POST", "/apps", Some(&json!({ "gbs_oops": 1 })));
    let line = line_of(&serving, bad.expect(400).header("x-request-id"));
    assert_eq!(line["operator"], "command line");
    assert!(line["reason"].as_str().unwrap().contains("unknown field `(a secret)`"), "{line}");
    check(serving.ask("GET", "/apps/none", None), 400, "/apps/{client_id}", "client_id");

    // Pages quote the id that is in the log.
    let lost = http.get("/oauth/authorize?client_id=00000000000000000000000000000000");
    assert!(lost.body.contains(lost.header("x-request-id")), "{lost:?}");
    check(lost, 400, "/oauth/authorize", "not registered");
    let ana = serving.person("ana", "acme");
    let wrong = encode(&[("client_id", &app.client_id), ("scope", "nosuch")]);
    by_app(ana.get(&format!("/oauth/authorize?{wrong}")), 303, "/oauth/authorize", "invalid_scope");
    let denied = ana.submit(&ana.consent(&app.query()), &[("decision", "deny")]);
    by_app(denied, 303, "/oauth/authorize", "the user said no");
    check(ana.post("/sign-in/dev", &[("csrf", "x")]), 400, "/sign-in/dev", "was started in another browser");
    let uninstall = "/account/apps/none/uninstall";
    check(
        ana.post(uninstall, &[]),
        400,
        "/account/apps/{installation_id}/uninstall",
        "made for another sign-in",
    );
}

fn again_of(serving: &Serving, client_id: &str, secret: &str) -> Reply {
    serving.http.post("/oauth/token", &[("client_id", client_id), ("client_secret", secret), ("code", "x")])
}

/// What is given up on has an answer like every other, with an id.
#[test]
fn a_request_that_takes_too_long_has_its_line() {
    let site = Site::with(JSON);
    let serving = site.serve();
    let mut stream = serving.http.connect();
    let head = "POST /oauth/token HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: 9\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).unwrap();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 408 "), "{reply}");
    let id = reply.lines().find_map(|line| line.strip_prefix("x-request-id: ")).unwrap();
    let line = line_of(&serving, id);
    assert!(line["reason"].as_str().unwrap().contains("was not complete within 2 s"), "{line}");
}

/// Anybody can send what is no HTTP: that is no error of this server.
#[test]
fn malformed_http_is_not_an_error() {
    let site = Site::with(JSON);
    let serving = site.serve();
    let malformed: &[&[u8]] = &[
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET /\x00 HTTP/1.1\r\n\r\n",
        b"A B C D\r\n\r\n",
    ];
    for bytes in malformed {
        assert!(serving.http.send_bytes(bytes).starts_with("HTTP/1.1 400 "));
    }
    // A head without end is cut, perhaps before all of it is sent.
    let mut endless = serving.http.connect();
    let _ = endless.write_all(b"GET / HTTP/1.1\r\nx: ").and_then(|()| endless.write_all(&[b'x'; 200_000]));
    let _ = endless.read_to_end(&mut Vec::new());
    let told = || {
        let told = |line: &Value| line["message"] == "a connection brought what is not HTTP, or broke";
        lines(&serving).iter().filter(|line| told(line)).count()
    };
    eventually("each is told of", || (told() > malformed.len()).then_some(()));
    let loud: Vec<_> = lines(&serving).into_iter().filter(|line| line["level"] != "INFO").collect();
    assert_eq!(loud, [] as [Value; 0]);
}
