//! Callers that do not finish what they say, say it too slowly, or say too much. They get an answer that
//! tells them so or a closed connection, and nobody else waits for them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use crate::process::{Serving, eventually};
use crate::site::Site;
use crate::wanted::registration;

/// Callers of one kind at once.
const MANY: usize = 50;

/// What is left to read, up to the end of the connection. A reset is an end as well.
fn rest(stream: &mut TcpStream) -> String {
    let (mut reply, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => reply.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the connection stays open: {error}"),
        }
    }
    String::from_utf8(reply).unwrap()
}

/// The head of a registration with a body of a length.
fn registration_head(serving: &Serving, length: usize) -> String {
    format!(
        "POST /apps HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n",
        serving.key
    )
}

#[test]
fn half_a_request_does_nothing_and_costs_nobody_else() {
    let site = Site::new();
    let serving = site.serve();
    let body = registration("Half an App").to_string();
    let whole = format!("{}{body}", registration_head(&serving, body.len()));
    for said in (1..whole.len()).step_by(whole.len() / MANY) {
        let mut stream = serving.http.connect();
        stream.write_all(&whole.as_bytes()[..said]).unwrap();
        // Half of the callers wait for an answer, half of them are gone at once.
        if said % 2 == 0 {
            stream.shutdown(Shutdown::Write).unwrap();
            let answer = rest(&mut stream);
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{said}: {answer}");
        }
    }
    let app = serving.app();
    assert!(serving.is_active(&serving.token(&app)));
    serving.stop();
    let registered = site.events().iter().filter(|event| event["type"] == "app-registered").count();
    assert_eq!(registered, 1);
}

#[test]
fn a_head_that_dribbles_in_is_cut_off() {
    let site = Site::with(&[("LIMITS_CLIENT_HEAD_TIMEOUT", "1s")]);
    let serving = site.serve();
    let slow: Vec<TcpStream> = (0..MANY)
        .map(|_| {
            let mut stream = serving.http.connect();
            stream.write_all(b"GET /apps HTTP/1.1\r\nhost: 127.0.0.1\r\n").unwrap();
            stream
        })
        .collect();
    // Meanwhile others are served.
    serving.app();
    for mut stream in slow {
        stream.set_nonblocking(true).unwrap();
        let mut buffer = [0; 1024];
        // A byte now and then does not keep the connection.
        let answer = eventually("a connection that dribbles is closed", || match stream.read(&mut buffer) {
            Ok(read) => Some(String::from_utf8_lossy(&buffer[..read]).into_owned()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let _ = stream.write(b"x");
                None
            }
            Err(_) => Some(String::new()),
        });
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    }
    serving.app();
}

#[test]
fn a_body_that_does_not_come_is_given_up_on() {
    let site = Site::with(&[("LIMITS_REQUEST_TIMEOUT", "1s")]);
    let serving = site.serve();
    let mut slow: Vec<TcpStream> = (0..MANY)
        .map(|number| {
            let mut stream = serving.http.connect();
            let head = registration_head(&serving, 100);
            // Half of them do not say how much is to come.
            let begun = if number % 2 == 0 {
                format!("{head}{{\"name\":")
            } else {
                let head = head.replace("content-length: 100", "transfer-encoding: chunked");
                format!("{head}8\r\n{{\"name\":\r\n")
            };
            stream.write_all(begun.as_bytes()).unwrap();
            stream
        })
        .collect();
    serving.app();
    for stream in &mut slow {
        let answer = rest(stream);
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer:?}");
        assert!(answer.contains("was not complete within 1 s"), "{answer}");
    }
    serving.app();
    serving.stop();
    assert_eq!(site.events().len(), 2);
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let site = Site::new();
    let serving = site.serve();
    let too_large = |path: &str, kind: &str, framing: &str, chunk: &str| {
        let mut stream = serving.http.connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\n\
             content-type: {kind}\r\n{framing}\r\n\r\n",
            serving.key
        );
        stream.write_all(head.as_bytes()).unwrap();
        // The server may close before it has heard everything.
        while stream.write_all(chunk.as_bytes()).is_ok() {
            stream.set_nonblocking(true).unwrap();
            let answered = stream.peek(&mut [0]).is_ok();
            stream.set_nonblocking(false).unwrap();
            if answered {
                break;
            }
        }
        rest(&mut stream)
    };
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    for (path, kind) in
        [("/apps", json), ("/oauth/token", form), ("/oauth/introspect", form), ("/sign-in/dev", form)]
    {
        for (framing, chunk) in
            [("content-length: 99999999", "x".repeat(0x1000)), ("transfer-encoding: chunked", chunk.clone())]
        {
            let answer = too_large(path, kind, framing, &chunk);
            assert!(answer.starts_with("HTTP/1.1 413"), "{path}, {framing}: {answer:?}");
        }
    }
    serving.app();
}

#[test]
fn a_head_that_is_too_large_is_refused() {
    let site = Site::with(&[("LIMITS_HEAD", "4KiB")]);
    let serving = site.serve();
    for (size, statuses) in [(5_000, &["431"][..]), (1_000_000, &["431", "400"])] {
        let long = "x".repeat(size);
        for head in [
            format!("GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-long: {long}\r\n\r\n"),
            format!("GET /oauth/authorize?state={long} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n"),
        ] {
            let mut stream = serving.http.connect();
            // The server may close before it has heard everything.
            let _ = stream.write_all(head.as_bytes());
            let _ = stream.shutdown(Shutdown::Write);
            let answer = rest(&mut stream);
            let status = answer.get(9..12).unwrap_or_default();
            assert!(status.is_empty() && size > 5_000 || statuses.contains(&status), "{size}: {answer:?}");
        }
    }
    serving.app();
}
