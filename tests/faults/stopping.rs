//! The end of a server that is asked to stop while somebody talks to it.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::process::{Serving, eventually};
use crate::site::Site;
use crate::wanted::registration;

/// A registration whose body the server is waiting for.
struct Pending {
    stream: BufReader<TcpStream>,
    rest: String,
}

impl Pending {
    /// Sends all but the end, once the server has said that it goes on to read.
    fn begin(serving: &Serving, name: &str) -> Self {
        let body = registration(name).to_string();
        let mut stream = BufReader::new(serving.http.connect());
        let head = format!(
            "POST /apps HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer {}\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            serving.key,
            body.len()
        );
        stream.get_mut().write_all(head.as_bytes()).unwrap();
        let mut line = String::new();
        stream.read_line(&mut line).unwrap();
        assert_eq!(line, "HTTP/1.1 100 Continue\r\n");
        stream.read_line(&mut line).unwrap();
        let (begun, rest) = body.split_at(body.len() / 2);
        stream.get_mut().write_all(begun.as_bytes()).unwrap();
        Self { stream, rest: rest.to_owned() }
    }

    /// Sends the end, and hears the status.
    fn finish(mut self) -> String {
        self.stream.get_mut().write_all(self.rest.as_bytes()).unwrap();
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line
    }
}

#[test]
fn requests_under_way_are_finished() {
    let site = Site::new();
    let mut serving = site.serve();
    let pending: Vec<Pending> =
        (0..8).map(|number| Pending::begin(&serving, &format!("App {number}"))).collect();
    serving.signal("TERM");
    serving.until_it_says("stopping");
    // From here on nobody is told to come here, and nobody who comes is let in.
    assert!(!site.file("control.json").exists());
    eventually("new callers are turned away", || serving.http.try_send("GET", "/healthz", &[], None).err());
    for pending in pending {
        assert_eq!(pending.finish(), "HTTP/1.1 201 Created\r\n");
    }
    let status = serving.wait();
    assert_eq!(status.code(), Some(0), "{}", serving.log());
    let mut names: Vec<Value> = site.events().iter().map(|event| event["data"]["name"].clone()).collect();
    names.sort_by_key(Value::to_string);
    assert_eq!(names, (0..8).map(|number| json!(format!("App {number}"))).collect::<Vec<_>>());
}

#[test]
fn requests_that_do_not_end_are_given_up_on() {
    let site = Site::with(&[("LIMITS_SHUTDOWN_TIMEOUT", "1s")]);
    let mut serving = site.serve();
    let app = serving.app();
    let _never_finished = Pending::begin(&serving, "Never");
    serving.signal("TERM");
    let status = serving.wait();
    assert_eq!(status.code(), Some(0), "{}", serving.log());
    let serving = site.serve();
    serving.ask("GET", &format!("/apps/{}", app.client_id), None).expect(200);
    assert_eq!(site.events().len(), 1);
}

#[test]
fn a_second_signal_ends_it_at_once_and_loses_nothing() {
    for second in ["TERM", "INT"] {
        let site = Site::new();
        let mut serving = site.serve();
        let token = serving.token(&serving.app());
        let _never_finished = Pending::begin(&serving, "Never");
        serving.signal("TERM");
        serving.until_it_says("stopping");
        serving.signal(second);
        let status = serving.wait();
        assert_eq!(status.code(), Some(1), "{}", serving.log());
        assert!(serving.log().contains("ended at once by a second signal"), "{}", serving.log());
        assert!(site.serve().is_active(&token));
        assert_eq!(site.events().len(), 3);
    }
}

/// Closing a terminal ends what runs in it as any other request to stop does.
#[test]
fn a_closed_terminal_stops_it() {
    let site = Site::new();
    let mut serving = site.serve();
    let token = serving.token(&serving.app());
    serving.signal("HUP");
    assert_eq!(serving.wait().code(), Some(0), "{}", serving.log());
    assert!(serving.log().contains("stopping"), "{}", serving.log());
    assert!(site.serve().is_active(&token));
}

#[test]
fn what_was_started_to_outlive_its_terminal_goes_on() {
    let site = Site::new();
    let serving = site.serve_by(site.command_behind(r#"trap "" HUP; exec "$@""#));
    serving.signal("HUP");
    serving.app();
    serving.stop();
}
