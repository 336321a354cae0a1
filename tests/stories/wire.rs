//! What no HTTP client would send.

use std::fmt::Write as _;

use crate::client::encode;
use crate::harness::Grantbook;

/// The status of a raw reply, and all of it.
#[track_caller]
fn sent(grantbook: &Grantbook, request: &str) -> (u16, String) {
    let reply = grantbook.send_bytes(request.as_bytes());
    let status = reply.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("no reply: {reply:?}")), reply)
}

/// The head of a form for the token endpoint, but how long its body is.
fn head(grantbook: &Grantbook, length: &str) -> String {
    format!(
        "POST /oauth/token HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\
         content-type: application/x-www-form-urlencoded\r\n{length}\r\n\r\n",
        grantbook.address
    )
}

fn chunked(body: &str) -> String {
    let mut chunks = String::new();
    for chunk in body.as_bytes().chunks(1000) {
        let chunk = std::str::from_utf8(chunk).unwrap();
        write!(chunks, "{:x}\r\n{chunk}\r\n", chunk.len()).unwrap();
    }
    chunks + "0\r\n\r\n"
}

#[test]
fn k6_an_absolute_request_target_changes_no_issuer() {
    let grantbook = Grantbook::with(&[("SIGN_IN_MODE", "none"), ("ISSUER", "https://auth.example")]);
    let path = "/.well-known/oauth-authorization-server";
    for host in ["auth.example", "evil.example"] {
        let request =
            format!("GET http://evil.example{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        let (status, reply) = sent(&grantbook, &request);
        assert_eq!(status, 200, "{reply}");
        assert!(reply.contains("\"issuer\":\"https://auth.example\""), "{reply}");
        assert!(!reply.contains("evil.example"), "{reply}");
    }
}

#[test]
fn t1_a_body_whose_length_is_not_said_has_the_same_limit() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let form = encode(&[&app.credentials()[..], &[("code", &code)]].concat());
    let head = head(&grantbook, "transfer-encoding: chunked");
    let long = format!("{form}&padding={}", "x".repeat(16 * 1024));
    let (status, reply) = sent(&grantbook, &format!("{head}{}", chunked(&long)));
    assert_eq!(status, 413, "{reply}");
    let (status, reply) = sent(&grantbook, &format!("{head}{}", chunked(&form)));
    assert_eq!(status, 200, "{reply}");
}

#[test]
fn t1_a_request_that_can_be_read_in_two_ways_is_read_in_none() {
    let grantbook = Grantbook::start();
    let app = grantbook.app();
    let code = grantbook.code(&app);
    let form = encode(&[&app.credentials()[..], &[("code", &code)]].concat());
    let length = format!("content-length: {}", form.len());
    let smuggling = [
        format!("{length}\r\ntransfer-encoding: chunked"),
        format!("{length}\r\ncontent-length: 1"),
        format!("content-length: +{}", form.len()),
        "content-length: -1".to_owned(),
        "transfer-encoding: chunked, identity".to_owned(),
    ];
    for framing in smuggling {
        let (status, reply) = sent(&grantbook, &format!("{}{form}", head(&grantbook, &framing)));
        assert_eq!(status, 400, "{framing}: {reply}");
    }
    // Nothing of it was taken for an exchange.
    grantbook.exchange(&app, &code).expect(200);
}
