//! The command line as a person sees it: on a terminal of 80 columns.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::process::{Command, ExitStatus};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use crate::executable::Place;

const COLUMNS: u16 = 80;

/// What a person sees of a command, and how it ends.
fn seen(command: &mut Command) -> (String, ExitStatus) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    tcsetwinsize(&terminal, Winsize { ws_row: 24, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = || OpenOptions::new().read(true).write(true).open(&name).unwrap();
    let mut child = command.stdout(side()).stderr(side()).spawn().unwrap();
    // Reading ends when the last side that can write is closed, and this process has two.
    command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
    let mut seen = Vec::new();
    let mut terminal = File::from(terminal);
    let mut part = [0; 4096];
    while let Ok(count @ 1..) = terminal.read(&mut part) {
        seen.extend_from_slice(&part[..count]);
    }
    let status = child.wait().unwrap();
    (String::from_utf8(seen).unwrap().replace("\r\n", "\n"), status)
}

/// What a person sees of a command that goes well.
#[track_caller]
fn shown(place: &Place, args: &[&str]) -> String {
    let (text, status) = seen(&mut place.command(args));
    assert!(status.success(), "{args:?}: {text}");
    text
}

fn register(place: &Place, name: &str, owner: &str) -> Value {
    let redirect = ["--redirect-uri", "https://app.example/callback", "--scope", "widgets"];
    place.json(&[&["app", "register", "--json", "--name", name, "--owner", owner][..], &redirect].concat())
}

#[test]
fn a_person_who_gets_nothing_is_told_so_and_why() {
    let place = Place::empty();
    let app = register(&place, "App", "Owner");
    let id = app["client_id"].as_str().unwrap();
    let serving = place.serve();
    let later = "2999-01-01T00:00:00.000000Z is still to come";
    for (args, said) in [
        (&["audit", "events", "--until", "2020-01-01"][..], "no events".to_owned()),
        (&["audit", "events", "--since", "2999-01-01"], format!("no events: {later}")),
        (
            &["audit", "events", "--account", "nosuch"],
            "no events: none in the ledger is about the account nosuch".to_owned(),
        ),
        (
            &["audit", "events", "--app", id, "--actor", "eve", "--format", "ndjson"],
            "no events: none in the ledger was done by the actor eve".to_owned(),
        ),
        (
            &["audit", "events", "--app", id, "--until", "2020-01-01", "--format", "csv"],
            "no events".to_owned(),
        ),
        (
            &["audit", "installations", "--account", "nosuch"],
            "none in the ledger is about the account nosuch".to_owned(),
        ),
        (
            &["audit", "diff", "--account", "nosuch", "--from", "1"],
            "none in the ledger is about the account nosuch".to_owned(),
        ),
        (
            &["installation", "list", "--account", "nosuch"],
            "none in the ledger is about the account nosuch".to_owned(),
        ),
        (&["events", "--after", "1"], "no events".to_owned()),
        (&["events", "--stream", &format!("app-{}", "0".repeat(32))], "no events".to_owned()),
        (&["replay", "run", "--until", "2020-01-01", "--dump"], "no events".to_owned()),
    ] {
        let text = shown(&place, args);
        assert!(text.lines().any(|line| line == said), "{args:?}: {text}");
        let output = place.run(args);
        assert!(output.status.success() && output.stderr.is_empty(), "nobody looks: {output:?}");
    }
    serving.stop();
}
