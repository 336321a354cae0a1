//! A log that cannot be written, or that nobody reads: it fails no request, holds none up, and keeps nobody from
//! stopping the server.

use std::fs::File;
use std::io::{self, Write as _};
use std::process::Stdio;

use crate::process::{Serving, eventually};
use crate::site::Site;

/// More lines than a pipe that nobody reads has room for.
const MANY: usize = 800;

impl Serving {
    /// How many lines of its log could not be written.
    pub fn not_written(&self) -> u64 {
        let metrics = self.http.get("/metrics").expect(200).body;
        let name = "grantbook_log_lines_lost_total{reason=\"not_written\"} ";
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or_else(|| panic!("no {name} in {metrics}")).parse().unwrap()
    }
}

#[test]
fn a_log_without_room_from_the_start() {
    let site = Site::new();
    let serving = site.serve_to(File::options().write(true).open("/dev/full").unwrap());
    let app = serving.app();
    let token = serving.token(&app);
    assert!(serving.is_active(&token));
    eventually("what is lost is counted", || (serving.not_written() > 0).then_some(()));
    serving.http.get("/readyz").expect(200);
    serving.stop();
}

#[test]
fn a_log_whose_reader_is_gone() {
    let site = Site::new();
    let (reader, writer) = io::pipe().unwrap();
    let serving = site.serve_to(writer);
    drop(reader);
    let app = serving.app();
    let token = serving.token(&app);
    assert!(serving.is_active(&token));
    eventually("what is lost is counted", || (serving.not_written() > 0).then_some(()));
    serving.stop();
}

#[test]
fn a_log_whose_reader_stalls() {
    let site = Site::new();
    let (_stalled, writer) = io::pipe().unwrap();
    let serving = site.serve_to(writer);
    let token = serving.token(&serving.app());
    for _ in 0..MANY {
        serving.http.post("/oauth/token", &[]).expect(401);
    }
    serving.http.get("/healthz").expect(200);
    assert!(serving.is_active(&token));
    serving.stop();
    assert!(site.serve().is_active(&token));
}

#[test]
fn a_reader_that_stalls_does_not_hold_up_an_end_at_once() {
    let site = Site::new();
    let (_stalled, writer) = io::pipe().unwrap();
    let mut serving = site.serve_to(writer);
    for _ in 0..MANY {
        serving.http.post("/oauth/token", &[]).expect(401);
    }
    let mut unfinished = serving.http.connect();
    let head = "POST /oauth/token HTTP/1.1\r\nhost: 127.0.0.1\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\
                content-type: application/x-www-form-urlencoded\r\n\r\n";
    unfinished.write_all(head.as_bytes()).unwrap();
    io::Read::read_exact(&mut unfinished, &mut [0; 12]).unwrap();
    serving.signal("TERM");
    eventually("it stops", || (!site.file("control.json").exists()).then_some(()));
    serving.signal("TERM");
    assert_eq!(serving.wait().code(), Some(1));
}

/// What the last lines say is there, although nobody waits for any of them.
#[test]
fn the_last_lines_are_written_before_the_end() {
    let site = Site::new();
    let mut serving = Serving::spawn_to(site.command(&["serve"]), Stdio::piped());
    serving.until_it_says("serving");
    serving.signal("TERM");
    assert_eq!(serving.wait().code(), Some(0));
    assert!(serving.log().contains("stopping"), "{}", serving.log());
}
